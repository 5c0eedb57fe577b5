"""What a cubin says of its kernels, read without any of NVIDIA's tools.

`.nv.info` holds records {u8 form, u8 attribute, u16 bytes or value, …}; those of form 4 that count here carry
{u32 symbol, u32 value}: 0x2f registers, 0x11 frame. Verified equal to what `ptxas -v` prints.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from attachers.cuda.assemble.result import Usage

ELF_MAGIC = b"\x7fELF"
REGISTERS, FRAME = 0x2F, 0x11
SIZED = 4  # form of a record whose value has its own length
OLD_ABI = 0x33  # e_ident[EI_OSABI] of toolkits before 13
SYMTAB = 2
ENTRY = 0x10  # of a symbol's `st_other`: a kernel, not a function of the device


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    offset: int
    size: int
    link: int
    info: int


def arch_of(cubin: bytes) -> int:
    """Give the architecture of a cubin, 90 for sm_90; 0 where it is none."""
    if len(cubin) < 64 or cubin[:4] != ELF_MAGIC:
        return 0
    flags = int.from_bytes(cubin[48:52], "little")
    return flags & 0xFF if cubin[7] == OLD_ABI else flags >> 8 & 0xFF


def usage_of(cubin: bytes) -> dict[str, Usage]:
    """Give what each kernel of a cubin takes; nothing of one that is damaged."""
    try:
        return _usage(cubin)
    except (struct.error, IndexError, ValueError):
        return {}


def _usage(cubin: bytes) -> dict[str, Usage]:
    sections = _sections(cubin)
    by_name = {section.name: section for section in sections}
    kernels = [name.removeprefix(".text.") for name in by_name if name.startswith(".text.")]
    symbols = _symbols(cubin, sections)
    names = [name for name, _ in symbols]
    entries = {name for name, other in symbols if other & ENTRY}
    registers: dict[str, int] = {}
    frames: dict[str, int] = {}
    info = by_name.get(".nv.info")
    if info:
        for attribute, symbol, value in _records(cubin[info.offset : info.offset + info.size]):
            wanted = registers if attribute == REGISTERS else frames if attribute == FRAME else None
            if wanted is not None and symbol < len(names):
                wanted[names[symbol]] = value
    shared = {
        name.removeprefix(".nv.shared."): section.size
        for name, section in by_name.items()
        if name.startswith(".nv.shared.")
    }
    return {
        kernel: Usage(registers[kernel], frames.get(kernel, 0), shared.get(kernel, 0))
        for kernel in kernels
        if kernel in registers and kernel in entries
    }


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at + 4 <= len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if form != SIZED:
            continue
        if size >= 8:
            yield attribute, *struct.unpack_from("<II", data, at)
        at += size


def _sections(cubin: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", cubin, 40)
    entry, count, names_at = struct.unpack_from("<HHH", cubin, 58)
    if table + entry * count > len(cubin):
        raise ValueError("sections behind the end")
    raw = [struct.unpack_from("<IIQQQQIIQQ", cubin, table + entry * i) for i in range(count)]
    strings = raw[names_at]
    names = cubin[strings[4] : strings[4] + strings[5]]
    return [_Section(_string(names, r[0]), r[1], r[4], r[5], r[6], r[7]) for r in raw]


def _symbols(cubin: bytes, sections: list[_Section]) -> list[tuple[str, int]]:
    """Give name and `st_other` of each symbol."""
    table = next((s for s in sections if s.kind == SYMTAB), None)
    if table is None:
        return []
    if table.offset + table.size > len(cubin):
        raise ValueError("symbols behind the end")
    strings = sections[table.link]
    names = cubin[strings.offset : strings.offset + strings.size]
    return [
        (_string(names, struct.unpack_from("<I", cubin, table.offset + at)[0]), cubin[table.offset + at + 5])
        for at in range(0, table.size - 23, 24)
    ]


def _string(names: bytes, at: int) -> str:
    return names[at : names.index(b"\0", at)].decode("latin-1")


def code_bytes(cubin: bytes) -> dict[str, int]:
    """Give the bytes of machine code of each kernel; nothing of a damaged cubin."""
    try:
        sections = _sections(cubin)
    except (struct.error, IndexError, ValueError):
        return {}
    return {s.name.removeprefix(".text."): s.size for s in sections if s.name.startswith(".text.")}
