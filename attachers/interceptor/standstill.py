"""Frida changes code while threads run and in several stores, so the threads are made to stand still first.

Unlike our own jumps, its window holds several instructions: a thread may stand between them. Source of the
danger: measured, four threads that call a function without pause die of one hooking or unhooking in ten.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from attachers.inject.borrow import EINTR_CALLS, resumed, threads
from attachers.inject.ptrace import Tracee
from runtime.errors import AttachProblem, TargetProblem

TRIES = 200  # looks at a thread that stands where code is about to change
NAP = 0.001  # seconds between them
EINTR = (1 << 64) - 4

Ranges = list[tuple[int, int]]


@contextlib.contextmanager
def standing_still(pid: int, besides: frozenset[int], ranges: Ranges) -> Iterator[None]:
    """Stop a program's threads for the length of the block, none of them inside one of `ranges`.

    `besides` are those that go on: Frida's.

    Raises:
        AttachProblem: a thread stays where code is to change (11).
    """
    stopped: dict[int, Tracee] = {}
    others = set(besides)
    try:
        while True:
            new = [tid for tid in threads(pid) if tid not in stopped and tid not in others]
            for tid in new:
                tracee = _stop(pid, tid)
                if tracee is None:
                    others.add(tid)
                else:
                    stopped[tid] = tracee
            if not new:
                break
        for tracee in stopped.values():
            _leave_ranges(tracee, ranges)
        yield
    finally:
        for tracee in stopped.values():
            _release(tracee)


def _stop(pid: int, tid: int) -> Tracee | None:
    """Stop one thread; None when it has ended meanwhile, or another tracer holds it still already."""
    try:
        tracee = Tracee(pid, tid)
    except OSError:
        return None
    try:
        tracee.interrupt()
    except (OSError, TargetProblem):
        return None
    return tracee


def _leave_ranges(tracee: Tracee, ranges: Ranges) -> None:
    for _ in range(TRIES):
        at = tracee.registers()["rip"]
        if not any(start < at < end for start, end in ranges):
            return
        tracee.detach()
        time.sleep(NAP)
        again = Tracee(tracee.pid, tracee.tid)
        again.interrupt()
        tracee.kept = again.kept
    raise AttachProblem(
        f"a thread of {tracee.pid} stays in the code that Frida would change", errno=11, hint="try again"
    )


def _release(tracee: Tracee) -> None:
    """Let a thread go on; a system call that the stop has ended with EINTR is made again."""
    with contextlib.suppress(OSError, TargetProblem):
        registers = tracee.registers()
        if registers["orig_rax"] in EINTR_CALLS and registers["rax"] == EINTR:
            tracee.set_registers(resumed(registers))
        tracee.detach()
