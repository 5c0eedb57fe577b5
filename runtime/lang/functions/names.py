"""Functions from numbers to names: usym, ksym, strerror, signal_name, syscall_name, cgroup_path.

Texts for errors, signals and system calls lie in constant tables that programs read, so they are strings like
any other; symbols and groups are looked up by the tracer when they are printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.lang import memory, tree
from runtime.lang.builtins import finish_symbol
from runtime.lang.functions.row import Function
from runtime.lang.functions.text import check_address
from runtime.lang.printed import CGROUP_PATH, KERNEL_SYMBOL
from runtime.lang.types import INT64, SYMBOL, UINT64, UNKNOWN, String, Type
from runtime.lang.variables import Place
from runtime.syscalls.table import syscalls

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

ROW_SHIFT = 6
ROW = 1 << ROW_SHIFT  # bytes of a name
ERRORS = 134  # linux/errno.h: one more than the last
SIGNALS = (  # 1 to 31, linux/signal.h
    *(
        "HUP",
        "INT",
        "QUIT",
        "ILL",
        "TRAP",
        "ABRT",
        "BUS",
        "FPE",
        "KILL",
        "USR1",
        "SEGV",
        "USR2",
        "PIPE",
        "ALRM",
    ),
    *("TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM"),
    *("PROF", "WINCH", "IO", "PWR", "SYS"),
)
FIRST_REAL_TIME, LAST_REAL_TIME, MIDDLE = 34, 64, 50  # those of the C library


def signal_names() -> dict[int, str]:
    """Give the names of all signals, `SIG…`, by number."""
    names = {number: f"SIG{name}" for number, name in enumerate(SIGNALS, 1)}
    for number in range(FIRST_REAL_TIME, LAST_REAL_TIME + 1):
        above, below = number - FIRST_REAL_TIME, LAST_REAL_TIME - number
        text = f"MIN+{above}" if number < MIDDLE else f"MAX-{below}"
        names[number] = "SIGRT" + text.removesuffix("+0").removesuffix("-0")
    return names


def _errors() -> dict[int, str]:
    return {number: os.strerror(number) for number in range(ERRORS)}


def _calls() -> dict[int, str]:
    return {call.number: call.name for call in syscalls()}


TABLES: dict[str, tuple[Callable[[], dict[int, str]], str]] = {
    "strerror": (_errors, "Unknown error"),
    "signal_name": (signal_names, "Unknown signal"),
    "syscall_name": (_calls, "Unknown syscall"),
}  # function → its names, and the text for all other numbers


def _table(function: str) -> bytes:
    """Give all names, each in a row of its own; the last row is the text for unknown numbers."""
    make, unknown = TABLES[function]
    names = make()
    texts = [names.get(number, unknown) for number in range(max(names) + 1)] + [unknown]
    return b"".join(text.encode()[: ROW - 1].ljust(ROW, b"\0") for text in texts)


def _check_name(c: Checker, call: tree.Call) -> Type:
    c.integer(call.args[0], f"{call.name}()")
    return String(ROW)


def _fill_name(g: Generator, call: tree.Call, place: Place) -> None:
    name = f".{call.name}"
    if name not in g.output.tables:
        g.output.tables[name] = _table(call.name)
    last = len(g.output.tables[name]) // ROW - 1
    positive, known = g.code.label(), g.code.label()
    g.word(call.args[0], INT64)
    g.code.jump_if_constant("s>=", 0, 0, positive)
    g.code.negate(0)
    g.code.at(positive)
    g.code.jump_if_constant("<=", 0, last, known)
    g.code.set(0, last)
    g.code.at(known)
    g.code.alu_constant("<<", 0, ROW_SHIFT)
    g.code.map_value(8, name)
    g.code.alu("+", 8, 0)
    memory.copy(g, place, Place(8, 0), ROW)


def _check_usym(c: Checker, call: tree.Call) -> Type:
    return SYMBOL if check_address(c, call, call.args[0]) else UNKNOWN


def _fill_usym(g: Generator, call: tree.Call, place: Place) -> None:
    g.word(call.args[0])
    finish_symbol(g, place)


def _check_ksym(c: Checker, call: tree.Call) -> Type:
    return KERNEL_SYMBOL if check_address(c, call, call.args[0]) else UNKNOWN


def _lower_ksym(g: Generator, call: tree.Call) -> None:
    g.word(call.args[0])


def _check_cgroup_path(c: Checker, call: tree.Call) -> Type:
    c.integer(call.args[0], "cgroup_path()")
    text = c.text(call.args[1], "cgroup_path()") if len(call.args) == 2 else b"*"
    return CGROUP_PATH if text is not None else UNKNOWN


def _fill_cgroup_path(g: Generator, call: tree.Call, place: Place) -> None:
    pattern = call.args[1].value if len(call.args) == 2 and isinstance(call.args[1], tree.String) else b"*"
    number = g.output.pattern(pattern.decode("utf-8", "surrogateescape"))
    g.word(call.args[0])
    g.code.store(place + 8, 0, 8)
    g.code.store_constant(place, number, 8)


def _check_cgroupid(c: Checker, call: tree.Call) -> Type:
    c.text(call.args[0], "cgroupid()")  # with a literal it is a number already
    return UINT64


ROWS = (
    Function("cgroupid", 1, 1, _check_cgroupid),
    Function("usym", 1, 1, _check_usym, fill=_fill_usym),
    Function("ksym", 1, 1, _check_ksym, _lower_ksym),
    *(Function(name, 1, 1, _check_name, fill=_fill_name) for name in TABLES),
    Function("cgroup_path", 1, 2, _check_cgroup_path, fill=_fill_cgroup_path),
)
