"""From LLVM's ELF object to one position-independent block of bytes with the relocations that remain.

Text comes first, then read-only data. References inside the block are resolved here; what is left names
symbols of the target. Source: System V ABI, AMD64 supplement, table 4.9 (relocation types).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.errors import Bug
from runtime.jit.image import Relocation

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA = 1, 2, 4
SHF_ALLOC, SHF_EXECINSTR = 2, 4
# relocation number → (kind, width in bytes)
KINDS = {
    1: ("abs64", 8),
    2: ("pc32", 4),
    4: ("plt", 4),
    9: ("got", 4),
    11: ("abs32", 4),
    41: ("got", 4),
    42: ("got", 4),
}
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELA = struct.Struct("<QQq")


@dataclass(frozen=True, slots=True)
class Blob:
    """`code`: text padded to 16, then data. `text`: bytes of it that are instructions."""

    code: bytes
    text: int
    relocations: tuple[Relocation, ...]
    symbols: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def _sections(elf: bytes) -> list[_Section]:
    start = struct.unpack_from("<Q", elf, 0x28)[0]
    count = struct.unpack_from("<H", elf, 0x3C)[0]
    rows = (SECTION.unpack_from(elf, start + i * 64) for i in range(count))
    return [_Section(r[1], r[2], r[4], r[5], r[6], r[7], r[8]) for r in rows]


def _string(elf: bytes, start: int) -> str:
    return elf[start : elf.index(0, start)].decode()


def _place(elf: bytes, sections: list[_Section]) -> tuple[bytearray, dict[int, int]]:
    """Concatenate the sections that are loaded; give each one's start in the block."""
    code, starts = bytearray(), {}
    # What may be executed comes first; the sort is stable, so the program's own text stays at 0.
    for index, section in sorted(enumerate(sections), key=lambda item: not item[1].flags & SHF_EXECINSTR):
        if section.kind != SHT_PROGBITS or not section.flags & SHF_ALLOC or not section.size:
            continue
        code += b"\x90" * (-len(code) % max(section.align, 16))
        starts[index] = len(code)
        code += elf[section.offset : section.offset + section.size]
    return code, starts


def read(elf: bytes) -> Blob:
    """Lay out an object that `compile_ir` made.

    Raises:
        Bug: the object holds a relocation or section that images cannot carry.
    """
    sections = _sections(elf)
    code, starts = _place(elf, sections)
    table = next(s for s in sections if s.kind == SHT_SYMTAB)
    names = sections[table.link].offset
    symbols = [SYMBOL.unpack_from(elf, table.offset + i) for i in range(0, table.size, 24)]
    left: list[Relocation] = []
    for section in sections:
        if section.kind != SHT_RELA or section.info not in starts:
            continue
        for at in range(section.offset, section.offset + section.size, 24):
            offset, info, addend = RELA.unpack_from(elf, at)
            name, _, _, home, value, _ = symbols[info >> 32]
            where = starts[section.info] + offset
            own = starts[home] + value if home in starts else None
            relocation = _resolve(code, where, info & 0xFFFFFFFF, own, addend)
            if relocation is not None:
                label = f"self:{own}" if own is not None else _string(elf, names + name)
                left.append(Relocation(where, relocation, label, addend))
    defined = {_string(elf, names + s[0]): starts[s[3]] + s[4] for s in symbols if s[0] and s[3] in starts}
    runs = [starts[i] + s.size for i, s in enumerate(sections) if i in starts and s.flags & SHF_EXECINSTR]
    return Blob(bytes(code), max(runs, default=0), tuple(left), defined)


def _resolve(code: bytearray, where: int, number: int, own: int | None, addend: int) -> str | None:
    """Fill a reference inside the block; give the kind of one that has to wait for the target."""
    if number not in KINDS:
        raise Bug(f"relocation type {number} at {where:#x} of compiled code")
    kind = KINDS[number][0]
    if own is None or kind == "abs64":
        return kind
    if kind not in ("pc32", "plt"):
        raise Bug(f"relocation {kind} to own code at {where:#x}")
    struct.pack_into("<i", code, where, own + addend - where)
    return None
