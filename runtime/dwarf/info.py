"""Where things are in a file's debug info: entries by name, functions by address, units by address."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import TypeVar

from runtime.dwarf import names
from runtime.dwarf.forms import Damaged, uleb, word
from runtime.dwarf.units import (
    HIGH_PC,
    LOW_PC,
    RANGES,
    RNGLISTS_BASE,
    Entry,
    Sections,
    Unit,
    sections_of,
    units_of,
)
from runtime.errors import ObjectProblem
from runtime.symbols.debugfiles import debug_info_of
from runtime.symbols.elf import ElfFile

# Tags
ARRAY, CLASS, ENUMERATION, PARAMETER, POINTER, STRUCTURE, TYPEDEF = 0x1, 0x2, 0x4, 0x5, 0xF, 0x13, 0x16
UNION, SUBPROGRAM, NAMESPACE, MODULE, BASE_TYPE, ENUMERATOR = 0x17, 0x2E, 0x39, 0x1E, 0x24, 0x28
OUTER = frozenset(
    (NAMESPACE, MODULE, CLASS, STRUCTURE, UNION)
)  # entries that hold others with names of their own
DECLARATION = 0x3C
MOST_NAMED = 64  # entries of one name that are looked at
MOST_RANGES = 1 << 16


T = TypeVar("T")


class DebugInfo:
    """One file's debug info. Addresses are those of the file.

    Raises:
        ObjectProblem: from every method, where the data is damaged.
    """

    def __init__(self, elf: ElfFile, path: str) -> None:
        self.path = path
        self.sections = sections_of(elf)
        self._functions: dict[int, Entry | None] = {}

    @cached_property
    def units(self) -> list[Unit]:
        """All units."""
        return self.guarded(lambda: units_of(self.sections))

    def guarded(self, read: Callable[[], T]) -> T:
        """Read something, damaged data becoming an error about the file."""
        try:
            return read()
        except (Damaged, IndexError, ValueError, struct.error, RecursionError) as error:
            raise ObjectProblem(f"damaged debug info: {error}", file=self.path) from None

    def entry_at(self, at: int) -> Entry | None:
        """The entry with an offset."""
        return self.guarded(lambda: self._entry_at(at))

    def _entry_at(self, at: int) -> Entry | None:
        unit = next((unit for unit in self.units if unit.start <= at < unit.end), None)
        if unit is None:
            return None
        _ = unit.top
        return unit.entry(at)

    # By name

    def named(self, name: str, tags: frozenset[int]) -> Entry | None:
        """The first entry with a name and one of some tags that is no mere declaration."""
        return self.guarded(lambda: next(names.named(self.units, name, tags), None))

    def enumerations_with(self, name: str) -> list[Entry]:
        """Enumerations that may hold an enumerator of a name."""
        return self.guarded(lambda: list(islice(names.enumerations_with(self.units, name), MOST_NAMED)))

    # By address

    def function_at(self, address: int) -> Entry | None:
        """The function that begins at an address."""
        if address not in self._functions:
            self._functions[address] = self.guarded(lambda: self._function_at(address))
        return self._functions[address]

    def _function_at(self, address: int) -> Entry | None:
        for unit in self.units_at(address):
            for entry in names.walk(unit, unit.top):
                if entry.tag == SUBPROGRAM and entry.attributes.get(LOW_PC) == address:
                    return entry
        return None

    def units_at(self, address: int) -> list[Unit]:
        """Units with code at an address: by the table that says so, else by each unit's own ranges."""
        offset = next((unit for low, high, unit in self._aranges if low <= address < high), -1)
        found = [unit for unit in self.units if unit.start == offset]
        return found or [unit for unit in self.units if self._covers(unit, address)]

    @cached_property
    def _aranges(self) -> list[tuple[int, int, int]]:
        data, at = self.sections["aranges"], 0
        found: list[tuple[int, int, int]] = []
        while at + 12 <= len(data):
            length, version, unit, address = struct.unpack_from("<IHIB", data, at)
            end = at + 4 + length
            if length == 0xFFFFFFFF or version != 2 or address != 8 or end > len(data):
                return []
            at += 16  # pairs begin at a multiple of their size from the table's own start
            for place in range(at, end - 15, 16):
                low, size = struct.unpack_from("<QQ", data, place)
                if size:
                    found.append((low, low + size, unit))
            at = end
        return found

    def _covers(self, unit: Unit, address: int) -> bool:
        top = unit.top
        low, high = top.number(LOW_PC), top.attributes.get(HIGH_PC)
        if isinstance(high, int) and low <= address < (high if high > low else low + high):
            return True
        ranges = top.attributes.get(RANGES)
        return isinstance(ranges, int) and any(a <= address < b for a, b in self._ranges(unit, ranges, low))

    def _ranges(self, unit: Unit, at: int, base: int) -> Iterator[tuple[int, int]]:
        if unit.version >= 5:
            table = unit.top.number(RNGLISTS_BASE, 12)
            offset = at
            if at < table:
                offset = table + word(self.sections["rnglists"], table + at * unit.offset, unit.offset)
            yield from _range_list(unit, self.sections, offset, base)
            return
        data = self.sections["ranges"]
        for place in range(at, min(len(data) - 15, at + 16 * MOST_RANGES), 16):
            low, high = struct.unpack_from("<QQ", data, place)
            if low == (1 << 64) - 1:
                base = high
            elif not low and not high:
                return
            else:
                yield base + low, base + high


def _range_list(unit: Unit, sections: Sections, at: int, base: int) -> Iterator[tuple[int, int]]:
    """Ranges of DWARF 5, section 2.17.3."""
    data = sections["rnglists"]
    for _ in range(MOST_RANGES):
        kind, at = data[at], at + 1
        if kind == 0:
            return
        if kind in (5, 6, 7):  # base address; start and end; start and length
            first, at = word(data, at, 8), at + 8
            if kind == 5:
                base = first
                continue
            second, at = (word(data, at, 8), at + 8) if kind == 6 else uleb(data, at)
            yield first, second if kind == 6 else first + second
            continue
        one, at = uleb(data, at)
        if kind == 1:  # base address by index
            base = unit.indexed_address(one)
            continue
        two, at = uleb(data, at)
        start = unit.indexed_address(one) if kind in (2, 3) else base + one
        if kind == 2:
            yield start, unit.indexed_address(two)
        else:
            yield start, start + two if kind == 3 else base + two


@lru_cache(maxsize=64)
def debug_info(path: str) -> DebugInfo | None:
    """The debug info of a program or library, its own or in a separate file; None where there is none.

    Raises:
        ObjectProblem: it is no program.
    """
    elf = ElfFile(path)
    own = elf if elf.section(".debug_info") else debug_info_of(elf)
    return DebugInfo(own, path) if own is not None else None
