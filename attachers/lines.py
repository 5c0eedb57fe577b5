"""Places in a file by a line of its source: `@file.c:12`, `@file.c:12:5`."""

from __future__ import annotations

import re

from runtime.errors import AttachProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import FunctionPoint, at_address

MARK = "@"
LOCATION = re.compile(r"@(.+?):([0-9]{1,9})(?::([0-9]{1,9}))?")
NEAR = 3  # lines with code that a message names


def points_of_line(elf: ElfFile, text: str) -> list[FunctionPoint]:
    """Return where the code of a line begins: one place for each function that has code of it.

    Raises:
        AttachProblem: the text is no location (22), or there is no code (2).
    """
    from runtime.dwarf.info import debug_info  # lazy: few probes name lines
    from runtime.dwarf.lines import addresses_of, lines_near

    found = LOCATION.fullmatch(text)
    if not found:
        raise AttachProblem(
            f"wrong place in a source: '{text}'", errno=22, hint="write BINARY@FILE:LINE[:COLUMN]"
        )
    file, line, column = found[1], int(found[2]), int(found[3] or 0)
    info = debug_info(elf.path)
    if info is None:
        raise AttachProblem(f"no debuginfo found for {elf.path}", errno=2, hint="compile it with -g")
    addresses = addresses_of(info, file, line, column)
    if not addresses:
        near = lines_near(info, file, line)[:NEAR]
        if not near:
            raise AttachProblem(f"no source file {file} in the debug info of {elf.path}", errno=2)
        where = f"{file}:{line}" + (f":{column}" if column else "")
        lines = ", ".join(map(str, sorted(near)))
        raise AttachProblem(
            f"no code begins at {where} in {elf.path}", errno=2, hint=f"lines near it that have code: {lines}"
        )
    first: dict[int, FunctionPoint] = {}
    for address in addresses:
        point = at_address(elf, address)
        first.setdefault(point.address, point)
    return list(first.values())
