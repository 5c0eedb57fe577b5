"""All `syscall` instructions of an ELF file, each with its function decoded.

Two bytes that look like one are mostly something else: of 86 in one program none was real. So the function
around them is decoded from its start, and only where an instruction starts at them is there a place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from attachers.patch.function import Function
from runtime.symbols.elf import ElfFile
from runtime.symbols.gotable import go_functions
from runtime.symbols.ranges import ranges_of

SYSCALL = b"\x0f\x05"
LARGEST = 1 << 19  # bytes of a function that is decoded, or of all those that a file does not tell apart
# mov rax, 15; syscall: how signal handlers return. Unwinders know it by its bytes, and its unwind entry
# starts a byte early (gcc, MD_FALLBACK_FRAME_STATE_FOR).
RESTORE = bytes.fromhex("48c7c00f0000000f05")
EXECUTABLE = 1  # PF_X


def calls_in(elf: ElfFile, bounds: Bounds) -> Iterator[tuple[Function, int]]:
    """Yield each function that makes system calls, at its address in the file, and one `syscall` in it."""
    decoded: dict[int, Function] = {}
    for address in _candidates(elf):
        found = bounds.around(address)
        if found is None or found.end - found.start > LARGEST:
            continue
        start, end, name = found
        if start not in decoded:
            offset = elf.to_offset(start)
            code = bytes(elf.data[offset : offset + end - start])
            tail = bytes(elf.data[offset + end - start : offset + end - start + bounds.room_behind(end)])
            decoded[start] = Function(name, start, code, tail)
        if any(i.address == address and i.base == "syscall" for i in decoded[start].instructions):
            yield decoded[start], address


def _candidates(elf: ElfFile) -> Iterator[int]:
    """Yield where two bytes may be a `syscall`, but for the one by which signal handlers return."""
    for segment in elf.segments:
        if not segment.flags & EXECUTABLE:
            continue
        code = bytes(elf.data[segment.offset : segment.offset + segment.file_bytes])
        for found in re.finditer(re.escape(SYSCALL), code):
            at = found.start()
            if code[max(at - 7, 0) : at + 2] != RESTORE:
                yield segment.address + at


class Bound(NamedTuple):
    """A function of a file, its name empty where it has none; or several of those together."""

    start: int
    end: int
    name: str


class Bounds:
    """Where the functions of a file begin and end: unwind entries, symbols, Go's own table."""

    def __init__(self, elf: ElfFile) -> None:
        self._ranges = ranges_of(elf)
        functions = sorted((s.value, s.size, s.name) for s in elf.functions or go_functions(elf))
        self._symbols = functions
        self._starts = [value for value, _, _ in functions]
        self._segments = [(s.address, s.address + s.file_bytes) for s in elf.segments if s.flags & EXECUTABLE]

    def around(self, address: int) -> Bound | None:
        """Return the function around an address."""
        index = bisect_right(self._starts, address) - 1
        start, size, name = self._symbols[index] if index >= 0 else (0, 0, "")
        covering = self._ranges.containing(address)
        if covering:
            return Bound(*covering, name if covering[0] <= start < covering[1] else "")
        if not size and index >= 0:
            size = (self._starts[index + 1] if index + 1 < len(self._starts) else start) - start
        if start <= address < start + size:
            return Bound(start, start + size, name)
        return self._between(start + size, index, address)

    def _between(self, start: int, index: int, address: int) -> Bound | None:
        """Return what lies between two functions that the file knows: the others of a stripped C library.

        Where each begins is not known, and need not be: the code there is decoded from the end of the one
        before, so all their branches are seen.
        """
        first, last = next((s for s in self._segments if s[0] <= address < s[1]), (0, 0))
        start = max(start, first, self._ranges.end_before(address))
        following = (self._ranges.next_start(address), *self._starts[index + 1 : index + 2])
        end = min((f for f in following if f), default=last)
        if not start <= address < end:
            return None
        # An unwind entry may end in the middle: behind glibc's clone3 there is nothing to unwind to.
        before = self._ranges.containing(start - 1)
        return Bound(before[0] if before else start, min(end, last), "")

    def room_behind(self, end: int) -> int:
        """Return how many bytes behind a function can only be padding."""
        room = -end % 16
        following = self._ranges.next_start(end)
        index = bisect_right(self._starts, end - 1)
        symbol = self._starts[index] if index < len(self._starts) else 0
        return min(room, *(start - end for start in (following, symbol) if start >= end), room)
