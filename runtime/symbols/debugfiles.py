"""Where the symbols of a stripped file lie: packed inside it, or in a file of their own.

Sources: GDB manual, "Separate Debug Files" and "MiniDebugInfo"; debuginfod-client-config(7). A file is taken
only if it has the same build-id, or the checksum that the link names; the process's own root goes first.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from runtime.errors import ObjectProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.paths import is_file

GLOBAL = "/usr/lib/debug"
_ROOT = re.compile(r"(/proc/\d+(?:/task/\d+)?)/(?:root(?=/)|map_files/)")
_extra: list[str] = []  # folders that the user has named
MOST_PACKED = 256 << 20  # bytes of unpacked symbols


def look_in(folders: list[str]) -> None:
    """Name folders in which debug files are looked for first; holds for the rest of the process."""
    _extra[:] = [folder for folder in folders if folder]
    symbols_beside.cache_clear()
    debug_info_of.cache_clear()


@lru_cache(maxsize=64)
def symbols_beside(elf: ElfFile) -> ElfFile | None:
    """Return a file that has the function symbols which a stripped one lacks, None where there is none."""
    packed = _packed(elf)
    if packed is not None:
        return packed
    return _first(elf, lambda found: found.has_symtab)


@lru_cache(maxsize=64)
def debug_info_of(elf: ElfFile) -> ElfFile | None:
    """Return the file with the debug info that a program lacks, None where there is none."""
    return _first(elf, lambda found: found.section(".debug_info") is not None)


def _first(elf: ElfFile, serves: Callable[[ElfFile], bool]) -> ElfFile | None:
    """Return the first separate file of a program that has what the program lacks."""
    for path in _candidates(elf):
        if is_file(path) and os.path.realpath(path) != os.path.realpath(elf.path):
            try:
                found = ElfFile(path)
            except ObjectProblem:
                continue
            if serves(found) and _belongs(elf, found):
                return found
    return None


def _packed(elf: ElfFile) -> ElfFile | None:
    """Return the symbols in `.gnu_debugdata`: an ELF file, compressed."""
    section = elf.section(".gnu_debugdata")
    if section is None:
        return None
    import lzma  # lazy: few files have it

    try:
        data = lzma.LZMADecompressor(memlimit=MOST_PACKED).decompress(elf.content(section), MOST_PACKED)
        found = ElfFile.of_bytes(data, f"{elf.path} (.gnu_debugdata)")
    except (lzma.LZMAError, ObjectProblem, EOFError):
        return None
    return found if found.has_symtab else None


def _belongs(elf: ElfFile, found: ElfFile) -> bool:
    if elf.build_id:
        return elf.build_id == found.build_id
    link = _link(elf)
    return link is not None and zlib.crc32(found.data) == link[1]


def _link(elf: ElfFile) -> tuple[str, int] | None:
    """Return the name and the CRC-32 of the file that `.gnu_debuglink` means."""
    section = elf.section(".gnu_debuglink")
    content = elf.content(section) if section else b""
    name, end, _ = content.partition(b"\0")
    if not name or not end or len(content) < 8 or b"/" in name:
        return None
    return name.decode(errors="surrogateescape"), int.from_bytes(content[-4:], "little")


def _candidates(elf: ElfFile) -> Iterator[str]:
    """Yield paths in the order of GDB: by build-id, beside the file, below the global folder; caches last."""
    found = _ROOT.match(elf.path)
    roots = [f"{found[1]}/root", ""] if found else [""]
    head, tail = elf.build_id[:2], elf.build_id[2:]
    yield from _named_by_user(elf)
    for root in roots:
        if tail:
            yield f"{root}{GLOBAL}/.build-id/{head}/{tail}.debug"
    link = _link(elf)
    for root in roots if link else ():
        folder = Path(_own_path(elf)).parent
        name = link[0] if link else ""
        yield from (
            f"{root}{folder}/{name}",
            f"{root}{folder}/.debug/{name}",
            f"{root}{GLOBAL}{folder}/{name}",
        )
    for cache in debuginfod_folders() if tail else ():
        yield f"{cache}/{elf.build_id}/debuginfo"


def _named_by_user(elf: ElfFile) -> Iterator[str]:
    head, tail = elf.build_id[:2], elf.build_id[2:]
    own, link = _own_path(elf), _link(elf)
    names = {Path(own).name, f"{Path(own).name}.debug", link[0] if link else ""} - {""}
    for folder in _extra:
        if tail:
            yield f"{folder}/.build-id/{head}/{tail}.debug"
        for name in sorted(names):
            yield from (f"{folder}/{name}", f"{folder}{Path(own).parent}/{name}")


def _own_path(elf: ElfFile) -> str:
    """Return a file's path as its process names it."""
    if "/map_files/" in elf.path:
        try:
            return str(Path(elf.path).readlink())
        except OSError:
            return ""
    found = _ROOT.match(elf.path)
    return elf.path[found.end() :] if found else os.path.realpath(elf.path)


def debuginfod_folders() -> list[str]:
    """Return the folders in which debuginfod clients keep what they have fetched; nothing is fetched here."""
    home = Path(os.environ.get("HOME") or "/")
    chosen = os.environ.get("DEBUGINFOD_CACHE_PATH")
    cache = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return [*([chosen] if chosen else []), f"{cache}/debuginfod_client", f"{home}/.debuginfod_client_cache"]
