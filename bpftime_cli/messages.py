"""Messages in bpftrace's shape: `LOCATION: LEVEL: text`, the source line, `~~~~` under the span, a hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.errors import Problem, Problems, Span
from runtime.lang.suggest import near

TAB = "    "
MOST = 10  # errors shown
RED, YELLOW, BOLD, RESET = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
COLOURS = {"ERROR": RED, "BUG": RED, "WARNING": YELLOW, "HINT": BOLD}

__all__ = ["Message", "near", "report", "show"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `level` is ERROR, WARNING, HINT or BUG."""

    level: str
    text: str
    span: Span | None = None
    hint: str = ""


def show(message: Message, *, colour: bool = False) -> str:
    """Give a message as lines, each with its newline."""
    before, after = (COLOURS[message.level], RESET) if colour else ("", "")
    place = f"{message.span}: " if message.span is not None else ""
    lines = [f"{place}{before}{message.level}{after}: {message.text}"]
    if message.span is not None and message.span.text:
        lines += _quote(message.span, before, after)
    if message.hint:
        bold, plain = (BOLD, RESET) if colour else ("", "")
        lines.append(f"{bold}HINT{plain}: {message.hint}")
    return "\n".join(lines) + "\n"


def _quote(span: Span, before: str, after: str) -> list[str]:
    lines = [line.replace("\t", TAB) for line in span.text.split("\n")]
    if span.line != span.end_line:
        return lines
    raw = span.text
    blank = _width(raw[: span.column - 1])
    marks = max(1, _width(raw[span.column - 1 : span.end_column - 1]))
    return [*lines, " " * blank + before + "~" * marks + after]


def _width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    expanded = text.replace("\t", TAB)
    if expanded.isascii():
        return len(expanded)
    import unicodedata  # lazy: only for text that is not ASCII

    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in expanded
    )


def report(problem: Problem, warnings: Iterable[Problem] = (), *, colour: bool = False) -> str:
    """Give all errors of a problem, at most ten, then the warnings."""
    items = problem.items if isinstance(problem, Problems) else [problem]
    parts = [show(Message("ERROR", str(item), item.span, item.hint), colour=colour) for item in items[:MOST]]
    if len(items) > MOST:
        parts.append(f"… {len(items) - MOST} more\n")
    parts += [show(Message("WARNING", str(item), item.span, item.hint), colour=colour) for item in warnings]
    return "".join(parts)
