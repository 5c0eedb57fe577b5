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

GUARD_ROOM = 128


def emit_guard(code: Code, target: Target, image: Image) -> int:
    """Append the guard of an image; returns its address, 0 where none is needed.

    The image follows at once, aligned: the usual way through is straight on.
    A program may change r11 and the flags, so the guard may. One whose result is wanted always runs.
    """
    if target.follow or image.returns:
        return 0
    page = target.constant("process_page") + protocol.PROCESS_PAGE.fields["pid"].offset
    guard = b"\x49\xbb" + struct.pack("<Q", page)  # mov r11, page
    guard += b"\x41\x81\x3b" + struct.pack("<I", target.constant("pid"))  # cmp dword [r11], pid
    guard += b"\x75" + struct.pack("<b", -(len(guard) + 3))  # jne to the ret before all this
    code.raw(b"\xcc" * (-(code.here + 1 + len(guard)) % image.align) + b"\xc3")
    start = code.here
    code.raw(guard)
    return start
