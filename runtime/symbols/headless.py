"""Sections of a file that has no section headers: what its dynamic entries and program headers tell.

That is so for files whose headers were cut off, and for what is read from a process's memory, where they are
not mapped. Source: gABI, chapter 5, "Dynamic Section"; "DT_GNU_HASH", binutils.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

PT_DYNAMIC, PT_EH_FRAME = 2, 0x6474E550
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5
SYMBOL = 24
MOST_SYMBOLS = 1 << 22


class Found(NamedTuple):
    """A section as its fields: name, type, flags, address, offset, size, link."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int = 0


def sections_of(
    data: bytes, headers: list[tuple[int, ...]], to_offset: Callable[[int], int], bias: int = 0
) -> list[Found]:
    """Return `.text`, `.dynsym`, `.dynstr` and `.eh_frame_hdr` as far as they are there; the first is empty.

    `headers`: the program headers' fields in order. `bias`: what a loader has added to the addresses of the
    dynamic entries.
    """
    found = [Found("", 0, 0, 0, 0, 0)]
    found += [Found(".text", 1, 6, h[3], h[2], h[5]) for h in headers if h[0] == 1 and h[1] & 1]
    found += [Found(".eh_frame_hdr", 1, 2, h[3], h[2], h[5]) for h in headers if h[0] == PT_EH_FRAME]
    entries = _dynamic(data, headers, to_offset, bias)
    strings, symbols = entries.get(DT_STRTAB, -1), entries.get(DT_SYMTAB, -1)
    if strings >= 0 and symbols >= 0:
        count = _count(data, entries)
        link = len(found)
        found.append(Found(".dynstr", 3, 2, 0, strings, entries.get(DT_STRSZ, 0)))
        found.append(Found(".dynsym", 11, 2, 0, symbols, count * SYMBOL, link))
    return found


def _dynamic(
    data: bytes, headers: list[tuple[int, ...]], to_offset: Callable[[int], int], bias: int
) -> dict[int, int]:
    """Return the dynamic entries that are wanted, addresses as offsets in the file (-1: in no segment)."""
    found: dict[int, int] = {}
    for header in headers:
        if header[0] != PT_DYNAMIC:
            continue
        raw = data[header[2] : header[2] + header[5]]
        for tag, value in struct.iter_unpack("<QQ", raw[: len(raw) & -16]):
            if tag == DT_STRSZ:
                found[tag] = value
            elif tag in (DT_HASH, DT_STRTAB, DT_SYMTAB, DT_GNU_HASH):
                moved = value - bias if value >= bias else value
                found[tag] = to_offset(moved)
    return found


def _count(data: bytes, entries: dict[int, int]) -> int:
    """Return how many dynamic symbols there are: only the hash tables tell."""
    at = entries.get(DT_HASH, -1)
    if 0 <= at <= len(data) - 8:
        return min(int.from_bytes(data[at + 4 : at + 8], "little"), MOST_SYMBOLS)
    at = entries.get(DT_GNU_HASH, -1)
    if not 0 <= at <= len(data) - 16:
        return 0
    buckets, first, bloom, _ = map(int, struct.unpack_from("<IIII", data, at))
    chains = at + 16 + 8 * bloom
    table = data[chains : chains + 4 * buckets]
    last: int = max((n for (n,) in struct.iter_unpack("<I", table[: len(table) & -4])), default=0)
    if last < first:
        return first
    at = chains + 4 * buckets + 4 * (last - first)
    while at + 4 <= len(data) and last < MOST_SYMBOLS:
        if data[at] & 1:
            break
        last, at = last + 1, at + 4
    return last + 1
