"""The libraries that a program will be started with, found as the loader finds them (ld.so(8)).

LD_LIBRARY_PATH, the program's own RUNPATH or RPATH, the default folders. `/etc/ld.so.cache` is not read: what
lies in other folders is found only when it is mapped.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import ObjectProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.paths import is_file

NEEDED, RPATH, RUNPATH = 1, 15, 29  # tags of `.dynamic`
DEFAULT = (
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
    "/usr/local/lib",
)  # fmt: skip
MOST = 256  # libraries of one program


def libraries_of(program: ElfFile) -> list[ElfFile]:
    """Return the libraries that a program needs, nearest first, and those that they need."""
    found: dict[str, ElfFile] = {}
    waiting = [program]
    while waiting and len(found) < MOST:
        elf = waiting.pop(0)
        names, folders = _dynamic(elf)
        for name in names:
            if name not in found and (library := _find(name, folders)) is not None:
                found[name] = library
                waiting.append(library)
    return list(found.values())


def _dynamic(elf: ElfFile) -> tuple[list[str], list[str]]:
    """Names that a file needs, and folders that it names."""
    section = elf.section(".dynamic")
    if section is None or section.link >= len(elf.sections):
        return [], []
    strings = elf.content(elf.sections[section.link])
    content = elf.content(section)
    names: list[str] = []
    folders: list[str] = []
    for tag, value in struct.iter_unpack("<qQ", content[: len(content) & -16]):
        text = strings[value : strings.find(b"\0", value)].decode(errors="surrogateescape")
        if tag == NEEDED:
            names.append(text)
        elif tag in (RPATH, RUNPATH):
            folders += _folders(text, elf)
    return names, folders


def _folders(text: str, elf: ElfFile) -> list[str]:
    origin = str(Path(os.path.realpath(elf.path)).parent)
    return [f.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for f in text.split(":") if f]


def _candidates(name: str, folders: list[str]) -> Iterator[str]:
    if "/" in name:
        yield name
        return
    own = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for folder in (*own, *folders, *DEFAULT):
        yield f"{folder}/{name}"


def _find(name: str, folders: list[str]) -> ElfFile | None:
    for path in _candidates(name, folders):
        if is_file(path):
            try:
                return ElfFile(path)
            except ObjectProblem:
                continue
    return None
