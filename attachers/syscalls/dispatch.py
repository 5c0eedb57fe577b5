"""System calls of code that is made at run time: the kernel hands them to a handler of ours.

Nothing is rewritten there. What is exempt is one range of addresses: the C library's, whose calls are probed
where they are made. Source: Documentation/admin-guide/syscall-user-dispatch.rst.
"""

from __future__ import annotations

import signal
import struct
from dataclasses import replace

from attachers.hooks import raw_image
from attachers.patch.apply import may_catch
from attachers.patch.dispatched import in_all_threads
from attachers.syscalls.probes import CallHook
from attachers.syscalls.scan import EXECUTABLE, RESTORE
from attachers.syscalls.sites import call_sites
from attachers.target import Target
from runtime.agent.protocol import DISPATCH, DISPATCH_RANGES
from runtime.errors import AttachProblem
from runtime.symbols.modules import Module
from runtime.types import ContextKind

NEW_THREADS = frozenset((56, 57, 58, 435))  # clone, fork, vfork, clone3
MANY = 100  # places that make calls: a C library has several hundred, its loader some forty


def start(target: Target) -> bool:
    """Have all threads' calls handed over, but those from the C library; returns whether it is there yet.

    Raises:
        AttachProblem: the program has a use for SIGSYS itself (95), or the kernel offers no such thing (95).
        TargetProblem: the process cannot be reached.
    """
    if not target.is_dispatched and not may_catch(target.pid, signal.SIGSYS):
        raise AttachProblem(f"process {target.pid} handles or blocks SIGSYS itself", errno=95)
    library, restorer = _library(target)
    if library is None:
        return False
    agent = target.constant("agent_base")
    ranges = [
        (library.start, library.end),
        (agent, agent + target.constant("agent_bytes")),
        *((a.base, a.base + a.size) for a in target.arenas),
        *((m.start, m.end) for m in target.modules if m is not library and call_sites(m.elf)),
    ]
    packed = b"".join(struct.pack("<2Q", *one) for one in ranges[:DISPATCH_RANGES])
    in_all_threads(target, DISPATCH.pack(on=1, restorer=restorer, ranges=packed))
    return True


def new_threads() -> CallHook:
    """Return the hook by which threads and processes that are created are watched as well."""
    # test rax, rax; jne out; call dispatch_anew; out: ret
    image = raw_image("dispatch", "4885c0 7505 e8 R c3", (("plt", "agent:dispatch_anew"),))
    return CallHook(replace(image, context=ContextKind.SYS_EXIT), NEW_THREADS, leaves=True)


def _library(target: Target) -> tuple[Module | None, int]:
    """Return the library that makes the calls, None before it is loaded; where in it handlers return by.

    Raises:
        AttachProblem: there never is one (95).
    """
    for module in target.modules:
        text = module.elf.segments
        for segment in (s for s in text if s.flags & EXECUTABLE):
            code = bytes(module.elf.data[segment.offset : segment.offset + segment.file_bytes])
            at = code.find(RESTORE)
            if at >= 0 and len(call_sites(module.elf)) > MANY:
                return module, module.bias + segment.address + at
    if any(m.path.rpartition("/")[2].startswith("ld-") for m in target.modules):
        return None, 0
    raise AttachProblem(
        f"process {target.pid} has no C library: its own calls cannot be told from those of generated code",
        errno=95,
    )
