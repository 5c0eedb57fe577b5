"""All `syscall` instructions of an ELF file, each with its function decoded.

Two bytes that look like one are mostly something else: of 86 in one program none was real. So the function
around them is decoded from its start, and only where an instruction starts at them is there a place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from attachers.patch.function import Function
from runtime.symbols.elf import ElfFile
from runtime.symbols.gotable import go_functions
from runtime.symbols.ranges import ranges_of

SYSCALL = b"\x0f\x05"
LARGEST = 1 << 16  # bytes of a function that is decoded; those with calls of their own are small
# mov rax, 15; syscall: how signal handlers return. Unwinders know it by its bytes, and its unwind entry
# starts a byte early (gcc, MD_FALLBACK_FRAME_STATE_FOR).
RESTORE = bytes.fromhex("48c7c00f0000000f05")
EXECUTABLE = 1  # PF_X


def calls_in(elf: ElfFile) -> Iterator[tuple[Function, int]]:
    """Yield each function that makes system calls, at its address in the file, and one `syscall` in it."""
    bounds = Bounds(elf)
    decoded: dict[int, Function] = {}
    for address in _candidates(elf):
        found = bounds.around(address)
        if found is None or found[1] - found[0] > LARGEST:
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


class Bounds:
    """Where the functions of a file begin and end: unwind entries, symbols, Go's own table."""

    def __init__(self, elf: ElfFile) -> None:
        self._ranges = ranges_of(elf)
        functions = sorted((s.value, s.size, s.name) for s in elf.functions or go_functions(elf))
        self._symbols = functions
        self._starts = [value for value, _, _ in functions]

    def around(self, address: int) -> tuple[int, int, str] | None:
        """Return start, end and name of the function around an address; the name may be empty."""
        index = bisect_right(self._starts, address) - 1
        start, size, name = self._symbols[index] if index >= 0 else (0, 0, "")
        covering = self._ranges.containing(address)
        if covering:
            return (*covering, name if covering[0] <= start < covering[1] else "")
        if not size and index >= 0:
            size = (self._starts[index + 1] if index + 1 < len(self._starts) else start) - start
        return (start, start + size, name) if start <= address < start + size else None

    def room_behind(self, end: int) -> int:
        """Return how many bytes behind a function can only be padding."""
        room = -end % 16
        following = self._ranges.next_start(end)
        index = bisect_right(self._starts, end - 1)
        symbol = self._starts[index] if index < len(self._starts) else 0
        return min(room, *(start - end for start in (following, symbol) if start >= end), room)
