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
ARGV = 8  # arguments of a program that are shown
# kind → bytes copied from the argument: when the call begins, and when it ends
SIZES_IN = {"timespec": 16, "sigset": 8, "sigaction": 32, "rlimit": 16, "epoll": 12}
SIZES_OUT = {
    "ostat": 144, "otimespec": 16, "ostatus": 4, "osigset": 8, "osigaction": 32, "orlimit": 16, "ouname": 195,
    "pair": 8, "pair4": 8,
}  # fmt: skip
NEVER_RETURN = frozenset(("exit", "exit_group"))
FORKS = frozenset(("fork", "vfork", "clone", "clone3"))
BECOME = frozenset(("execve", "execveat"))  # return only when they fail


@dataclass(frozen=True, slots=True, order=True)
class Capture:
    """One copy. `kind`: text, words, bytes (`size`), some (of the length that argument `length` says).

    `after`: when the call has ended. `length` -1: as many as the call returned; -2: as many as lie at the
    address in argument `size`. `size` else: of one element.
    """

    after: bool
    argument: int
    kind: str
    size: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """Calls with the same captures. `begins`: shown when they begin; `ends`: when they end.

    `forks`: they return twice, to the child with 0, perhaps under its parent's thread id.
    """

    captures: tuple[Capture, ...]
    begins: bool = False
    ends: bool = True
    forks: bool = False


def captures_of(number: int) -> tuple[Capture, ...]:
    """Return what is copied for a call, in the order of its arguments; copies after the call come last."""
    found = [c for index, kind in enumerate(kinds_of(number)) if (c := _capture(index, kind)) is not None]
    return tuple(sorted(found, key=lambda c: c.after))


def _capture(index: int, kind: str) -> Capture | None:
    word, _, number = kind.partition(":")
    if word in SIZES_IN:
        return Capture(False, index, "bytes", size=SIZES_IN[word])
    if word in SIZES_OUT:
        return Capture(True, index, "bytes", size=SIZES_OUT[word])
    form = FORMS.get(word)
    return form(index, number) if form else None


# Kinds whose copies have a length that the call itself says: from argument and number behind the colon.
FORMS: dict[str, Callable[[int, str], Capture]] = {
    "path": lambda index, _: Capture(False, index, "text"),
    "argv": lambda index, _: Capture(False, index, "words"),
    "in": lambda index, number: Capture(False, index, "some", length=int(number)),
    "sockaddr": lambda index, number: Capture(False, index, "some", length=int(number)),
    "out": lambda index, _: Capture(True, index, "some", length=-1),
    "ocwd": lambda index, _: Capture(True, index, "some", length=-1),
    "outhex": lambda index, _: Capture(True, index, "some", length=-1),
    "oepoll": lambda index, _: Capture(True, index, "some", length=-1, size=12),
    "osockaddr": lambda index, number: Capture(True, index, "some", length=-2, size=int(number)),
    "pollfds": lambda index, number: Capture(True, index, "some", length=int(number), size=8),
    "bytes": lambda index, number: Capture(False, index, "bytes", size=int(number.partition("=")[0])),
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
