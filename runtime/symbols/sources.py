"""All functions of a file, wherever they are known: its own tables, debug files, Go's table, unwind entries.

A file that is not stripped needs none of the others. They are looked at only when a name is not found in its
own tables, or when a pattern may mean any function.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

from runtime.symbols.debugfiles import symbols_beside
from runtime.symbols.elf import FUNC, ElfFile, Symbol
from runtime.symbols.gotable import go_functions
from runtime.symbols.ranges import ranges_of

NAMELESS = "func_"  # with the virtual address in hexadecimal
_CALL = re.compile(rb"\xe8(?=(.{4}))", re.S)
_CONDITIONAL = re.compile(rb"\x0f[\x80-\x8f](?=(.{4}))", re.S)


@lru_cache(maxsize=64)
def named_functions(elf: ElfFile) -> tuple[Symbol, ...]:
    """Return every function that has a name somewhere, by address."""
    if elf.has_symtab:
        return elf.functions
    beside = symbols_beside(elf)
    more = beside.functions if beside else go_functions(elf)
    if not more:
        return elf.functions
    known = {(s.name, s.value) for s in elf.functions}
    found = [*elf.functions, *(s for s in more if (s.name, s.value) not in known)]
    return tuple(sorted(found, key=lambda s: (s.value, s.name)))


@lru_cache(maxsize=64)
def functions_of(elf: ElfFile) -> tuple[Symbol, ...]:
    """Return every function, by address; those without a name anywhere are `func_ADDRESS`."""
    named = named_functions(elf)
    if elf.has_symtab or symbols_beside(elf) or go_functions(elf):
        return named
    return tuple(sorted([*named, *nameless(elf)], key=lambda s: (s.value, s.name)))


def nameless(elf: ElfFile) -> list[Symbol]:
    """Return the code that has unwind entries and no name, as functions.

    Left out: parts that the compiler has moved away (they are jumped to on a condition, never called) and
    the stubs of the procedure linkage table.
    """
    ranges = ranges_of(elf)
    known = {s.value for s in elf.functions}
    stubs = [(s.address, s.address + s.size) for s in elf.sections if s.name.startswith(".plt")]
    moved = _moved_parts(elf)
    found = []
    for start in ranges.starts():
        covering = ranges.containing(start)
        if covering is None or start in known or start in moved or any(a <= start < b for a, b in stubs):
            continue
        found.append(Symbol(f"{NAMELESS}{start:x}", start, covering[1] - start, FUNC))
    return found


def _moved_parts(elf: ElfFile) -> set[int]:
    """Return addresses that conditional branches of 32 bits go to and no call does."""
    called: set[int] = set()
    jumped: set[int] = set()
    for segment in elf.segments:
        if not segment.flags & 1:
            continue
        code = bytes(elf.data[segment.offset : segment.offset + segment.file_bytes])
        for pattern, targets in ((_CALL, called), (_CONDITIONAL, jumped)):
            for branch in pattern.finditer(code):
                distance = struct.unpack("<i", branch[1])[0]
                targets.add(segment.address + branch.end() + 4 + distance)
    return jumped - called
