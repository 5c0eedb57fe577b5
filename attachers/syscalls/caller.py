"""Where a function returns to that only makes a system call and has no room for a jump behind it.

musl makes every call that can be cancelled in one such function of its own, `__syscall_cp_asm`, which has a
single caller. Its end is seen there.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from attachers.syscalls.scan import EXECUTABLE, LARGEST, Bounds
from attachers.syscalls.trail import run_behind
from runtime.symbols.elf import ElfFile

NEAR = 96  # bytes between the beginning of such a function and its call


def behind_return(elf: ElfFile, bounds: Bounds, address: int) -> tuple[Instruction, ...]:
    """Return what follows the only direct call of the function around a `syscall`; nothing for several."""
    calls = _calls(elf)
    entry = max((target for target in calls if address - NEAR < target <= address), default=0)
    callers = calls.get(entry, ())
    found = bounds.around(callers[0]) if len(callers) == 1 else None
    if found is None or found.end - found.start > LARGEST:
        return ()
    offset = elf.to_offset(found.start)
    code = bytes(elf.data[offset : offset + found.end - found.start])
    function = Function(found.name, found.start, code)
    index = next((i for i, one in enumerate(function.instructions) if one.address == callers[0]), -1)
    if index < 0 or function.instructions[index].target != entry:
        return ()
    if function.instructions[index].end in function.targets:
        return ()
    return run_behind(function, index)


@lru_cache(maxsize=2)
def _calls(elf: ElfFile) -> dict[int, tuple[int, ...]]:
    """Return where bytes that look like a call of each address are."""
    found: dict[int, tuple[int, ...]] = {}
    for segment in elf.segments:
        if not segment.flags & EXECUTABLE:
            continue
        code = bytes(elf.data[segment.offset : segment.offset + segment.file_bytes])
        for match in re.finditer(rb"\xe8(?=.{4})", code, re.S):
            at = match.start()
            target = segment.address + at + 5 + struct.unpack_from("<i", code, at + 1)[0]
            if segment.address <= target < segment.address + len(code):
                found[target] = (*found.get(target, ()), segment.address + at)
    return found
