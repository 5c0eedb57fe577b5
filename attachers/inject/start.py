"""Start a program and hold it before its first instruction; where ptrace is forbidden, preload the agent."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass

from attachers.inject.dispositions import ignore_again
from attachers.inject.execs import check_native, hold_at_start, seize
from attachers.inject.preload import CannotRun
from attachers.inject.ptrace import Tracee, collected
from runtime.errors import TargetProblem

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
HELD, PRELOADED = b"h", b"p"


@dataclass(frozen=True, slots=True)
class Started:
    """A program of ours. `tracee`: held at its first instruction; None: it runs, with the agent preloaded."""

    pid: int
    tracee: Tracee | None


def start(argv: list[str], preloaded: dict[str, str], *, preload: bool = False) -> Started:
    """Start a program found in PATH; `preloaded` is the environment for where ptrace is refused.

    `preload`: do without ptrace anyway.

    Raises:
        CannotRun: it does not exist or may not be executed.
        TargetProblem: it is a program that cannot be traced.
    """
    told, tell = os.pipe()
    failed, fail = os.pipe()
    pid = os.fork()
    if not pid:
        _become(argv, preloaded, told, fail)
    os.close(told)
    os.close(fail)
    try:
        return _follow(pid, argv[0], tell, failed, preload)
    finally:
        os.close(failed)


def _become(argv: list[str], preloaded: dict[str, str], told: int, fail: int) -> None:
    """Wait for the tracer's word and become the program. Runs in the child and never returns."""
    try:
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        ignore_again()
        word = os.read(told, 1)
        if word == HELD:
            os.execvp(argv[0], argv)
        elif word == PRELOADED:
            os.execvpe(argv[0], argv, preloaded)
    except OSError as error:
        os.write(fail, str(error.errno).encode())
    finally:
        os._exit(127)


def _follow(pid: int, name: str, tell: int, failed: int, preload: bool) -> Started:
    try:
        tracee = None if preload else seize(pid, pid)
    except OSError:
        tracee = None
    if tracee is None:
        _say(tell, PRELOADED)
        _check_started(pid, name, failed)
        return Started(pid, None)
    _say(tell, HELD)
    try:
        hold_at_start(tracee, lambda: False)
        check_native(tracee)
    except TargetProblem:
        _check_started(pid, name, failed)
        if pid not in collected:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    return Started(pid, tracee)


def _say(tell: int, word: bytes) -> None:
    with os.fdopen(tell, "wb") as pipe:
        pipe.write(word)


def _check_started(pid: int, name: str, failed: int) -> None:
    """Wait until the child has become the program, whose descriptors are closed then, or has failed.

    Raises:
        CannotRun: it has failed.
    """
    number = int(os.read(failed, 16) or b"0")
    if not number:
        return
    if pid not in collected:
        os.waitpid(pid, 0)
    if number == errno.ENOENT:
        raise CannotRun(f"command not found: {name}", 127)
    raise CannotRun(f"cannot run {name}: {os.strerror(number)}", 126)
