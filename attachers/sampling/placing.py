"""A program's code in a process, with the thunk that the agent's signal handler calls.

The handler has a sample on its stack: a pt_regs with period and address behind it, as the program's context
wants it. The thunk pushes from there what the program takes as words.
"""

from __future__ import annotations

import signal
import struct

from attachers.inject.frames import Request
from attachers.patch.apply import may_catch
from attachers.patch.assemble import Code
from attachers.target import Target
from runtime.agent.protocol import SAMPLE, Op
from runtime.ebpf.context import LAYOUTS
from runtime.errors import AttachProblem
from runtime.jit.image import Image
from runtime.jit.link import link, link_size
from runtime.shm.session import Session
from runtime.types import ContextKind

LINE = 64
THUNK_ROOM = 256
AT = {name: offset for offset, name in LAYOUTS[ContextKind.PERF_EVENT].words.items()}


def start(target: Target, session: Session, image: Image, sample: dict[str, int], cookie: int = 0) -> int:
    """Let a program run now and then; returns the signal that does it.

    `sample`: `every` (ns of CPU time; 0: somebody else sends the signal), `period` and `address`.

    Raises:
        AttachProblem: the process uses all signals that could be taken (16), or allows no timer.
        TargetProblem: it cannot be reached.
    """
    target.map_session(session)
    thunk = _place(target, session, image, cookie)
    request = SAMPLE.pack(thunk=thunk, session=session.region.id, **sample)
    [reply] = target.channel.exchange([Request(Op.SAMPLE, request)])
    if reply.status:
        raise AttachProblem(
            f"process {target.pid} leaves no signal to sample it with (errno {-reply.status})",
            errno=-reply.status,
            hint="it has handlers for all, or too many probes sample it already",
        )
    return int.from_bytes(reply.payload, "little")


def _place(target: Target, session: Session, image: Image, cookie: int) -> int:
    """Write a program and its thunk into an arena; returns the thunk's address."""
    module = target.modules[0]
    room = link_size(image) + image.align + THUNK_ROOM + 16 * len(image.words)
    arena = target.arena(module.start, module.end, room)
    code = Code((arena.base + arena.used + LINE - 1) & -LINE)
    code.raw(b"\xcc" * (-code.here % image.align))
    entry = code.here
    code.raw(link(image, entry, lambda symbol: target.resolve(session, symbol)))
    code.raw(b"\xcc" * (-code.here % LINE))
    thunk = code.here
    _emit(code, image, entry, cookie)
    arena.used = code.here - arena.base
    requests = [Request(Op.WRITE, struct.pack("<QII", code.base, arena.used, 0) + bytes(code.bytes))]
    if image.uses_faults and may_catch(target.pid, signal.SIGSEGV, signal.SIGBUS):
        requests.append(Request(Op.FAULTS, struct.pack("<I", 1)))
    target.ask(requests)
    return thunk


def _emit(code: Code, image: Image, entry: int, cookie: int) -> None:
    """Append: called with the sample's address in rdi; changes r11 and the flags."""
    for name in reversed(image.words):
        if name == "cookie":
            code.push_constant(cookie)
        elif name in AT:
            code.raw(b"\xff\xb7" + struct.pack("<i", AT[name]))  # push [rdi + offset]
        else:
            raise AttachProblem(f"a sampled thread has no '{name}'", errno=95)
    code.call(entry)
    code.move_stack_pointer(8 * len(image.words))
    code.raw(b"\xc3")
