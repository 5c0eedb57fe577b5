""".BTF.ext: which source line an instruction comes from, and where CO-RE relocations are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from runtime.btf.types import MAGIC, Btf
from runtime.elf.sections import Elf
from runtime.errors import ObjectProblem, Span


class CoreRelocation(NamedTuple):
    """One CO-RE relocation: at byte `offset` of its section, about `type` and the member path `access`."""

    offset: int
    type: int
    access: str
    kind: int


class Ext(NamedTuple):
    """Tables by section name. `lines`: byte offset → place; `core` in file order."""

    lines: dict[str, dict[int, Span]]
    core: dict[str, list[CoreRelocation]]


def read_ext(elf: Elf, btf: Btf | None) -> Ext:
    """Read `.BTF.ext`; without it, or without BTF, all tables are empty.

    Raises:
        ObjectProblem: a table runs past its end.
    """
    section = elf.section(".BTF.ext")
    if section is None or btf is None:
        return Ext({}, {})
    data = section.data
    if len(data) < 24 or struct.unpack_from("<HB", data) != (MAGIC, 1):
        raise ObjectProblem("is not BTF.ext of version 1", file=elf.file, section=".BTF.ext", offset=0)
    (head,) = struct.unpack_from("<I", data, 4)
    _, _, line_off, line_len = struct.unpack_from("<IIII", data, 8)
    core = struct.unpack_from("<II", data, 24) if head >= 32 and len(data) >= 32 else (0, 0)
    lines: dict[str, dict[int, Span]] = {}
    for name, offset, record in _records(elf, btf, data, (head + line_off, line_len, 16)):
        lines.setdefault(name, {})[offset] = _span(btf, record)
    relocations: dict[str, list[CoreRelocation]] = {}
    for name, offset, record in _records(elf, btf, data, (head + core[0], core[1], 16)):
        _, number, access, kind = struct.unpack_from("<IIII", record)
        relocations.setdefault(name, []).append(CoreRelocation(offset, number, btf.string(access), kind))
    return Ext(lines, relocations)


def _records(
    elf: Elf, btf: Btf, data: bytes, table: tuple[int, int, int]
) -> Iterator[tuple[str, int, bytes]]:
    """Section name, instruction offset and bytes of each record; records may be longer than we know."""
    at, length, least = table
    end = at + length
    if not length:
        return
    if end > len(data) or length < 4:
        raise ObjectProblem("table lies outside of the section", file=elf.file, section=".BTF.ext", offset=at)
    (size,) = struct.unpack_from("<I", data, at)
    if size < least or size > 1 << 16:
        raise ObjectProblem(f"records of {size} bytes", file=elf.file, section=".BTF.ext", offset=at)
    at += 4
    while at < end:
        if at + 8 > end:
            raise ObjectProblem("table is cut off", file=elf.file, section=".BTF.ext", offset=at)
        name_off, count = struct.unpack_from("<II", data, at)
        at += 8
        if at + size * count > end:
            raise ObjectProblem("table is cut off", file=elf.file, section=".BTF.ext", offset=at)
        name = btf.string(name_off)
        for start in range(at, at + size * count, size):
            yield name, struct.unpack_from("<I", data, start)[0], data[start : start + size]
        at += size * count


def _span(btf: Btf, record: bytes) -> Span:
    _, file_off, text_off, place = struct.unpack_from("<IIII", record)
    line, column = place >> 10, place & 0x3FF
    text = btf.string(text_off)
    return Span(btf.string(file_off), line, column, line, max(column + 1, len(text.rstrip()) + 1), text)
