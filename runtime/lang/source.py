"""A script's text and the places in it.

Nodes of the tree carry plain offsets (`At`); only a message needs lines and columns, so they are
computed when one is made. Columns are 1-based, ends exclusive.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from runtime.errors import Problem, Span

At = tuple[int, int]  # offsets of the first character and of the one behind the last


MARK = "\x1f"  # between the name of a macro's variable and the number of the use
_NUMBER = re.compile(MARK + "[0-9]+")


class Expanded(tuple[int, int]):
    """A place inside a macro that was expanded; `call` is the place of its use."""

    call: At


def expanded(at: At, call: At) -> Expanded:
    """Give a place in a macro's body, used at `call`; one that is expanded already was used there in turn."""
    place = Expanded(at)
    place.call = expanded(at.call, call) if isinstance(at, Expanded) else call
    return place


class Source:
    """One script with the files that it imports; `file` is the name that messages show.

    All texts lie behind one another, so that a pair of offsets says where something is; `add` puts one more
    behind the others.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._starts: list[int] = []
        self._parts: list[tuple[int, str]] = [(0, file)]

    def add(self, text: str, file: str) -> int:
        """Put the text of another file behind all others; give the offset where it begins."""
        begin = len(self.text) + 1
        self.text += "\n" + text
        self._starts = []
        self._parts.append((begin, file))
        return begin

    def file_at(self, offset: int) -> tuple[str, int]:
        """Give the file that an offset lies in, and the offset where it begins."""
        begin, file = next(part for part in reversed(self._parts) if part[0] <= offset)
        return file, begin

    def _lines(self) -> list[int]:
        if not self._starts:
            self._starts = [0] + [i + 1 for i, char in enumerate(self.text) if char == "\n"]
        return self._starts

    def span(self, at: At) -> Span:
        """Give lines and columns of a range, with the source lines it touches."""
        starts = self._lines()
        first = bisect_right(starts, at[0]) - 1
        last = bisect_right(starts, max(at[0], at[1] - 1)) - 1
        begin = starts[first]
        end = starts[last + 1] - 1 if last + 1 < len(starts) else len(self.text)
        file, before = self.file_at(at[0])
        above = bisect_right(starts, before) - 1  # lines of the files in front of this one
        return Span(
            file,
            first + 1 - above,
            at[0] - begin + 1,
            last + 1 - above,
            max(at[1], at[0] + 1) - starts[last] + 1,
            self.text[begin:end].replace("\r", ""),
            self.span(at.call) if isinstance(at, Expanded) else None,
        )

    def problem(self, at: At, text: str, hint: str = "") -> Problem:
        """Make the error for a place; a macro's variables are named as they were written."""
        return Problem(_NUMBER.sub("", text), span=self.span(at), hint=hint)
