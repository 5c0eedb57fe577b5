"""What a call returned, as text: errors by name, and for some calls what the number means."""

from __future__ import annotations

import os
from collections.abc import Callable

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.field import Looks, descriptor
from bpftime_cli.callview.polling import came, descriptors
from bpftime_cli.callview.times import TIME, timespec, timeval
from runtime.syscalls.flags import sets
from runtime.syscalls.table import name_of

RESTARTS = {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 516: "ERESTART_RESTARTBLOCK"}
NEW_DESCRIPTOR = frozenset(
    ("open", "openat", "openat2", "creat", "socket", "accept", "accept4", "dup", "dup2", "dup3", "eventfd2",
     "epoll_create", "epoll_create1", "timerfd_create", "memfd_create", "inotify_init", "inotify_init1",
     "signalfd4", "pidfd_open", "eventfd", "signalfd")
)  # fmt: skip
ADDRESSES = frozenset(("mmap", "mremap", "brk", "shmat"))
SETS = (("in", 1), ("out", 2), ("except", 3))  # of select: its arguments
TIMEOUTS = {"select": (4, timeval), "pselect6": (4, timespec), "ppoll": (2, timespec)}  # argument, its form


def result_text(call: Call, looks: Looks, red: str = "", reset: str = "") -> str:
    """Return the result; failures between two marks of colour."""
    if not call.has_ended:
        return "?"
    if call.has_failed:
        return f"{red}{error_text(-call.result)}{reset}"
    name = name_of(call.number)
    if name in ADDRESSES:
        return f"{call.result & (1 << 64) - 1:#x}"
    if name in NEW_DESCRIPTOR:
        return descriptor(call.pid, call.result, looks)
    return RESULTS[name](call) if name in RESULTS else str(call.result)


def error_text(number: int) -> str:
    """Return a failed call's result: the error's name and text."""
    import errno  # lazy: most calls succeed

    if number in RESTARTS:
        return f"? {RESTARTS[number]} (to be restarted)"
    name = errno.errorcode.get(number, f"E{number}")
    return f"-1 {name} ({os.strerror(number)})"


def _of_fcntl(call: Call) -> str:
    command = sets()["fcntl"].text(call.arguments[1])
    if command == "F_GETFD" and call.result & 1:
        return f"{call.result:#x} (flags FD_CLOEXEC)"
    if command == "F_GETFL":
        return f"{call.result:#x} (flags {sets()['open'].text(call.result)})"
    return str(call.result)


def _of_umask(call: Call) -> str:
    return f"{call.result:#o}".replace("0o", "0") if call.result else "0"


def _bytes(call: Call, index: int) -> bytes:
    copy = call.later.get(index)
    return copy if isinstance(copy, bytes) else b""


def _of_poll(call: Call) -> str:
    return (
        f"{call.result} ({', '.join([came(_bytes(call, 0)), *_left(call)])})"
        if call.result
        else "0 (Timeout)"
    )


def _of_select(call: Call) -> str:
    if not call.result:
        return "0 (Timeout)"
    texts = []
    for name, index in SETS:
        data = _bytes(call, index)
        if call.arguments[index] and any(data):
            texts.append(f"{name} {descriptors(data, call.arguments[0] & 0xFFFFFFFF)}")
    texts += _left(call)
    return f"{call.result} ({', '.join(texts)})" if texts else str(call.result)


def _left(call: Call) -> list[str]:
    """Return what is left of the time that a call might have waited."""
    index, form = TIMEOUTS.get(name_of(call.number), (0, timespec))
    left = _bytes(call, index)
    return [f"left {form(left, 0)}"] if index and call.arguments[index] and len(left) == TIME else []


RESULTS: dict[str, Callable[[Call], str]] = {
    "fcntl": _of_fcntl,
    "umask": _of_umask,
    "poll": _of_poll,
    "ppoll": _of_poll,
    "select": _of_select,
    "pselect6": _of_select,
}
