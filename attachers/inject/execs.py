"""A process at the first instruction of a new program: the only moment at which nothing of it has run.

The thread is seized before it calls execve(2) and stops in the kernel when the new program is mapped, before
its loader runs (ptrace(2), PTRACE_O_TRACEEXEC). Only this one call of this one thread is followed, so the
process is its own parent's again at once, and signals, other tracers and wait(2) work as ever. A program with
set-user-ID would lose its rights under an unprivileged tracer: such a one is not followed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from attachers.inject.ptrace import EVENT_EXEC, TRACE_EXEC, Tracee
from runtime.errors import TargetProblem

PATIENCE = 10.0  # seconds that a call of execve may take
NAP = 0.0001
NATIVE = 0x33  # code segment of 64-bit programs


def seize(pid: int, tid: int) -> Tracee:
    """Seize a thread that is about to become another program.

    Raises:
        OSError: it may not be traced.
    """
    return Tracee(pid, tid, TRACE_EXEC)


def hold_at_start(tracee: Tracee, has_failed: Callable[[], bool]) -> bool:
    """Wait until the thread has become another program and stands before its first instruction.

    Returns whether it has: False when `has_failed` says so first, or it takes too long. Then it is free.

    Raises:
        TargetProblem: the process ended.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        stop = tracee.poll()
        if stop is None:
            if has_failed() or time.monotonic() > deadline:
                tracee.interrupt()
                tracee.detach()
                return False
            time.sleep(NAP)
        elif stop.event == EVENT_EXEC:
            break
        else:
            tracee.go_on(stop)
    tracee.to_syscall_stop()  # the end of execve itself, which sets rax
    return True


def check_native(tracee: Tracee) -> None:
    """Refuse a program whose code is not that of this machine's 64-bit mode.

    Raises:
        TargetProblem: it is a 32-bit one; it is held still.
    """
    if tracee.registers()["cs"] != NATIVE:
        raise TargetProblem(f"{tracee.pid} is a 32-bit program", hint="32-bit programs are not supported")


def loses_rights(pid: int, path: str) -> bool:
    """Return whether a program would run with fewer rights because we follow its start: set-user-ID files."""
    if os.geteuid() == 0:
        return False
    if not path:
        return True  # a descriptor: nobody knows of what
    try:
        place = Path(f"/proc/{pid}/root{path}" if path.startswith("/") else f"/proc/{pid}/cwd/{path}")
        return bool(place.stat().st_mode & 0o6000) or "security.capability" in os.listxattr(place)
    except OSError:
        return False
