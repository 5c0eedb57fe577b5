"""Bounds of all functions of an ELF file, also of those without a symbol, from its unwind table.

Source: Linux Standard Base, .eh_frame_hdr (sorted table of start and FDE addresses); DWARF 4, 6.4.1. Only the
encodings that linkers write on x86-64 are read: table 0x3b, FDE pointers 0x1b.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from functools import cached_property, lru_cache

from runtime.symbols.elf import ElfFile
from runtime.symbols.gotable import go_functions

_TABLE = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4


class FunctionRanges:
    """Function bounds by address; both from unwind entries and from symbols with a size."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf

    @cached_property
    def _starts(self) -> list[tuple[int, int]]:
        """Return (function start, FDE address), sorted; empty when there is no table in a known encoding."""
        section = self._elf.section(".eh_frame_hdr")
        if not section or section.size < 12:
            return []
        data = self._elf.content(section)
        if len(data) < 12 or data[0] != 1 or data[2] != 3 or data[3] != _TABLE:
            return []
        count = min(struct.unpack_from("<I", data, 8)[0], (len(data) - 12) // 8)
        rows = struct.iter_unpack("<ii", data[12 : 12 + 8 * count])
        return sorted((section.address + start, section.address + fde) for start, fde in rows)

    @cached_property
    def _keys(self) -> list[int]:
        return [start for start, _ in self._starts]

    @cached_property
    def _symbol_ends(self) -> list[tuple[int, int]]:
        # A stripped Go program has neither symbols nor unwind entries, but a table of its own.
        functions = self._elf.functions or go_functions(self._elf)
        return sorted((s.value + s.size, s.value) for s in functions if s.size)

    def _length(self, fde: int) -> int:
        """Return the byte length of the range that an FDE describes."""
        at = self._elf.to_offset(fde)
        if at < 0 or at + 16 > len(self._elf.data):
            return 0
        length: int = struct.unpack_from("<I", self._elf.data, at + 12)[0]
        return length

    def containing(self, address: int) -> tuple[int, int] | None:
        """Return (start, end) of the unwind entry that covers an address."""
        index = bisect_right(self._keys, address) - 1
        if index < 0:
            return None
        start, fde = self._starts[index]
        end = start + self._length(fde)
        return (start, end) if address < end else None

    def starts_at(self, address: int) -> bool:
        """Return whether an unwind entry begins at an address."""
        index = bisect_left(self._keys, address)
        return index < len(self._keys) and self._keys[index] == address

    def ends_in(self, low: int, high: int) -> list[int]:
        """Return where functions end within [low, high]."""
        found = {
            end
            for end, _ in self._symbol_ends[
                bisect_left(self._symbol_ends, (low, 0)) : bisect_left(self._symbol_ends, (high + 1, 0))
            ]
        }
        first, last = bisect_right(self._keys, low) - 1, bisect_right(self._keys, high)
        for start, fde in self._starts[max(first, 0) : last]:
            end = start + self._length(fde)
            if low <= end <= high:
                found.add(end)
        return sorted(found)

    def end_before(self, address: int) -> int:
        """Return where the last unwind entry that begins before an address ends, 0 none."""
        index = bisect_left(self._keys, address) - 1
        return self._starts[index][0] + self._length(self._starts[index][1]) if index >= 0 else 0

    def next_start(self, address: int) -> int:
        """Return the first function start at or behind an address, 0 none."""
        index = bisect_left(self._keys, address)
        return self._keys[index] if index < len(self._keys) else 0

    def starts(self) -> list[int]:
        """Return all function starts."""
        return list(self._keys)


@lru_cache(maxsize=64)
def ranges_of(elf: ElfFile) -> FunctionRanges:
    """Return the function bounds of a file, read once."""
    return FunctionRanges(elf)
