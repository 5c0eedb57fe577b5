"""Maps of devices as the tracer sees them: what is placed, what a copy of it means, and where that goes.

A session's own maps stay what everything is printed from. What devices add to values that are only added to
is added there too, the rest is written over what was there: both sides may fill a map that counts.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from runtime.errors import Problem
from runtime.maps.layout import up
from runtime.maps.spec import MapKind, MapSpec
from runtime.nvptx import hashes
from runtime.nvptx.layout import (
    ARRAYS,
    CONTEXT_BYTES,
    DATA,
    DROPPED,
    HASHES,
    MAX_MAPS,
    PINNED,
    RING_DATA,
    RINGS,
    THREADED,
    DeviceLayout,
    has_slots,
    layout_of,
    ring_places,
    ring_size,
    slots_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MASK64 = (1 << 64) - 1
NOEXIST = 1
Row = tuple[bytes, bytes]


class Where(Enum):
    """Whose memory a map lies in."""

    DEVICE = "device"
    PINNED = "pinned"  # memory of the host that devices reach; the rings' data as well
    SESSION = "session"  # the session's own map, which programs of the host use as well


class View(Protocol):
    """A map in the session's region."""

    def set(self, key: bytes, value: bytes, flags: int = 0) -> object:
        """Put a value."""

    def take(self, items: Iterable[Row]) -> object:
        """Subtract values from those that are only added to; keys of which nothing stays are deleted."""

    def delete(self, key: bytes) -> object:
        """Delete a key."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One map: `size` bytes that begin as `initial` and zeros; `index`: in the context constant.

    `slots`: copies of its values that multiprocessors add to. `ring`: where a ring begins in the memory
    of the host that devices see, -1 for other maps; it takes `ring_size` bytes there, zero at first.
    """

    name: str
    index: int
    size: int
    initial: bytes
    where: Where
    slots: int
    ring: int
    spec: MapSpec
    layout: DeviceLayout

    @property
    def ring_size(self) -> int:
        """Bytes that a ring takes in the host's memory."""
        return RING_DATA + self.layout.block if self.ring >= 0 else 0


def place(
    specs: Iterable[MapSpec], sms: int, threads: int, shared: frozenset[str] = frozenset()
) -> tuple[Placed, ...]:
    """Place the maps of a session, in the order of their index.

    `sms`: multiprocessors of the device; `threads`: those that maps with a value for each have room for.
    `shared`: plain arrays that the host's programs use as well; a device finds the first value of the
    session's own map `DATA` bytes behind the address that its context constant has for the map.

    Raises:
        Problem: there are too many, or one cannot exist on a device.
    """
    placed, every = [], list(specs)
    rings = ring_places(every)
    for index, spec in enumerate(every):
        if index >= MAX_MAPS:
            raise Problem(f"map '{spec.name}': GPU programs of one session have at most {MAX_MAPS} maps")
        layout = layout_of(spec, slots_for(sms), threads)
        where = Where.PINNED if spec.kind in PINNED else Where.DEVICE
        if spec.name in shared:
            where = Where.SESSION
        ring = rings.get(spec.name, -1)
        slots = slots_for(sms) if has_slots(spec) else 1
        initial = bytes(DATA) + spec.initial if spec.initial else b""
        placed.append(Placed(spec.name, index, layout.bytes, initial, where, slots, ring, spec, layout))
    return tuple(placed)


@dataclass(frozen=True, slots=True)
class Facts:
    """What programs find in a context constant beside their maps.

    `sms`, `threads`: as given to `place`. `enabled`: bits of the probes that run. `pid`: of the process.
    `clock_offset`: nanoseconds from the device's clock to what `nsecs` is on the host.
    """

    sms: int
    threads: int
    enabled: int = MASK64
    pid: int = 0
    clock_offset: int = 0
    seed: int = 0


def context_bytes(addresses: Sequence[int], rings: int, facts: Facts) -> bytes:
    """Give the 256 bytes of a context constant.

    `addresses`: of the maps on the device, by index. `rings`: of the host's memory that rings lie in.
    """
    head = struct.pack(
        "<QQQqIIQ",
        *(facts.enabled, rings, facts.pid << 32 | facts.pid, facts.clock_offset),
        *(slots_for(facts.sms), facts.threads, facts.seed),
    )
    return (head + struct.pack(f"<{len(addresses)}Q", *addresses)).ljust(CONTEXT_BYTES, b"\0")


def session_spec(spec: MapSpec, sms: int, threads: int) -> MapSpec:
    """Give the map that stands for a device's in the session: types of devices become usual ones.

    What there is for each multiprocessor or thread follows one another in a value.
    """
    if spec.kind in THREADED:
        return replace(spec, kind=int(MapKind.ARRAY), value_size=up(spec.value_size, 8) * threads)
    if spec.kind == MapKind.PERCPU_ARRAY:
        return replace(spec, kind=int(MapKind.ARRAY), value_size=up(spec.value_size, 8) * slots_for(sms))
    if spec.kind in ARRAYS:
        return replace(spec, kind=int(MapKind.ARRAY))
    if spec.kind in HASHES:
        return replace(spec, kind=int(MapKind.HASH))
    if spec.kind in RINGS:
        return replace(spec, kind=int(MapKind.RINGBUF), max_entries=ring_size(spec))
    return spec


def fold(placed: Placed, copies: Sequence[bytes], *, raised: bool = False) -> list[Row]:
    """Put the copies that devices have of one map together: keys, and values as `session_spec` has them.

    Values that are only added to are summed; of others a later copy that has any wins, or with `raised` each
    word is the highest of any copy. Values for each multiprocessor or thread follow one another, each padded
    to 8 bytes.
    """
    rows: dict[bytes, bytes] = {}
    for copy in copies:
        for key, value in _rows(placed, copy):
            before = rows.get(key)
            if before is None:
                rows[key] = value
            elif placed.spec.added_only:
                rows[key] = _added(before, value)
            elif raised:
                rows[key] = _raised(before, value)
            elif any(value):
                rows[key] = value
    return list(rows.items())


def dropped(copies: Sequence[bytes]) -> int:
    """Count the updates that found no room, and look-ups of threads that have no value."""
    return sum(struct.unpack_from("<Q", copy, DROPPED)[0] for copy in copies)


def _rows(placed: Placed, copy: bytes) -> list[Row]:
    spec = placed.spec
    if spec.kind in HASHES:
        return _hash_rows(placed, copy)
    if spec.kind in RINGS:
        return []
    if spec.kind in THREADED:
        values = _threads(placed, copy)
    else:
        values = _summed(placed, copy) if spec.added_only else _blocks(placed, copy)
    return [(number.to_bytes(4, "little"), value) for number, value in enumerate(values)]


def _threads(placed: Placed, copy: bytes) -> list[bytes]:
    """Give all threads' values of each key, one after the other."""
    size = placed.layout.stride * placed.layout.blocks
    return [copy[at : at + size] for at in range(DATA, DATA + size * placed.spec.max_entries, size)]


def _blocks(placed: Placed, copy: bytes) -> list[bytes]:
    """Give each key's value, or the values of all multiprocessors one after the other."""
    spec, plan = placed.spec, placed.layout
    starts = range(DATA, DATA + plan.stride * spec.max_entries, plan.stride)
    if placed.slots == 1:
        return [copy[start : start + spec.value_size] for start in starts]
    shifts = range(0, plan.block * placed.slots, plan.block)
    return [b"".join(copy[at + shift : at + shift + plan.stride] for shift in shifts) for at in starts]


def _summed(placed: Placed, copy: bytes) -> list[bytes]:
    """Give each key's value, summed over the multiprocessors."""
    spec, plan = placed.spec, placed.layout
    words = memoryview(copy)[DATA : DATA + plan.block * placed.slots].cast("Q").tolist()
    step = plan.block // 8
    columns = zip(*(words[at : at + step] for at in range(0, len(words), step)), strict=True)
    total = struct.pack(f"<{step}Q", *(sum(column) & MASK64 for column in columns))
    starts = range(0, plan.stride * spec.max_entries, plan.stride)
    return [total[start : start + spec.value_size] for start in starts]


def _raised(one: bytes, other: bytes) -> bytes:
    """Give the higher one of each pair of words."""
    size = up(len(one), 8)
    words = [struct.unpack(f"<{size // 8}Q", each.ljust(size, b"\0")) for each in (one, other)]
    return struct.pack(f"<{size // 8}Q", *map(max, *words))[: len(one)]


def _added(one: bytes, other: bytes) -> bytes:
    """Add word by word."""
    return _combined(one, other, 1)


def _combined(one: bytes, other: bytes, sign: int) -> bytes:
    size = up(len(one), 8)
    words = [struct.unpack(f"<{size // 8}Q", each.ljust(size, b"\0")) for each in (one, other)]
    sums = [(a + sign * b) & MASK64 for a, b in zip(*words, strict=True)]
    return struct.pack(f"<{size // 8}Q", *sums)[: len(one)]


def _hash_rows(placed: Placed, copy: bytes) -> list[Row]:
    spec, plan = placed.spec, placed.layout
    states = memoryview(copy)[DATA : DATA + plan.entry * plan.entries].cast("Q")[:: plan.entry // 8].tolist()
    taken = [DATA + n * plan.entry for n, state in enumerate(states) if state & hashes.STATES == hashes.READY]
    return [
        (copy[at + 8 : at + 8 + spec.key_size], copy[at + plan.value : at + plan.value + spec.value_size])
        for at in taken
    ]


@dataclass(slots=True)
class Mirror:
    """Keeps a session's map up to date with its copies on devices; `before`: what was there the last time."""

    placed: Placed
    before: dict[bytes, bytes] = field(default_factory=dict)

    def store(self, view: View, rows: Iterable[Row]) -> None:
        """Bring what changed since the last time into the session's map.

        Raises:
            Problem: the map is full.
        """
        found = set[bytes]()
        for key, value in rows:
            found.add(key)
            nothing = None if self.placed.spec.kind in HASHES else bytes(len(value))
            old = self.before.get(key, nothing)
            if value == old:
                continue
            if self.placed.spec.added_only:
                _add(view, key, old, value)
            else:
                view.set(key, value)
            self.before[key] = value
        if self.placed.spec.kind in HASHES:
            self._forget(view, found)

    def _forget(self, view: View, found: set[bytes]) -> None:
        """Take out what devices have deleted."""
        for key in [key for key in self.before if key not in found]:
            old = self.before.pop(key)
            with contextlib.suppress(Problem):  # it was cleared here
                if self.placed.spec.added_only:
                    view.take([(key, old)])
                else:
                    view.delete(key)


def _add(view: View, key: bytes, old: bytes | None, new: bytes) -> None:
    with contextlib.suppress(Problem):  # the key exists
        view.set(key, bytes(len(new)), NOEXIST)
    view.take([(key, _combined(old or bytes(len(new)), new, -1))])


def store(view: View, placed: Placed, rows: Iterable[Row]) -> None:
    """Put rows into a session's map that has nothing of this device yet."""
    Mirror(placed).store(view, rows)
