"""Arguments whose meaning another argument decides: fcntl, ioctl, prctl, futex; and those of clone."""

from __future__ import annotations

import struct
from collections.abc import Callable

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.field import Field, pointer, quoted
from bpftime_cli.callview.signals import signal_name
from bpftime_cli.callview.structs import lock
from bpftime_cli.callview.times import TIME, timespec
from runtime.syscalls.flags import sets

NO_ARGUMENT = frozenset(
    ("F_GETFD", "F_GETFL", "F_GETOWN", "F_GETSIG", "F_GETPIPE_SZ", "F_GET_SEALS", "F_GETLEASE")
)
NUMBERS = ("F_DUPFD", "F_SETOWN", "F_SETPIPE_SZ", "F_SETSIG")
LOCKS = ("F_GETLK", "F_SETLK", "F_OFD_")
FUTEX_COMMAND, FUTEX_PRIVATE = 0x7F, 0x80
FUTEX_WAITS = frozenset((0, 6, 9, 11, 13))  # FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2
FUTEX_BITS, ANY_BIT = frozenset((9, 10)), 0xFFFFFFFF  # FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET
# command → the arguments that it takes (futex(2))
FUTEX_ARGUMENTS = {
    0: (0, 1, 2, 3), 1: (0, 1, 2), 2: (0, 1, 2), 3: (0, 1, 2, 3, 4), 4: (0, 1, 2, 3, 4, 5), 6: (0, 1, 3),
    7: (0, 1), 8: (0, 1), 9: (0, 1, 2, 3, 5), 10: (0, 1, 2, 5), 11: (0, 1, 2, 3, 4), 13: (0, 1, 3),
}  # fmt: skip
SIGNAL = 0xFF  # the bits of clone's flags that are the signal at the end
SET_PARENT, SET_TLS, CLEAR_CHILD, SET_CHILD = 0x100000, 0x80000, 0x200000, 0x1000000  # linux/sched.h
# struct clone_args: flags, pidfd, child_tid, parent_tid, signal, stack, its size, tls
CLONE_ARGS = struct.Struct("<8Q")


def fcntl_argument(f: Field) -> str:
    """Return fcntl's third argument, "" for commands without."""
    command = sets()["fcntl"].text(f.other(1))
    if command in NO_ARGUMENT:
        return ""
    if command == "F_SETFD":
        return "FD_CLOEXEC" if f.word & 1 else "0"
    if command == "F_SETFL":
        return sets()["open"].text(f.word)
    if command.startswith(LOCKS) and len(f.data) >= 24:
        return lock(f.data, 0)
    return str(f.low) if command.startswith(NUMBERS) else f"{f.word:#x}" if f.word else "0"


def ioctl_argument(f: Field) -> str:
    """Return ioctl's third argument."""
    command = sets()["ioctl"].text(f.other(1))
    if command in WITHOUT:
        return ""
    form = IOCTLS.get(command)
    if form is None or not f.word or f.call.result < 0:
        return pointer(f.word) if command in IOCTLS else f"{f.word:#x}" if f.word else "0"
    return form(f.data) if len(f.data) == 8 else pointer(f.word)


def _window(data: bytes) -> str:
    return "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}".format(*struct.unpack("<4H", data))


def _number(data: bytes) -> str:
    return f"[{struct.unpack_from('<i', data)[0]}]"


IOCTLS: dict[str, Callable[[bytes], str]] = {
    "TIOCGWINSZ": _window,
    "TIOCSWINSZ": _window,
    **dict.fromkeys(("FIONREAD", "FIONBIO", "FIOASYNC", "TIOCGPGRP", "TIOCSPGRP", "TIOCOUTQ"), _number),
    **dict.fromkeys(("TIOCGPTN", "TIOCSPTLCK", "TIOCGSID", "TIOCMGET"), _number),
}
WITHOUT = frozenset(("FIOCLEX", "FIONCLEX", "TIOCNOTTY", "TIOCEXCL", "TIOCNXCL", "TIOCSBRK", "TIOCCBRK"))
PRCTL_ARGUMENTS = {
    "PR_SET_NAME": 2, "PR_GET_NAME": 2, "PR_SET_PDEATHSIG": 2, "PR_GET_DUMPABLE": 1, "PR_SET_DUMPABLE": 2,
    "PR_CAPBSET_READ": 2, "PR_CAPBSET_DROP": 2, "PR_GET_SECCOMP": 1, "PR_GET_SECUREBITS": 1,
    "PR_SET_SECUREBITS": 2,
    "PR_SET_KEEPCAPS": 2, "PR_GET_KEEPCAPS": 1, "PR_SET_TIMERSLACK": 2, "PR_GET_TIMERSLACK": 1,
    "PR_SET_CHILD_SUBREAPER": 2, "PR_SET_PTRACER": 2,
}  # fmt: skip


def prctl_argument(f: Field) -> str:
    """Return prctl's second argument."""
    command = sets()["prctl"].text(f.other(0))
    if command == "PR_SET_NAME" and f.word:
        return quoted(f.data)
    if command in ("PR_CAPBSET_READ", "PR_CAPBSET_DROP"):
        return sets()["capability"].text(f.word)
    if command == "PR_SET_PDEATHSIG":
        return signal_name(f.low) if f.low else "0"
    return f"{f.word:#x}" if f.word else "0"


def futex_command(f: Field) -> str:
    """Return what futex is to do."""
    name = sets()["futex"].text(f.word & FUTEX_COMMAND)
    other = f.word & ~0xFF & 0xFFFFFFFF
    private = "_PRIVATE" if f.word & FUTEX_PRIVATE else ""
    return "|".join(filter(None, (name + private, sets()["futex_flag"].text(other) if other else "")))


def futex_time(f: Field) -> str:
    """Return futex's fourth argument: how long to wait, or a number."""
    if f.other(1) & FUTEX_COMMAND not in FUTEX_WAITS:
        return str(f.word & 0xFFFFFFFF)
    return timespec(f.before, 0) if f.word and len(f.before) == TIME else pointer(f.word)


def futex_value(f: Field) -> str:
    """Return futex's last argument: bits, or a number."""
    is_any = f.other(1) & FUTEX_COMMAND in FUTEX_BITS and f.word & 0xFFFFFFFF == ANY_BIT
    return "FUTEX_BITSET_MATCH_ANY" if is_any else f"{f.word & 0xFFFFFFFF:#x}"


def futex_arguments(call: Call, texts: list[str]) -> list[str]:
    """Return those of futex's arguments that count for its command."""
    used = FUTEX_ARGUMENTS.get(call.arguments[1] & FUTEX_COMMAND, range(len(texts)))
    return [texts[index] for index in used]


def clone_flags(f: Field) -> str:
    """Return flags of clone, with the signal at the end."""
    number = f.word & SIGNAL
    parts = [sets()["clone"].text(f.word & ~SIGNAL)] if f.word & ~SIGNAL else []
    return "|".join([*parts, *([signal_name(number)] if number else [])]) or "0"


def clone_arguments(call: Call, texts: list[str]) -> list[str]:
    """Return clone's arguments in strace's order, those that count for its flags, each with its name."""
    flags, _, parent, child, tls = call.arguments[:5]
    named = [f"child_stack={texts[1]}", f"flags={texts[0]}"]
    if flags & SET_PARENT:
        named.append(f"parent_tid=[{call.result}]" if call.result > 0 else f"parent_tid={pointer(parent)}")
    if flags & SET_TLS:
        named.append(f"tls={pointer(tls)}")
    if flags & (SET_CHILD | CLEAR_CHILD):
        named.append(f"child_tidptr={pointer(child)}")
    return named


def clone_structure(f: Field) -> str:
    """Return clone3's structure, the fields that count for its flags."""
    if not f.word or len(f.before) < CLONE_ARGS.size:
        return pointer(f.word)
    flags, _, child, parent, end, stack, size, tls = CLONE_ARGS.unpack_from(f.before)
    texts = [f"flags={sets()['clone'].text(flags) if flags else '0'}"]
    texts += [f"child_tid={child:#x}"] if flags & (SET_CHILD | CLEAR_CHILD) else []
    texts += [f"parent_tid={parent:#x}"] if flags & SET_PARENT else []
    texts += [f"exit_signal={signal_name(end) if end else 0}", f"stack={pointer(stack)}"]
    texts += [f"stack_size={size:#x}" if size else "stack_size=0"]
    texts += [f"tls={tls:#x}"] if flags & SET_TLS else []
    made = f" => {{parent_tid=[{f.call.result}]}}" if flags & SET_PARENT and f.call.result > 0 else ""
    return f"{{{', '.join(texts)}}}{made}"
