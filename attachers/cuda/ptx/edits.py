"""Changes to a text by position, and which lines of the result they made."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Edits:
    """Changes to `text[start:end]`; several at one position stand in the order they came."""

    changes: list[tuple[int, int, int, str, str]] = field(default_factory=list)

    def insert(self, at: int, new: str, what: str = "") -> None:
        """Put text before position `at`; `what` says what it is for."""
        self.changes.append((at, len(self.changes), at, new, what))

    def replace(self, start: int, end: int, new: str, what: str = "") -> None:
        """Put text in the place of `[start, end)`."""
        self.changes.append((start, len(self.changes), end, new, what))

    def applied(self, text: str, start: int = 0, end: int | None = None) -> Pieces:
        """Give `text[start:end]` with the changes that lie in it."""
        stop = len(text) if end is None else end
        out = Pieces()
        at = start
        for first, _, last, new, what in sorted(self.changes):
            if first < start or last > stop:
                continue
            out.add(text[at:first])
            out.add(new, what)
            at = max(at, last)
        out.add(text[at:stop])
        return out


@dataclass(slots=True)
class Pieces:
    """Text that knows which of its characters were inserted, and what for."""

    parts: list[str] = field(default_factory=list)
    marks: list[tuple[int, int, str]] = field(default_factory=list)
    size: int = 0

    def add(self, text: str, what: str = "") -> None:
        """Add text."""
        if what:
            self.marks.append((self.size, self.size + len(text), what))
        self.parts.append(text)
        self.size += len(text)

    def text(self) -> str:
        """Give the whole."""
        return "".join(self.parts)

    def lines(self) -> tuple[tuple[int, int, str], ...]:
        """Give first line, last line (1-based) and purpose of what was inserted."""
        text, at, line, out = self.text(), 0, 1, []
        for start, end, what in self.marks:
            line += text.count("\n", at, start)
            first = line
            line += text.count("\n", start, end)
            at = end
            out.append((first, line, what))
        return tuple(out)
