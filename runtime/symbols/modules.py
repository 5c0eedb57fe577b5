"""The ELF files that a process has mapped, with the bias that turns file addresses into its addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from runtime.errors import ObjectProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.maps import Mapping, folder_of, read_maps


@dataclass(frozen=True, slots=True)
class Module:
    """One mapped ELF file.

    `path` as the process names it; `readable` where the tracer reads the same file; `bias` is added to a
    virtual address of the file; `text` are its executable mappings.
    """

    path: str
    readable: str
    bias: int
    start: int
    end: int
    text: tuple[Mapping, ...]
    device: str
    inode: int
    deleted: bool

    @property
    def elf(self) -> ElfFile:
        """Return the file, parsed (kept for later calls)."""
        return elf_file(self.readable, self.inode)

    def contains(self, address: int) -> bool:
        """Return whether an address of the process lies in this module's text."""
        return any(m.start <= address < m.end for m in self.text)


@lru_cache(maxsize=256)
def elf_file(path: str, inode: int) -> ElfFile:
    """Return a parsed file; `inode` keeps files apart that bear one name in two file systems."""
    del inode
    return ElfFile(path)


def modules_of(pid: int) -> list[Module]:
    """Return the executable ELF files that a process has mapped, in address order.

    Raises:
        TargetProblem: there is no such process, or it may not be looked at.
    """
    groups: dict[tuple[str, int, str], list[Mapping]] = {}
    for mapping in read_maps(pid):
        if mapping.inode and mapping.path.startswith("/") and not mapping.path.startswith("/memfd:"):
            groups.setdefault((mapping.device, mapping.inode, mapping.path), []).append(mapping)
    found = []
    for (device, inode, path), mappings in groups.items():
        text = tuple(m for m in mappings if m.protection & 4)
        if not text:
            continue
        readable = _readable(pid, path, text[0], inode)
        try:
            bias = _bias(elf_file(readable, inode), text[0])
        except ObjectProblem:
            continue
        found.append(
            Module(
                path.removesuffix(" (deleted)"),
                readable,
                bias,
                mappings[0].start,
                mappings[-1].end,
                text,
                device,
                inode,
                path.endswith(" (deleted)"),
            )
        )
    return found


def _readable(pid: int, path: str, mapping: Mapping, inode: int) -> str:
    """Return a path of the very file that is mapped: same inode, in the process's own root if need be."""
    for candidate in (path, f"{folder_of(pid)}/root{path}"):
        try:
            if os.stat(candidate).st_ino == inode:
                return candidate
        except OSError:
            continue
    return f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"


def _bias(elf: ElfFile, text: Mapping) -> int:
    for segment in elf.segments:
        first = segment.offset & -4096
        if first <= text.offset < segment.offset + max(segment.file_bytes, 1) and segment.flags & 1:
            return text.start - (segment.address - segment.offset + text.offset)
    raise ObjectProblem("its text is in no segment", file=elf.path)
