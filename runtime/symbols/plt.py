"""The stubs by which a file calls functions of others, as functions `NAME@plt`.

A stub jumps through a slot of the global offset table, and a relocation says whose address the loader puts
there. Source: System V ABI, AMD64 supplement, "Procedure Linkage Table"; the layouts with `endbr64`.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

from runtime.symbols.elf import FUNC, ElfFile, Section, Symbol

_JUMP = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?(?:\xf2)?\xff\x25(.{4})", re.S)  # [endbr64] [bnd] jmp [rip + d]
_RELA = struct.Struct("<QQq")
_SYMBOL = struct.Struct("<IBBHQQ")
STUB = 16  # bytes, also the alignment; 8 in .plt.got
SHT_RELA = 4


@lru_cache(maxsize=32)
def stubs_of(elf: ElfFile) -> tuple[Symbol, ...]:
    """Return the stubs of a file by address; empty for one that calls nobody, or not by stubs."""
    slots = _slots(elf)
    found = []
    for section in elf.sections:
        if not section.name.startswith(".plt") or not slots:
            continue
        code = elf.content(section)
        step = 8 if section.name == ".plt.got" and section.entry in (0, 8) else STUB
        for at in range(0, len(code), step):
            jump = _JUMP.match(code, at)
            if not jump:
                continue
            end = section.address + jump.end()
            name = slots.get(end + struct.unpack("<i", jump[1])[0])
            if name:
                found.append(Symbol(f"{name}@plt", section.address + at, step, FUNC))
    return tuple(found)


def _slots(elf: ElfFile) -> dict[int, str]:
    """Return the name that each slot of the global offset table is for."""
    found: dict[int, str] = {}
    for section in elf.sections:
        if section.kind != SHT_RELA or section.link >= len(elf.sections):
            continue
        symbols = elf.sections[section.link]
        if symbols.kind != 11 or symbols.link >= len(elf.sections):  # SHT_DYNSYM
            continue
        found |= _names(elf, section, symbols)
    return found


def _names(elf: ElfFile, section: Section, symbols: Section) -> dict[int, str]:
    table, names = elf.content(symbols), elf.content(elf.sections[symbols.link])
    content = elf.content(section)
    found = {}
    for slot, info, _ in _RELA.iter_unpack(content[: len(content) // _RELA.size * _RELA.size]):
        at = (info >> 32) * _SYMBOL.size
        if not info >> 32 or at + _SYMBOL.size > len(table):
            continue
        start = _SYMBOL.unpack_from(table, at)[0]
        end = names.find(b"\0", start)
        if end > start:
            found[slot] = names[start:end].decode(errors="replace")
    return found
