"""Unwind entries for call-through thunks, so that exceptions pass them: what `__register_frame` takes.

At the call of a function's body the caller's return address lies some words above rsp: one in most thunks,
more in those that keep something of the call's beginning. Between those one entry serves a whole range.
Source: LSB, .eh_frame; DWARF 4, 6.4; libgcc unwind-dw2-fde.c.
"""

from __future__ import annotations

import struct

_ABSOLUTE = 0x00  # DW_EH_PE_absptr
_RSP, _RETURN = 7, 16  # DWARF register numbers, System V ABI AMD64
_OFFSET = 0x0E  # DW_CFA_def_cfa_offset
PLAIN = 8  # bytes of a frame that keeps nothing


def unwind_entries(start: int, size: int, frames: dict[tuple[int, int], int]) -> bytes:
    """Return a CIE, FDEs for [start, start + size) and the terminator, to lie at a multiple of 8.

    `frames`: (start, bytes) of thunks with a larger frame, and its size in bytes.
    """
    rules = bytes([0x0C, _RSP, PLAIN + 8, 0x80 | _RETURN, 1])  # CFA = rsp + 16; return address at CFA - 8
    head = struct.pack("<IB3sBBBBB", 0, 1, b"zR\0", 1, 0x78, _RETURN, 1, _ABSOLUTE)
    parts = [_record(head + rules)]
    at = start
    for (first, length), frame in sorted(frames.items()):
        parts.append(_fde(parts, at, first - at, PLAIN))
        parts.append(_fde(parts, first, length, frame))
        at = first + length
    parts.append(_fde(parts, at, start + size - at, PLAIN))
    return b"".join(parts) + bytes(4)


def _fde(before: list[bytes], start: int, size: int, frame: int) -> bytes:
    if not size:
        return b""
    rules = bytes([_OFFSET, frame + 8]) if frame != PLAIN else b""
    return _record(struct.pack("<IQQB", sum(map(len, before)) + 4, start, size, 0) + rules)


def _record(body: bytes) -> bytes:
    """Return a length-prefixed record padded with DW_CFA_nop to a multiple of 8."""
    padded = body + bytes(-(len(body) + 4) % 8)
    return struct.pack("<I", len(padded)) + padded
