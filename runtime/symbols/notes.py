"""Markers that a program was built with (USDT): where they are and what their arguments are made of.

Source: systemtap's `sys/sdt.h` and "UserSpaceProbeImplementation": notes of owner `stapsdt`, type 3, in the
section `.note.stapsdt`: place of the nop, link-time base, semaphore, then provider, name and arguments.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from runtime.symbols.elf import ElfFile

SECTION, BASE_SECTION = ".note.stapsdt", ".stapsdt.base"
_OWNER, _TYPE = b"stapsdt\0", 3


@dataclass(frozen=True, slots=True)
class Marker:
    """One site of a marker: virtual addresses of its nop and of its semaphore (0 none), its argument text."""

    provider: str
    name: str
    address: int
    semaphore: int
    arguments: str

    @property
    def full_name(self) -> str:
        """Return `PROVIDER:NAME`."""
        return f"{self.provider}:{self.name}"


@lru_cache(maxsize=64)
def markers_of(elf: ElfFile) -> tuple[Marker, ...]:
    """Return the markers of a file, by name and address; several sites may bear one name."""
    section = elf.section(SECTION)
    if section is None:
        return ()
    base = elf.section(BASE_SECTION)
    found = parse_notes(elf.content(section), base.address if base else None)
    return tuple(sorted(set(found), key=lambda m: (m.provider, m.name, m.address)))


def parse_notes(data: bytes, base: int | None, *, wide: bool = True) -> Iterator[Marker]:
    """Read the notes of a section; what is cut short or of another owner is passed over.

    `base`: where `.stapsdt.base` lies now, None when the file has none: addresses are moved by the distance
    from where it lay when the notes were written (prelink, moved sections). `wide`: of a 64-bit file.
    """
    words = struct.Struct("<QQQ" if wide else "<III")
    at = 0
    while at + 12 <= len(data):
        name_bytes, size, kind = struct.unpack_from("<III", data, at)
        start = at + 12 + (name_bytes + 3 & -4)
        owner = data[at + 12 : at + 12 + name_bytes]
        body = data[start : start + size]
        at = start + (size + 3 & -4)
        if owner != _OWNER or kind != _TYPE or len(body) < size or size < words.size + 3:
            continue
        marker = _marker(words.unpack_from(body), body[words.size :], base)
        if marker is not None:
            yield marker


def _marker(places: tuple[int, int, int], text: bytes, base: int | None) -> Marker | None:
    parts = text.split(b"\0")
    if len(parts) < 3 or not parts[1]:
        return None
    address, written, semaphore = places
    moved = base - written if base is not None and written else 0
    provider, name, arguments = (p.decode("utf-8", "replace") for p in parts[:3])
    return Marker(provider, name, address + moved, semaphore + moved if semaphore else 0, arguments)
