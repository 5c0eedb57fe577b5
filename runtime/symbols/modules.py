"""The ELF files that a process has mapped, with the bias that turns file addresses into its addresses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from runtime.errors import ObjectProblem, TargetProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.maps import Mapping, Memory, folder_of, read_maps

MAP_FILES = "map_files"  # below /proc/PID: links to files that may have no path any more


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
    return from_memory(path) if MAP_FILES in path else ElfFile(path)


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
    """Return a path of the very file that is mapped: same inode, in the process's own root if need be.

    A path that names another file now (an update, another mount namespace) is not taken.
    """
    for candidate in (path, f"{folder_of(pid)}/root{path}"):
        try:
            status = os.stat(candidate)
        except OSError:
            continue
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        # Layered file systems show another device here than in the map.
        if status.st_ino == inode and (device == mapping.device or candidate != path):
            return candidate
    return f"/proc/{pid}/{MAP_FILES}/{mapping.start:x}-{mapping.end:x}"


def from_memory(path: str) -> ElfFile:
    """Return a file that has no path any more: by the kernel's link to it, else as far as it is mapped.

    Raises:
        ObjectProblem: neither can be read.
    """
    try:
        return ElfFile(path)
    except ObjectProblem as problem:
        words = path.split("/")
        pid, start = int(words[2]), int(words[4].partition("-")[0], 16)
        try:
            return mapped_file(pid, start)
        except (TargetProblem, StopIteration):
            raise problem from None


def mapped_file(pid: int, start: int) -> ElfFile:
    """Put together what a process has mapped of the file at an address."""
    maps = read_maps(pid)
    one = next(m for m in maps if m.start == start)
    data = bytearray()
    memory = Memory(pid)
    try:
        parts = [m for m in maps if (m.device, m.inode, m.path) == (one.device, one.inode, one.path)]
        for part in parts:
            content = memory.read(part.start, part.end - part.start)
            data.extend(bytes(max(part.offset + len(content) - len(data), 0)))
            data[part.offset : part.offset + len(content)] = content
    finally:
        memory.close()
    headers = ElfFile.of_bytes(bytes(data), one.path, 0)
    return ElfFile.of_bytes(bytes(data), one.path, _bias(headers, one))


def _bias(elf: ElfFile, text: Mapping) -> int:
    for segment in elf.segments:
        first = segment.offset & -4096
        if first <= text.offset < segment.offset + max(segment.file_bytes, 1) and segment.flags & 1:
            return text.start - (segment.address - segment.offset + text.offset)
    raise ObjectProblem("its text is in no segment", file=elf.path)
