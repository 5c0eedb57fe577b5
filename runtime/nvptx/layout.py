"""Where things lie in device memory: the context constant, and each kind of map. Sizes in bytes.

Each map begins with a header of one line: `u64 used` (entries taken), `u64 dropped` (updates that found no
room, look-ups of threads that have no slot). Counters have one block for each slot of the multiprocessors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import Problem, Unsupported
from runtime.maps.layout import power, ring_bytes, up
from runtime.maps.spec import MapKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.maps.spec import MapSpec

# The context constant, 256 bytes.
ENABLED, RING, PID_TGID, CLOCK_OFFSET, SLOTS, THREADS, SEED, BASES = 0, 8, 16, 24, 32, 36, 40, 48
CONTEXT_BYTES = 256
MAX_MAPS = (CONTEXT_BYTES - BASES) // 8

RING_DATA = 4096  # of a ring in the host's memory; before it: u64 tail
LINE = 128  # what one reduction touches at once in the second-level cache
USED, DROPPED, DATA = 0, 8, LINE  # in a map
MAX_SLOTS = 256  # multiprocessors, whatever the driver counts
MAX_THREADS = 1 << 20
MAX_BYTES = 1 << 34
LEAST_RING, MOST_RING = 1 << 20, 1 << 22  # bytes of a ring of type 1527
PROBES = 32  # entries of a hash that are looked at for one key

GPU_HASH, PER_THREAD, GPU_ARRAY, GPU_SHARED, PER_THREAD_HOST, GPU_ARRAY_HOST = (
    1501,
    1502,
    1503,
    1504,
    1512,
    1513,
)
GPU_RING = 1527
HASHES = frozenset((MapKind.HASH, MapKind.PERCPU_HASH, MapKind.LRU_HASH, MapKind.LRU_PERCPU_HASH, GPU_HASH))
ARRAYS = frozenset((MapKind.ARRAY, MapKind.PERCPU_ARRAY, GPU_ARRAY, GPU_SHARED, GPU_ARRAY_HOST))
THREADED = frozenset((PER_THREAD, PER_THREAD_HOST))
RINGS = frozenset((MapKind.RINGBUF, MapKind.PERF_EVENT_ARRAY, GPU_RING))
PINNED = frozenset((PER_THREAD_HOST, GPU_ARRAY_HOST))


@dataclass(frozen=True, slots=True)
class DeviceLayout:
    """One map. `stride`: bytes of a value, a multiple of 8. `blocks`: copies, one for each slot or thread.

    `block`: bytes of one copy. `entry`: bytes of a hash's entry; `entries`: how many it has, a power of two.
    `value`: offset of the value in an entry. `bytes`: of everything, with the header.
    """

    stride: int
    blocks: int
    block: int
    entry: int
    entries: int
    value: int
    bytes: int


def slots_for(multiprocessors: int) -> int:
    """Give the number of slots for so many multiprocessors: a power of two, at most 256."""
    return min(power(max(multiprocessors, 1)), MAX_SLOTS)


def has_slots(spec: MapSpec) -> bool:
    """Tell whether each multiprocessor has a copy of a map's values."""
    return spec.kind == MapKind.PERCPU_ARRAY or (spec.kind == MapKind.ARRAY and spec.added_only)


def layout_of(spec: MapSpec, slots: int, threads: int) -> DeviceLayout:
    """Lay a map out for so many slots of multiprocessors and so many threads.

    Raises:
        Unsupported: this kind of map does not exist on a device.
        Problem: it would be too large.
    """
    if spec.kind in RINGS:
        return DeviceLayout(0, 1, ring_size(spec), 0, 0, 0, DATA)  # the block lies in the host's memory
    if spec.kind in HASHES:
        layout = _hash(spec)
    elif spec.kind in ARRAYS:
        blocks = slots if has_slots(spec) else 1
        block = block_of(spec)
        layout = DeviceLayout(stride_of(spec), blocks, block, 0, 0, 0, DATA + block * blocks)
    elif spec.kind in THREADED:
        size = DATA + stride_of(spec) * threads * spec.max_entries
        layout = DeviceLayout(stride_of(spec), threads, stride_of(spec), 0, 0, 0, size)
    else:
        raise Unsupported(
            f"map '{spec.name}': maps of type {spec.kind} do not exist on a device",
            hint="arrays, hashes, per-CPU kinds, ring buffers and types 1501 to 1527 do",
        )
    if layout.bytes > MAX_BYTES:
        raise Problem(f"map '{spec.name}' would need {layout.bytes} bytes of device memory")
    return layout


def ring_size(spec: MapSpec) -> int:
    """Give the data bytes of a ring, a power of two: type 1527 counts records of each thread instead."""
    if spec.kind != GPU_RING:
        return ring_bytes(spec)
    return min(max(power(spec.max_entries * (8 + up(spec.value_size, 8))), LEAST_RING), MOST_RING)


def ring_places(specs: Iterable[MapSpec]) -> dict[str, int]:
    """Give where each ring begins in the memory of the host that devices see: name → offset."""
    places, at = {}, 0
    for spec in specs:
        if spec.kind in RINGS:
            places[spec.name] = at
            at += RING_DATA + ring_size(spec)
    return places


def stride_of(spec: MapSpec) -> int:
    """Give the bytes from one value to the next."""
    return up(max(spec.value_size, 1), 8)


def block_of(spec: MapSpec) -> int:
    """Give the bytes of one copy of an array's values: whole lines, so that no two copies share one."""
    return up(stride_of(spec) * spec.max_entries, LINE)


def _hash(spec: MapSpec) -> DeviceLayout:
    value = 8 + up(spec.key_size, 8)
    entry = value + stride_of(spec)
    entries = power(max(spec.max_entries + spec.max_entries // 2, PROBES))
    return DeviceLayout(stride_of(spec), 1, 0, entry, entries, value, DATA + entry * entries)
