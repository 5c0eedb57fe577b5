"""Signals, sets of them, their actions and stacks, and how children ended, as text."""

from __future__ import annotations

import os
import signal
import struct

from bpftime_cli.callview.times import in_seconds
from runtime.syscalls.flags import sets

HANDLERS = {0: "SIG_DFL", 1: "SIG_IGN"}
SIGNAL_BITS = 64
REAL_TIME = 32  # the kernel's first
HAS_RESTORER = 0x04000000  # SA_RESTORER of asm/signal.h
CHILD_STATES = range(1, 7)  # CLD_EXITED to CLD_CONTINUED
CLD_EXITED = 1


def signal_name(number: int) -> str:
    """Return a signal's name; real-time ones count from the kernel's first, as strace has them."""
    if number >= REAL_TIME:
        return f"SIGRT_{number - REAL_TIME}" if number > REAL_TIME else "SIGRTMIN"
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def signal_set(bits: int) -> str:
    """Return a set of signals, or what it lacks where that is shorter."""
    numbers = [n for n in range(1, SIGNAL_BITS + 1) if bits >> (n - 1) & 1]
    if len(numbers) <= SIGNAL_BITS // 2:
        return f"[{_signals(numbers)}]"
    return f"~[{_signals([n for n in range(1, SIGNAL_BITS + 1) if n not in set(numbers)])}]"


def _signals(numbers: list[int]) -> str:
    return " ".join(signal_name(n).removeprefix("SIG") for n in numbers)


def set_text(data: bytes, _: int) -> str:
    """Return a sigset_t of the kernel."""
    return signal_set(struct.unpack_from("<Q", data)[0])


def action(data: bytes, _: int) -> str:
    """Return a struct sigaction of the kernel (asm/signal.h): handler, flags, restorer, mask."""
    handler, flags, restorer, mask = struct.unpack_from("<QQQQ", data)
    names = sets()["sigaction"].text(flags & ~HAS_RESTORER)
    has_restorer = flags & HAS_RESTORER
    if has_restorer:
        names = "SA_RESTORER" if names == "0" else f"SA_RESTORER|{names}"
    text = HANDLERS.get(handler, f"{handler:#x}")
    tail = f", sa_restorer={restorer:#x}" if has_restorer else ""
    return f"{{sa_handler={text}, sa_mask={signal_set(mask)}, sa_flags={names}{tail}}}"


def stack(data: bytes, _: int) -> str:
    """Return a stack_t (sigaltstack(2))."""
    at, flags, size = struct.unpack_from("<QI4xQ", data)
    place = f"{at:#x}" if at else "NULL"
    return f"{{ss_sp={place}, ss_flags={sets()['signal_stack'].text(flags)}, ss_size={size}}}"


def info(data: bytes, _: int) -> str:
    """Return a siginfo_t (sigaction(2)): of a child that has changed, or of any signal."""
    number, _error, code = struct.unpack_from("<3i", data)
    if not number:
        return "{}"
    pid, uid, status = struct.unpack_from("<iIi", data, 16)
    if number == signal.SIGCHLD and code in CHILD_STATES:
        used = struct.unpack_from("<qq", data.ljust(48, b"\0"), 32)
        how = str(status) if code == CLD_EXITED else signal_name(status)
        rest = f", si_status={how}, si_utime={in_seconds(used[0])}, si_stime={in_seconds(used[1])}"
        return f"{{si_signo=SIGCHLD, si_code={sets()['child'].text(code)}, si_pid={pid}, si_uid={uid}{rest}}}"
    source = sets()["signal_source"].text(code)
    return f"{{si_signo={signal_name(number)}, si_code={source}, si_pid={pid}, si_uid={uid}}}"


def status(data: bytes, _: int) -> str:
    """Return how a child ended or what became of it (wait(2))."""
    (value,) = struct.unpack_from("<i", data)
    if os.WIFEXITED(value):
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(value)}}}]"
    if os.WIFSIGNALED(value):
        core = " && WCOREDUMP(s)" if value & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(os.WTERMSIG(value))}{core}}}]"
    if os.WIFSTOPPED(value):
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(os.WSTOPSIG(value))}}}]"
    return "[{WIFCONTINUED(s)}]" if value == 0xFFFF else f"[{value:#x}]"
