"""One file's unwind table, made from its .eh_frame by the agent's library (`runtime/agent/ehframe.c`).

The layout is `struct unwind_table` of `runtime/agent/unwind.h`. Source: LSB, .eh_frame_hdr and .eh_frame.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from bisect import bisect_left
from functools import lru_cache

from runtime.jit.local import agent
from runtime.symbols.elf import ElfFile

PAGE_BITS = 12
MOST_RULES, SLOTS = 65_535, 1 << 17
RULE_BYTES = 8
HEADER = struct.Struct("<4I")
TABLE_ENCODING = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4
LONG = 0xFFFFFFFF  # a length that says: the real one follows in 8 bytes


@lru_cache(maxsize=256)
def table_of(elf: ElfFile) -> bytes:
    """Return the table of a file, empty where it has no unwind information that we can read."""
    section = elf.section(".eh_frame")
    if section is None or not section.size:
        return b""
    frame = elf.content(section)
    base, fdes = search_table(elf) or _scanned(frame, section.address)
    return build_table(frame, section.address, base, fdes)


def build_table(frame: bytes, address: int, base: int, fdes: bytes) -> bytes:
    """Return the table for the contents of .eh_frame, which lies at `address` of its file; empty for no row.

    `fdes`: pairs of s32 (function start, FDE), relative to `base`, sorted. Nothing of it is trusted.
    """
    count = len(fdes) // 8
    most = len(frame) + 2 * count
    pcs, kinds = (ctypes.c_uint32 * most)(), (ctypes.c_uint16 * most)()
    rules, slots = (ctypes.c_uint64 * MOST_RULES)(), (ctypes.c_uint32 * SLOTS)()
    held = ctypes.create_string_buffer(frame), ctypes.create_string_buffer(fdes)
    places = [ctypes.addressof(memory) for memory in (*held, pcs, kinds, rules, slots)]
    values = (places[0], len(frame), address, base, places[1], count, *places[2:4], most, *places[4:])
    words = (ctypes.c_uint64 * (len(values) + 2))(*values)
    rows = agent().function("unwind_build", 1)(ctypes.addressof(words))
    if not rows:
        return b""
    found = bytes(rules)[: RULE_BYTES * words[len(values) + 1]]
    return _packed(array("I", bytes(pcs)[: 4 * rows]), bytes(kinds)[: 2 * rows], found)


def _packed(pcs: array[int], kinds: bytes, rules: bytes) -> bytes:
    first, last = pcs[0] >> PAGE_BITS, pcs[-1] >> PAGE_BITS
    pages = last - first + 1
    starts = array("I", (bisect_left(pcs, (first + page) << PAGE_BITS) for page in range(pages + 1)))
    head = HEADER.pack(len(pcs), len(rules) // RULE_BYTES, first, pages)
    return head + b"".join(_padded(part) for part in (starts.tobytes(), pcs.tobytes(), kinds)) + rules


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def search_table(elf: ElfFile) -> tuple[int, bytes] | None:
    """Return the linker's sorted table: pairs of s32 (function start, FDE), and what they are relative to."""
    section = elf.section(".eh_frame_hdr")
    data = elf.content(section) if section and section.size >= 12 else b""
    if section is None or len(data) < 12 or data[0] != 1 or data[2] != 3 or data[3] != TABLE_ENCODING:
        return None
    count = min(struct.unpack_from("<I", data, 8)[0], (len(data) - 12) // 8)
    return section.address, data[12 : 12 + 8 * count]


def _scanned(frame: bytes, address: int) -> tuple[int, bytes]:
    """Make such a table by going through .eh_frame: for files linked without one."""
    found: list[tuple[int, int]] = []
    at = 0
    while at + 16 <= len(frame):
        (size,) = struct.unpack_from("<I", frame, at)
        if size in (0, LONG):
            break
        back, start = struct.unpack_from("<Ii", frame, at + 4)
        if back:  # an FDE; its start is relative to its own place (DW_EH_PE_pcrel | sdata4)
            found.append((start + at + 8, at))
        at += 4 + size
    rows = [row for row in sorted(found) if all(-(1 << 31) <= n < 1 << 31 for n in row)]
    return address, b"".join(struct.pack("<ii", *row) for row in rows)
