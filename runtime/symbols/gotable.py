"""The functions of a Go program by its own table, which also a stripped one has.

Source: Go's `debug/gosym/pclntab.go` and `runtime/symtab.go`, versions 1.16, 1.18 and 1.20 of the table.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from runtime.symbols.elf import FUNC, ElfFile, Section, Symbol

TABLES = (".gopclntab", ".data.rel.ro.gopclntab")
MARKS = (*TABLES, ".go.buildinfo", ".note.go.buildid")
_V116, _V118, _V120 = 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
MOST_FUNCTIONS = 4 << 20


@lru_cache(maxsize=64)
def is_go(elf: ElfFile) -> bool:
    """Return whether Go's linker has made a file: its functions pass arguments in Go's registers."""
    return any(section.name in MARKS for section in elf.sections)


@lru_cache(maxsize=64)
def go_functions(elf: ElfFile) -> tuple[Symbol, ...]:
    """Return the functions of the table; empty when there is none in a known version."""
    section = next((s for s in elf.sections if s.name in TABLES), None)
    if section is None:
        return ()
    try:
        return tuple(_read(elf, section))
    except (struct.error, IndexError):
        return ()


def _read(elf: ElfFile, section: Section) -> list[Symbol]:
    data = elf.content(section)
    magic, _, _, pointer = struct.unpack_from("<IHBB", data)
    if magic not in (_V116, _V118, _V120) or pointer != 8:
        return []
    old = magic == _V116
    count, _, *offsets = struct.unpack_from("<8Q" if not old else "<7Q", data, 8)
    text = elf.section(".text")
    base = 0 if old else _base(offsets.pop(0), text)
    names, table = offsets[0], offsets[4]
    if not 0 < count < MOST_FUNCTIONS:
        return []
    row = struct.Struct("<QQ" if old else "<II")
    rows = list(row.iter_unpack(data[table : table + row.size * count]))
    (end,) = struct.unpack_from("<Q" if old else "<I", data, table + row.size * count)
    found = []
    for (start, about), following in zip(rows, [*(r[0] for r in rows[1:]), end], strict=True):
        (name,) = struct.unpack_from("<i", data, table + about + (8 if old else 4))
        at = names + name
        size = _without_padding(elf, base + start, following - start)
        found.append(Symbol(_text(data, at), base + start, size, FUNC))
    return [s for s in found if s.name and s.size > 0]


def _without_padding(elf: ElfFile, address: int, size: int) -> int:
    """Return a function's size without the `int3`s that fill up to the next one."""
    offset = elf.to_offset(address)
    code = bytes(elf.data[offset : offset + size]).rstrip(b"\xcc") if offset >= 0 else b""
    short_jump = code.endswith(b"\xeb")  # its distance was one of the bytes taken off
    return len(code) + short_jump if code else size


def _base(written: int, text: Section | None) -> int:
    """Return where code begins: as written, unless that is left to the loader."""
    return written or (text.address if text else 0)


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "replace") if 0 <= at < len(data) else ""
