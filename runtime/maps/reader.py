"""What the tracer sees of a map: all entries at once, and single reads and writes.

Reads copy the memory once and decode the copy, so programs may go on meanwhile. Writes go through the same
machine code as programs' own (the agent's library), with its bucket locks. A target can write the region:
every offset comes from the map's own layout, chains are followed no longer than there are entries.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

from runtime.errors import Problem
from runtime.maps import layout as shape
from runtime.maps.layout import CHAIN_END, MapLayout
from runtime.maps.spec import MapKind, MapSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK64 = (1 << 64) - 1
REGION_CPUS = 72  # offset in the region's header
ERRORS = {
    1: "not permitted",
    2: "no such key",
    7: "the map is full",
    16: "busy",
    17: "the key exists",
    22: "invalid",
}


class MapView:
    """One map in a region. Keys and values are bytes; values of per-CPU kinds are all CPUs' in a row."""

    def __init__(self, region: memoryview, offset: int, spec: MapSpec) -> None:
        self.region, self.offset, self.spec = region, offset, spec
        cpus = struct.unpack_from("<I", region, REGION_CPUS)[0] or shape.possible_cpus()
        self.layout = MapLayout.of(spec, min(cpus, 1 << 14))

    # Reading

    def items(self) -> list[tuple[bytes, bytes]]:
        """Give all entries: cells summed, per-CPU values one after the other, each padded to 8 bytes."""
        if self.spec.kind in shape.HASHES:
            return self._hash_items()
        if self.spec.kind in shape.ARRAYS:
            values = self._values(self.spec.max_entries)
            return [(index.to_bytes(4, "little"), value) for index, value in enumerate(values)]
        if self.spec.kind == MapKind.STACK_TRACE:
            return self._stacks()
        return []

    def _stacks(self) -> list[tuple[bytes, bytes]]:
        """Give the stacks that were kept: number → addresses, innermost first, padded with zeros."""
        plan = self.layout
        data = self._bytes(plan.data, plan.block)
        found = []
        for index in range(plan.block // plan.stride):
            start = index * plan.stride
            if any(data[start : start + shape.STACK_HEAD]):
                value = data[start + shape.STACK_HEAD : start + plan.stride]
                found.append((index.to_bytes(4, "little"), value))
        return found

    def get(self, key: bytes) -> bytes | None:
        """Give one value, None where there is no such key."""
        if self.spec.kind in shape.ARRAYS:
            index = int.from_bytes(key, "little")
            return self._value(index) if index < self.spec.max_entries else None
        if self.spec.kind == MapKind.STACK_TRACE:
            return dict(self._stacks()).get(key)
        if self.spec.kind not in shape.HASHES:
            return None
        if self.spec.thread_keyed:
            return dict(self._hash_items()).get(key)
        index = self._call("hash_index", self._key(key)) & 0xFFFFFFFF
        return self._value(index) if index < self.spec.max_entries else None

    def count(self) -> int:
        """Count the entries: of a hash those that exist, of an array all."""
        if self.spec.kind not in shape.HASHES:
            return self.spec.max_entries
        return len(self._live()[0])

    def drops(self) -> int:
        """Count updates that were lost since the map was full or busy."""
        return self._word(shape.DROPS) + self._word(shape.DROPS + 8)

    def _word(self, field: int) -> int:
        value: int = struct.unpack_from("<Q", self.region, self.offset + field)[0]
        return value

    def _bytes(self, start: int, size: int) -> bytes:
        return bytes(self.region[self.offset + start : self.offset + start + size])

    def _live(self) -> tuple[list[int], bytes]:
        """Give the numbers of the entries that exist, and a copy of all entries ever used."""
        plan = self.layout
        if self.spec.thread_keyed:
            entries = self._bytes(plan.data, plan.entry * shape.thread_slots(self.spec))
            used_words = memoryview(entries).cast("I")[:: plan.entry // 4].tolist()
            return [at for at, used in enumerate(used_words) if used == 1], entries
        used = min(self._word(shape.FRESH), self.spec.max_entries)
        buckets = memoryview(self._bytes(plan.index, 8 * plan.buckets)).cast("I")[::2].tolist()
        entries = self._bytes(plan.data, plan.entry * used)
        words = memoryview(entries).cast("I")
        nexts = words[:: plan.entry // 4].tolist() if used else []
        hashes = words[1 :: plan.entry // 4].tolist() if used else []
        return list(_chains(buckets, nexts, hashes)), entries

    def _hash_items(self) -> list[tuple[bytes, bytes]]:
        plan, spec = self.layout, self.spec
        live, entries = self._live()
        starts = [at * plan.entry + shape.ENTRY_HEAD for at in live]
        keys = [entries[start : start + spec.key_size] for start in starts]
        if plan.cells > 1:
            values = self._values(len(entries) // plan.entry)
            return [(key, values[at]) for key, at in zip(keys, live, strict=True)]
        skip = shape.up(spec.key_size, 8)
        size = spec.value_size
        found = [entries[start + skip : start + skip + size] for start in starts]
        return list(zip(keys, found, strict=True))

    def _values(self, count: int) -> list[bytes]:
        """Give the first `count` values of all blocks."""
        plan, size = self.layout, self.spec.value_size
        base = plan.values if self.spec.kind in shape.HASHES else plan.data
        blocks = [self._bytes(base + cell * plan.block, count * plan.stride) for cell in range(plan.cells)]
        starts = range(0, count * plan.stride, plan.stride)
        if plan.cells == 1:
            return [blocks[0][start : start + size] for start in starts]
        if not self.spec.added_only:
            return [b"".join(block[start : start + plan.stride] for block in blocks) for start in starts]
        words = zip(*(memoryview(block).cast("Q").tolist() for block in blocks), strict=True)
        total = struct.pack(f"<{count * plan.stride // 8}Q", *(sum(cells) & MASK64 for cells in words))
        return [total[start : start + size] for start in starts]

    def _value(self, index: int) -> bytes:
        plan = self.layout
        if self.spec.kind in shape.HASHES and plan.cells == 1:
            start = plan.data + index * plan.entry + shape.ENTRY_HEAD + shape.up(self.spec.key_size, 8)
            return self._bytes(start, self.spec.value_size)
        base = (plan.values if self.spec.kind in shape.HASHES else plan.data) + index * plan.stride
        blocks = [self._bytes(base + cell * plan.block, plan.stride) for cell in range(plan.cells)]
        if plan.cells == 1:
            return blocks[0][: self.spec.value_size]
        if not self.spec.added_only:
            return b"".join(blocks)
        words = zip(*(memoryview(block).cast("Q").tolist() for block in blocks), strict=True)
        total = struct.pack(f"<{plan.stride // 8}Q", *(sum(cells) & MASK64 for cells in words))
        return total[: self.spec.value_size]

    # Writing

    def set(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Write one value: `flags` 0 any, 1 only a new key, 2 only an existing one.

        A per-CPU value is given for all CPUs, or once for each of them.

        Raises:
            Problem: sizes are wrong, or the map refuses.
        """
        if self.spec.kind == MapKind.PROG_ARRAY:
            self._set_program(key, value)
            return
        value = self._whole(value)
        buffer = ctypes.create_string_buffer(value, len(value) + 8)
        arguments = (self._key(key), ctypes.addressof(buffer))
        self._check(self._call("map_update", *arguments, flags), key)
        if self.layout.cells > 1:
            self._check(self._call("map_write_cells", *arguments), key)

    def poke(self, offset: int, data: bytes) -> None:
        """Write bytes into the first value of an array, without copying the rest of it."""
        if self.spec.kind != MapKind.ARRAY or not 0 <= offset <= self.spec.value_size - len(data):
            raise Problem(f"map '{self.spec.name}' has no byte {offset}")
        start = self.offset + self.layout.data + offset
        self.region[start : start + len(data)] = data

    def delete(self, key: bytes) -> None:
        """Delete one key.

        Raises:
            Problem: there is none, or this kind of map cannot delete.
        """
        if self.spec.kind == MapKind.PROG_ARRAY:
            self._set_program(key, bytes(4))
            return
        self._check(self._call("map_delete", self._key(key)), key)

    def clear(self) -> None:
        """Delete all keys; zero all values of an array."""
        if self.spec.kind == MapKind.STACK_TRACE:
            start = self.offset + self.layout.data
            self.region[start : start + self.layout.block] = bytes(self.layout.block)
            return
        self._check(self._call("map_clear"), b"")

    def take(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Take what was read from values that are only added to: what came since stays.

        Keys of which nothing stays are deleted.
        """
        for key, value in items:
            buffer = ctypes.create_string_buffer(value, self.layout.stride)
            self._call("map_take", self._key(key), ctypes.addressof(buffer))

    def zero(self) -> None:
        """Zero all values and keep the keys."""
        self._check(self._call("map_zero"), b"")

    def _set_program(self, key: bytes, value: bytes) -> None:
        index = int.from_bytes(key, "little")
        if index >= self.spec.max_entries or len(value) != 4:
            raise Problem(f"map '{self.spec.name}' has no slot {index}")
        start = self.offset + self.layout.data + index * self.layout.stride
        self.region[start : start + 4] = value

    def _whole(self, value: bytes) -> bytes:
        """Bring a value to the form the agent writes: one for each cell, each padded to 8 bytes."""
        plan, size = self.layout, self.spec.value_size
        if plan.cells == 1 and len(value) == size:
            return value
        if self.spec.added_only and len(value) == size:
            return value.ljust(plan.stride * plan.cells, b"\0")
        if len(value) == size and plan.cells > 1:
            return value.ljust(plan.stride, b"\0") * plan.cells
        if plan.cells > 1 and len(value) == plan.stride * plan.cells:
            return value
        raise Problem(f"map '{self.spec.name}': a value has {size} bytes, {len(value)} given")

    def _key(self, key: bytes) -> int:
        if len(key) != self.spec.key_size:
            raise Problem(f"map '{self.spec.name}': a key has {self.spec.key_size} bytes, {len(key)} given")
        self._held = ctypes.create_string_buffer(key, len(key) + 8)
        return ctypes.addressof(self._held)

    def _call(self, name: str, *arguments: int) -> int:
        from runtime.jit.local import agent  # lazy: reading needs no library

        start = ctypes.addressof(ctypes.c_char.from_buffer(self.region, self.offset))
        return agent().function(name, 1 + len(arguments))(start, *arguments)

    def _check(self, result: int, key: bytes) -> None:
        if result < 0:
            reason = ERRORS.get(-result, f"error {-result}")
            raise Problem(f"map '{self.spec.name}'{f', key {key.hex()}' if key else ''}: {reason}")


def _chains(buckets: list[int], nexts: list[int], hashes: list[int]) -> Iterator[int]:
    """Follow all chains; entries that were moved meanwhile are left out."""
    mask, used = len(buckets) - 1, len(nexts)
    for bucket, head in enumerate(buckets):
        if head >= CHAIN_END:
            continue
        at, steps = head, 0
        while at < used and steps <= used and hashes[at] & mask == bucket:
            yield at
            at, steps = nexts[at], steps + 1
