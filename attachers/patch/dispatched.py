"""Having the kernel hand system calls over to the agent, thread by thread; see `dispatch.c`."""

from __future__ import annotations

from pathlib import Path

from attachers.inject.frames import Request
from attachers.inject.visit import Visitor
from attachers.target import Target
from runtime.agent.protocol import DISPATCH, Op
from runtime.errors import AttachProblem, TargetProblem


def stop(target: Target) -> None:
    """Have no thread's calls handed over any more.

    Raises:
        TargetProblem: the process cannot be reached.
    """
    in_all_threads(target, DISPATCH.pack())


def in_all_threads(target: Target, payload: bytes) -> None:
    """Have each thread of a process take a request, also those that come meanwhile.

    Raises:
        AttachProblem: the kernel offers no such thing (95).
        TargetProblem: the process cannot be reached.
    """
    done: set[int] = set()
    while left := _threads(target.pid) - done:
        for tid in sorted(left):
            _in_thread(target, tid, payload)
        done |= left


def _in_thread(target: Target, tid: int, payload: bytes) -> None:
    held = target.channel
    if not isinstance(held, Visitor) or held.held_tid == tid:
        reply = held.exchange([Request(Op.DISPATCH, payload)])[0]
    else:
        visitor = Visitor(target.pid, tid)
        try:
            reply = visitor.exchange([Request(Op.DISPATCH, payload)])[0]
        except TargetProblem:
            if Path(f"/proc/{target.pid}/task/{tid}").exists():
                raise
            return
        finally:
            visitor.close()
    if reply.status:
        raise AttachProblem(
            "the kernel offers no Syscall User Dispatch", errno=95, hint="Linux 5.11 is needed"
        )


def _threads(pid: int) -> set[int]:
    try:
        return {int(p.name) for p in Path(f"/proc/{pid}/task").iterdir()}
    except OSError:
        return set()
