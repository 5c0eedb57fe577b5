"""Errors with a place and a next step: `Problem` is the user's to mend, `Bug` is ours.

Malformed input (ELF, BTF, script, mailbox bytes, shared memory written by a target) may only raise a
`Problem`; the fuzzers assert that nothing else escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Span:
    """A range of source text.

    Columns are 1-based, the end is exclusive. `text` holds the source lines from `line` to
    `end_line` (without their newlines), so that a message can quote them without the file. `expanded_from`:
    where the macro was used that this place lies in.
    """

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str = ""
    expanded_from: Span | None = None

    def __str__(self) -> str:
        if self.line == self.end_line:
            return f"{self.file}:{self.line}:{self.column}-{self.end_column}"
        return f"{self.file}:{self.line}-{self.end_line}"


class Problem(Exception):
    """Something the user can mend. `hint` says how; the CLI prints both and ends with `status`."""

    status: ClassVar[int] = 1

    def __init__(self, text: str, *, span: Span | None = None, hint: str = "") -> None:
        super().__init__(text)
        self.span = span
        self.hint = hint


class Problems(Problem):
    """Several problems of one input, found in one pass. `items` is never empty."""

    def __init__(self, items: list[Problem]) -> None:
        super().__init__(str(items[0]), span=items[0].span, hint=items[0].hint)
        self.items = items


def joined(items: list[Problem]) -> Problem:
    """Give one problem for all of a list that is not empty."""
    return items[0] if len(items) == 1 else Problems(items)


class UsageProblem(Problem):
    """The command line does not make sense."""

    status = 2


class TargetProblem(Problem):
    """The process cannot be reached or patched."""

    status = 3


class AttachProblem(Problem):
    """A probe could not be placed. `errno` is the positive number of the status table."""

    def __init__(self, text: str, *, errno: int, hint: str = "", span: Span | None = None) -> None:
        super().__init__(text, span=span, hint=hint)
        self.errno = errno


class ObjectProblem(Problem):
    """A file is not the ELF object, BTF or script that it should be.

    `section` and `offset` (bytes from the section's start, -1 unknown) say where.
    """

    def __init__(
        self, text: str, *, file: str = "", section: str = "", offset: int = -1, hint: str = ""
    ) -> None:
        place = file + (f" {section}" if section else "") + (f"+{offset:#x}" if offset >= 0 else "")
        super().__init__(f"{place}: {text}" if place else text, hint=hint)
        self.section = section
        self.offset = offset


class Refused(Problem):
    """The verifier does not accept a program. `trace` holds the path that led there, one line each."""

    def __init__(
        self, text: str, *, span: Span | None = None, hint: str = "", trace: tuple[str, ...] = ()
    ) -> None:
        super().__init__(text, span=span, hint=hint)
        self.trace = trace


class Unserved(Problem):
    """A probe of a kind that user space cannot serve; a script may say that it can do without."""


class Unsupported(Refused):
    """The program may be right, but asks for what user space cannot serve."""


class Bug(Exception):
    """Our own mistake. Caught only at the very top."""


def alternatives(names: list[str]) -> str:
    """Return names as a sentence lists them: `a`, `a or b`, `a, b or c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"
