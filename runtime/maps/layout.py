"""Where the parts of a map lie in the region: header, index, entries, values. Sizes in bytes.

An array is a header and one or more blocks of values. A hash is a header, buckets, entries with their keys,
and values: inside the entry where there is one block, else in blocks of their own. Per-CPU kinds have a
block for each possible CPU; maps that are only added to ("cells") one more. The C side is
`runtime/agent/map.h`.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runtime.errors import Problem, Unsupported
from runtime.maps.spec import MapKind, MapSpec

HEADER = 256
PAGE = 4096
LINE = 64
MAX_KEY = 1 << 16
MAX_LRU_KEY = 512
MAX_STACK = 127 * 8
MAX_BYTES = 1 << 36
ENTRY_HEAD = 8  # u32 next, u32 hash
STACK_HEAD = 8  # u32 hash, u32 addresses: before each stack; all zero where there is none
CHAIN_END = 0x80000000  # or a bucket's number: ends its chain
FREE_END = 0xFFFFFFFF  # ends the free list
ARRAYS = frozenset((MapKind.ARRAY, MapKind.PERCPU_ARRAY, MapKind.PROG_ARRAY))
LRU = frozenset((MapKind.LRU_HASH, MapKind.LRU_PERCPU_HASH))
HASHES = frozenset((MapKind.HASH, MapKind.PERCPU_HASH)) | LRU
PER_CPU = frozenset((MapKind.PERCPU_ARRAY, MapKind.PERCPU_HASH, MapKind.LRU_PERCPU_HASH))
RINGS = frozenset((MapKind.RINGBUF, MapKind.PERF_EVENT_ARRAY))
PERF_RING = 1 << 20
MIN_THREADS, MAX_THREADS = 1 << 12, 1 << 16  # entries of a map with one for each thread
# Offsets in the header that readers use; the whole is `struct map` of map.h.
FRESH, DROPS = 72, 88
ZERO_SEED = 0x40


@cache
def possible_cpus() -> int:
    """Count the CPUs that may ever come online: one more than the highest number listed."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.rpartition(",")[2].rpartition("-")[2]) + 1


def up(value: int, to: int) -> int:
    """Round up to a multiple."""
    return -(-value // to) * to


def power(value: int) -> int:
    """Round up to a power of two."""
    return 1 << max(value - 1, 0).bit_length()


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Sizes and offsets from the header. `block`: bytes from one CPU's values to the next one's.

    `stride`: bytes of a value, rounded up to 8. `entry`: bytes of a hash entry. `align`: of the whole map.
    """

    stride: int
    cells: int
    block: int
    entry: int
    buckets: int
    index: int
    data: int
    values: int
    bytes: int
    align: int = LINE

    @staticmethod
    def of(spec: MapSpec, cpus: int) -> MapLayout:
        """Lay a map out for so many possible CPUs.

        Raises:
            Unsupported: this kind of map does not exist in user space.
            Problem: sizes are out of range.
        """
        check(spec)
        layout = _layout(spec, cpus)
        if layout.bytes > MAX_BYTES:
            raise Problem(f"map '{spec.name}' would need {layout.bytes} bytes")
        return layout


def check(spec: MapSpec) -> None:
    """Refuse kinds and sizes that no map can have."""
    if spec.kind not in ARRAYS | HASHES | RINGS | {MapKind.STACK_TRACE}:
        raise Unsupported(f"map '{spec.name}': maps of type {spec.kind} are not available in user space")
    if spec.kind in RINGS:
        return
    if spec.kind in ARRAYS and spec.key_size != 4:
        raise Problem(f"map '{spec.name}': the key of an array has 4 bytes, not {spec.key_size}")
    most = MAX_LRU_KEY if spec.kind in (MapKind.LRU_HASH, MapKind.LRU_PERCPU_HASH) else MAX_KEY
    if not 0 < spec.key_size <= most:
        raise Problem(f"map '{spec.name}': a key has 1 to {most} bytes, not {spec.key_size}")
    if spec.kind == MapKind.STACK_TRACE and (
        spec.value_size % 8 or spec.value_size > MAX_STACK or spec.flags
    ):
        raise Problem(
            f"map '{spec.name}': stacks have up to {MAX_STACK // 8} addresses of 8 bytes and no flags"
        )
    if spec.value_size < 1 or not 0 < spec.max_entries < CHAIN_END:
        raise Problem(f"map '{spec.name}': {spec.max_entries} entries of {spec.value_size} bytes")


def _layout(spec: MapSpec, cpus: int) -> MapLayout:
    if spec.kind in RINGS:
        size = ring_bytes(spec)
        return MapLayout(0, 1, 0, 0, 0, 0, PAGE, PAGE, 3 * PAGE + size, PAGE)
    stride = up(8 if spec.kind == MapKind.PROG_ARRAY else spec.value_size, 8)
    if spec.kind == MapKind.STACK_TRACE:
        block = power(spec.max_entries) * (stride + STACK_HEAD)
        return MapLayout(stride + STACK_HEAD, 1, block, 0, 0, 0, HEADER, HEADER, HEADER + up(block, LINE))
    cells = cpus if spec.kind in PER_CPU else cpus + 1 if spec.added_only else 1
    block = up(stride * spec.max_entries, LINE)
    if cells > 1 and block <= PAGE:
        block = power(block)  # the CPU's offset is a shift instead of a multiplication
    if spec.kind in ARRAYS:
        return MapLayout(stride, cells, block, 0, 0, 0, HEADER, HEADER, up(HEADER + cells * block, LINE))
    if spec.thread_keyed:
        entry = ENTRY_HEAD + up(spec.key_size, 8) + stride
        slots = thread_slots(spec)
        return MapLayout(stride, 1, 0, entry, 0, 0, HEADER, HEADER, up(HEADER + entry * slots, LINE))
    entry = ENTRY_HEAD + up(spec.key_size, 8) + (stride if cells == 1 else 0)
    buckets = power(2 * spec.max_entries)
    data = HEADER + 8 * buckets
    values = up(data + entry * spec.max_entries, LINE)
    end = values if cells == 1 else values + cells * block
    return MapLayout(stride, cells, block, entry, buckets, HEADER, data, values, up(end, LINE))


def thread_slots(spec: MapSpec) -> int:
    """Give the entries of a map with one for each thread: a power of two, and more than are asked for."""
    return min(max(power(2 * spec.max_entries), MIN_THREADS), MAX_THREADS)


def ring_bytes(spec: MapSpec) -> int:
    """Give the data bytes of a ring: a power of two, at least a page."""
    if spec.kind == MapKind.PERF_EVENT_ARRAY:
        return PERF_RING
    return max(power(spec.max_entries), PAGE)


_HEAD = struct.Struct("<6IQ4I5Q8Q2I16sQ2I2Q")


def initialise(
    region: memoryview, offset: int, spec: MapSpec, cpus: int, *, number: int = 0, seed: int = 0
) -> None:
    """Write the header and the buckets of an empty map, and the first value where the spec has one.

    The memory must be zero. `number`: id of the map in the session; `seed`: of the hash.
    """
    layout = MapLayout.of(spec, cpus)
    if spec.flags & ZERO_SEED and spec.kind in HASHES:
        seed = 0
    extra = ring_bytes(spec) if spec.kind in RINGS else layout.buckets
    if spec.thread_keyed:
        extra = thread_slots(spec)
    if spec.kind == MapKind.STACK_TRACE:
        extra = power(spec.max_entries)
    _HEAD.pack_into(
        region,
        offset,
        *(spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags, layout.stride),
        *(spec.extra, number, spec.key_type, spec.value_type, seed),
        *(offset + layout.data, offset + layout.index, FREE_END, 0, 0),
        *([0] * 8),
        *(0, layout.cells, spec.name.encode()[:15], offset, layout.entry, extra - 1 if extra else 0),
        *(offset + layout.values, layout.block),
    )
    if layout.buckets:
        heads = array("I", bytes(8 * layout.buckets))
        heads[::2] = array("I", range(CHAIN_END, CHAIN_END + layout.buckets))
        region[offset + layout.index : offset + layout.index + 8 * layout.buckets] = heads.tobytes()
    if spec.initial:
        data = offset + layout.data
        region[data : data + len(spec.initial)] = spec.initial
    if spec.kind in RINGS:
        struct.pack_into(
            "<QIIQ", region, offset + layout.data + 128, extra, seed, number, offset + layout.data
        )
