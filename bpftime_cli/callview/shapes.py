"""What is copied out of the target's memory when a call begins and when it ends.

Calls that need the same copies have one *shape*, and so one pair of programs, however many they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runtime.syscalls.kinds import kinds_of
from runtime.syscalls.table import name_of

ARGUMENTS = 6
ARGV = 16  # arguments of a program that are shown
VECTOR, MESSAGE_PARTS = 6, 4  # buffers of a vector, and of a message, that are shown
# kind → bytes copied from the argument when the call begins
SIZES_IN = {
    "timespec": 16, "timeval": 16, "futextime": 16, "sigset": 8, "sigaction": 32, "rlimit": 16, "epoll": 12,
    "itimerval": 32, "itimerspec": 32, "utimes": 32, "int4": 4, "ioffset": 8, "cloneargs": 88, "stack": 24,
    "openhow": 24,
}  # fmt: skip
# kind → bytes copied when it ends
SIZES_OUT = {
    "ostat": 144, "ostatx": 48, "ostatfs": 120, "otimespec": 16, "otimeval": 16, "ostatus": 4, "osigset": 8,
    "osigaction": 32, "orlimit": 16, "ouname": 195, "orusage": 32, "otms": 32, "osysinfo": 112,
    "oitimerval": 32, "oitimerspec": 32, "osiginfo": 48, "ostack": 24, "oint": 4, "fcntlarg": 32,
    "ioctlarg": 8, "rest": 16, "pair": 8, "pair4": 8,
}  # fmt: skip
# kind → bytes copied at both times
SIZES_BOTH = {"length": 4, "offset": 8, "left": 16, "leftval": 16}
NEVER_RETURN = frozenset(("exit", "exit_group"))
FORKS = frozenset(("fork", "vfork", "clone", "clone3"))
BECOME = frozenset(("execve", "execveat"))  # return only when they fail


@dataclass(frozen=True, slots=True, order=True)
class Capture:
    """One copy. `kind`: text, words, bytes (`size`), some, vector, message; count and entries are numbers.

    Some has the length that argument `length` says, a vector as many buffers; a message is a struct msghdr.

    `after`: when the call has ended. `length` -1: as many as the call returned; -2: as many as lie at the
    address in argument `size`; -3: as many bits as argument `size` says. `size` else: of one element.
    """

    after: bool
    argument: int
    kind: str
    size: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """What is done when a call begins, for all calls with the same copies then. `keeps`: for their ends."""

    captures: tuple[Capture, ...]
    begins: bool
    keeps: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """Calls with the same captures. `begins`: shown when they begin; `ends`: when they end.

    `forks`: they return twice, to the child with 0, perhaps under its parent's thread id.
    """

    captures: tuple[Capture, ...]
    begins: bool = False
    ends: bool = True
    forks: bool = False

    @property
    def entry(self) -> Entry:
        """What it does when a call begins."""
        return Entry(tuple(c for c in self.captures if not c.after), self.begins, self.ends)


def captures_of(number: int) -> tuple[Capture, ...]:
    """Return what is copied for a call, in the order of its arguments; copies after the call come last."""
    found = [c for index, kind in enumerate(kinds_of(number)) for c in _captures(index, kind)]
    return tuple(sorted(found, key=lambda c: c.after))


def _captures(index: int, kind: str) -> list[Capture]:
    word, _, number = kind.partition(":")
    form = FORMS.get(word)
    if form:
        return form(index, number)
    sizes = ((False, SIZES_IN | SIZES_BOTH), (True, SIZES_OUT | SIZES_BOTH))
    return [Capture(after, index, "bytes", size=table[word]) for after, table in sizes if word in table]


def _copied(
    kind: str, *sides: bool, size: int = 0, length: int | None = None
) -> Callable[[int, str], list[Capture]]:
    """Return what makes a kind's captures from argument and number. `length`: None is that number."""

    def captures(index: int, number: str) -> list[Capture]:
        said = int(number or 0) if length is None else length
        by_other = length is not None and length < -1
        amount = int(number) if by_other else size
        return [Capture(side, index, kind, size=amount, length=said) for side in sides]

    return captures


BEFORE, AFTER = False, True
RETURNED, AT_ADDRESS, BITS = -1, -2, -3
# Kinds whose copies have a length that the call itself says: from argument and number behind the colon.
FORMS: dict[str, Callable[[int, str], list[Capture]]] = {
    "path": _copied("text", BEFORE),
    "prctlarg": _copied("text", BEFORE),
    "argv": _copied("words", BEFORE),
    "environment": _copied("count", BEFORE),
    "entries": _copied("entries", AFTER),
    "in": _copied("some", BEFORE),
    "optval": _copied("some", BEFORE),
    "sockaddr": _copied("some", BEFORE),
    "cpus": _copied("some", BEFORE),
    "out": _copied("some", AFTER, length=RETURNED),
    "ocwd": _copied("some", AFTER, length=RETURNED),
    "outhex": _copied("some", AFTER, length=RETURNED),
    "ocpus": _copied("some", AFTER, length=RETURNED),
    "onumbers": _copied("some", AFTER, length=RETURNED, size=4),
    "oepoll": _copied("some", AFTER, length=RETURNED, size=12),
    "osockaddr": _copied("some", AFTER, length=AT_ADDRESS),
    "ooptval": _copied("some", AFTER, length=AT_ADDRESS),
    "fds": _copied("some", BEFORE, AFTER, length=BITS),
    "pollfds": _copied("some", AFTER, size=8),
    "vector": _copied("vector", BEFORE),
    "ovector": _copied("vector", AFTER),
    "message": _copied("message", BEFORE),
    "omessage": lambda index, _: [Capture(BEFORE, index, "bytes", size=12), Capture(AFTER, index, "message")],
}


def shapes_of(numbers: Iterable[int]) -> dict[Shape, frozenset[int]]:
    """Group calls by shape."""
    found: dict[Shape, set[int]] = defaultdict(set)
    for number in numbers:
        name = name_of(number)
        if name == "rt_sigreturn":
            continue  # it ends where it began: in the middle of something else
        shape = Shape(
            captures_of(number), name in NEVER_RETURN | BECOME, name not in NEVER_RETURN, name in FORKS
        )
        found[shape].add(number)
    return {shape: frozenset(group) for shape, group in found.items()}
