"""One call as it was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from bpftime_cli.callview.script import BEGUN
from bpftime_cli.callview.shapes import ARGUMENTS, Capture, Shape
from runtime.errors import Problem
from runtime.events import Value

FIXED = 8  # values before the arguments


@dataclass(slots=True)  # not frozen: one is made for each of millions
class Call:
    """One system call. Times in ns, `start` since boot.

    `copies` by the argument that they belong to: made when the call began; `later`: when it had ended.
    `has_ended` is False for one that has only begun.
    """

    pid: int
    tid: int
    number: int
    start: int
    duration: int
    result: int
    has_ended: bool
    arguments: tuple[int, ...]
    copies: dict[int, Value]
    later: dict[int, Value] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Return whether the result is an error number (syscalls(2): -4095 to -1)."""
        return self.has_ended and -4095 <= self.result < 0


def read_call(value: Value, shapes: list[Shape]) -> Call:
    """Read a record of the script.

    Raises:
        Problem: it is none.
    """
    try:
        assert isinstance(value, tuple)
        words = [word if isinstance(word, int) else 0 for word in value[: FIXED + ARGUMENTS]]
        shape, kind, pid, tid, number, start, duration, result, *arguments = words
        captures: tuple[Capture, ...] = shapes[shape].captures
    except (AssertionError, ValueError, IndexError) as error:
        raise Problem(f"a record of a system call is damaged: {error}") from None
    rows = list(zip(captures, value[FIXED + ARGUMENTS :], strict=False))
    before, after = ({c.argument: copy for c, copy in rows if c.after == side} for side in (False, True))
    return Call(pid, tid, number, start, duration, result, kind != BEGUN, tuple(arguments), before, after)
