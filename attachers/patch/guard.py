"""What keeps a program from running in fork children of a process that is not followed.

A child has a copy of all code, and shares the maps. But its process page is wiped (`MADV_WIPEONFORK`) until
the agent writes the child's own id there. So one comparison before the program tells whose thread runs.
"""

from __future__ import annotations

import struct

from attachers.patch.assemble import Code
from attachers.target import Target
from runtime.agent import protocol
from runtime.jit.image import Image

GUARD_ROOM = 64


def emit_guard(code: Code, target: Target, image: Image) -> int:
    """Append the guard of an image that follows it; returns its address, 0 where none is needed.

    A program may change r11 and the flags, so the guard may. One whose result is wanted always runs.
    """
    if target.follow or image.returns:
        return 0
    start = code.here
    page = target.constant("process_page") + protocol.PROCESS_PAGE.fields["pid"].offset
    code.raw(b"\x49\xbb" + struct.pack("<Q", page))  # mov r11, page
    code.raw(b"\x41\x81\x3b" + struct.pack("<I", target.constant("pid")))  # cmp dword [r11], pid
    code.raw(b"\x74\x01\xc3")  # je behind; ret
    return start
