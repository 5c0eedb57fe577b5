"""A script's text and the places in it.

Nodes of the tree carry plain offsets (`At`); only a message needs lines and columns, so they are
computed when one is made. Columns are 1-based, ends exclusive.
"""

from __future__ import annotations

from bisect import bisect_right

from runtime.errors import Problem, Span

At = tuple[int, int]  # offsets of the first character and of the one behind the last


class Source:
    """One script; `file` is the name that messages show."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._starts: list[int] = []

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
        return Span(
            self.file,
            first + 1,
            at[0] - begin + 1,
            last + 1,
            max(at[1], at[0] + 1) - starts[last] + 1,
            self.text[begin:end].replace("\r", ""),
        )

    def problem(self, at: At, text: str, hint: str = "") -> Problem:
        """Make the error for a place."""
        return Problem(text, span=self.span(at), hint=hint)
