"""The system calls of this machine's architecture, read from `syscalls.tsv`.

A *tracepoint* is the kernel's name for a call, which differs from the call's in a few cases (`newstat` is
`stat`). A call of a number that no row has is printed as `syscall_0x1d7`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("syscalls.tsv")
COLUMNS = {"x86_64": 0, "aarch64": 1}
NUMBERS = 512  # calls have numbers below this one, the architecture's others are counted as one


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its name and its C type as the kernel spells it (`const char *`)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Syscall:
    """One system call; `tracepoint` is empty where the kernel has none, and so no arguments are known."""

    number: int
    name: str
    tracepoint: str
    arguments: tuple[Argument, ...] = ()


def read_rows() -> list[list[str]]:
    """Return the rows: numbers on x86-64 and aarch64, name, tracepoint, arguments; `-` is none."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@cache
def syscalls(machine: str = "") -> tuple[Syscall, ...]:
    """Return the calls of an architecture (default: this one) by number; empty for an unknown one."""
    column = COLUMNS.get(machine or os.uname().machine)
    if column is None:
        return ()
    found = [_syscall(int(row[column]), row) for row in read_rows() if row[column] != "-"]
    return tuple(sorted(found, key=lambda s: s.number))


def _syscall(number: int, row: list[str]) -> Syscall:
    _, _, name, tracepoint, arguments = row
    declared = arguments.split(", ") if arguments != "-" else []
    return Syscall(number, name, "" if tracepoint == "-" else tracepoint, tuple(map(_argument, declared)))


def _argument(text: str) -> Argument:
    kind, _, name = text.rpartition(" ")
    return Argument(name, kind)


@cache
def by_number() -> dict[int, Syscall]:
    """Return the calls by number."""
    return {s.number: s for s in syscalls()}


@cache
def by_name() -> dict[str, Syscall]:
    """Return the calls by every name that they have: the tracepoint's wins where two calls share one."""
    return {s.name: s for s in syscalls()} | {s.tracepoint: s for s in syscalls() if s.tracepoint}


def name_of(number: int) -> str:
    """Return the name of a call for people."""
    known = by_number().get(number)
    return known.name if known else f"syscall_{number:#x}"


def find(pattern: str) -> list[Syscall]:
    """Return the calls with a tracepoint whose name matches; only `*` and `?` are wildcards."""
    literal = pattern.replace("[", "[[]")
    return [s for s in syscalls() if s.tracepoint and fnmatchcase(s.tracepoint, literal)]
