"""Unwind entries for call-through thunks, so that exceptions pass them: what `__register_frame` takes.

At the call of a function's body the caller's return address lies 8 bytes above rsp, in every such thunk. So
one entry serves all thunks of a range. Source: LSB, .eh_frame; DWARF 4, 6.4; libgcc unwind-dw2-fde.c.
"""

from __future__ import annotations

import struct

_ABSOLUTE = 0x00  # DW_EH_PE_absptr
_RSP, _RETURN = 7, 16  # DWARF register numbers, System V ABI AMD64


def unwind_entries(start: int, size: int) -> bytes:
    """Return a CIE, an FDE for [start, start + size) and the terminator, to lie at a multiple of 8."""
    rules = bytes([0x0C, _RSP, 16, 0x80 | _RETURN, 1])  # CFA = rsp + 16; return address at CFA - 8
    head = struct.pack("<IB3sBBBBB", 0, 1, b"zR\0", 1, 0x78, _RETURN, 1, _ABSOLUTE)
    cie = _record(head + rules)
    fde = _record(struct.pack("<IQQB", len(cie) + 4, start, size, 0))
    return cie + fde + bytes(4)


def _record(body: bytes) -> bytes:
    """Return a length-prefixed record padded with DW_CFA_nop to a multiple of 8."""
    padded = body + bytes(-(len(body) + 4) % 8)
    return struct.pack("<I", len(padded)) + padded
