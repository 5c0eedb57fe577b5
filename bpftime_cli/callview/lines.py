"""A call as a line of text, or as a JSON object."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.field import Looks
from bpftime_cli.callview.oddities import PRCTL_ARGUMENTS, clone_arguments, futex_arguments
from bpftime_cli.callview.results import result_text
from bpftime_cli.callview.values import texts_of
from bpftime_cli.render.json import quoted as json_quoted
from runtime.syscalls.flags import sets
from runtime.syscalls.table import by_name, name_of

COLUMN = 40  # where results stand, as in strace


@dataclass(slots=True)
class Style:
    """How lines look. `times`: rel, abs or none; `thread`: it is shown. `begin`: ns of the first line."""

    looks: Looks
    times: str = "rel"
    shows_durations: bool = True
    thread: bool = False
    begin: int = 0
    dim: str = ""
    bold: str = ""
    red: str = ""
    reset: str = ""
    clock: float = field(default_factory=lambda: time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))


def line_of(call: Call, style: Style) -> str:
    """Return the line, with its newline."""
    head = _head(call, style)
    name = name_of(call.number)
    arguments = ", ".join(_arguments(call, style.looks))
    shown = f"{head}{style.bold}{name}{style.reset}({arguments})"
    width = len(head) + len(name) + len(arguments) + 2
    space = " " * max(0, COLUMN - width)
    duration = (
        f" {style.dim}<{duration_text(call.duration)}>{style.reset}"
        if style.shows_durations and call.has_ended
        else ""
    )
    return f"{shown}{space} = {result_text(call, style.looks, style.red, style.reset)}{duration}\n"


def _arguments(call: Call, looks: Looks) -> list[str]:
    texts = texts_of(call, looks)
    if call.number in COUNTS:
        texts = texts[: COUNTS[call.number](call)]
    if call.number in CHOSEN:
        texts = CHOSEN[call.number](call, texts)
    return [text for text in texts if text]


# Calls that show some of their arguments, or in another order.
CHOSEN: dict[int, Callable[[Call, list[str]], list[str]]] = {
    by_name()["clone"].number: clone_arguments,
    by_name()["futex"].number: futex_arguments,
}
MAKES_FILES = 0o20000100  # bits of O_CREAT and O_TMPFILE
# Calls that take as many arguments as one of them says: how many there are.
COUNTS: dict[int, Callable[[Call], int]] = {
    by_name()["open"].number: lambda call: 3 if call.arguments[1] & MAKES_FILES else 2,
    by_name()["openat"].number: lambda call: 4 if call.arguments[2] & MAKES_FILES else 3,
    by_name()["prctl"].number: lambda call: PRCTL_ARGUMENTS.get(
        sets()["prctl"].text(call.arguments[0] & 0xFFFFFFFF), 5
    ),
}


def _head(call: Call, style: Style) -> str:
    thread = f"{call.tid} " if style.thread else ""
    if style.times == "none":
        return thread
    if style.times == "abs":
        seconds = style.clock + call.start / 1e9
        stamp = time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}"
    else:
        stamp = f"+{(call.start - style.begin) / 1e9:.6f}"
    return f"{thread}{style.dim}{stamp}{style.reset} "


def duration_text(ns: int) -> str:
    """Return a time with three digits or so."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            value = ns / size
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}{unit}"
    return f"{ns}ns"


def json_of(call: Call, looks: Looks) -> str:
    """Return one JSON object with its newline."""
    import errno  # lazy: as above

    arguments = ",".join(json_quoted(text) for text in _arguments(call, looks))
    error = (
        f', "error": {json_quoted(errno.errorcode.get(-call.result, str(-call.result)))}'
        if call.has_failed
        else ""
    )
    result = "null" if not call.has_ended else str(call.result)
    return (
        f'{{"type": "syscall", "ts": {call.start}, "pid": {call.pid}, "tid": {call.tid},'
        f' "name": {json_quoted(name_of(call.number))}, "args": [{arguments}], "ret": {result}{error},'
        f' "duration": {call.duration}}}\n'
    )
