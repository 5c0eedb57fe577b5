"""Messages in bpftrace's shape: `LOCATION: LEVEL: text`, the source line, `~~~~` under the span, a hint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.errors import Problem, Problems, Span
from runtime.lang.suggest import near

TAB = "    "
MOST = 10  # errors shown, and lines quoted
LONGEST = 400  # characters of a source line that are quoted
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
RED, YELLOW, BOLD, RESET = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
COLOURS = {"ERROR": RED, "BUG": RED, "WARNING": YELLOW, "HINT": BOLD}

__all__ = ["Message", "expansions", "near", "report", "show"]


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
    lines = [f"{place}{before}{message.level}{after}: {printable(message.text)[: MOST * LONGEST]}"]
    span = message.span
    if span is not None and span.text:
        lines += _quote(span, before, after)
    lines += _expansions(span, message.level, (before, after))
    if message.hint:
        bold, plain = (BOLD, RESET) if colour else ("", "")
        lines.append(f"{bold}HINT{plain}: {message.hint}")
    return "\n".join(lines) + "\n"


def expansions(span: Span | None, level: str) -> str:
    """Give the lines that say where the macros were used that a place lies in, empty where it is in none."""
    return "".join(line + "\n" for line in _expansions(span, level, ("", "")))


def _expansions(span: Span | None, level: str, colours: tuple[str, str]) -> list[str]:
    lines: list[str] = []
    while span is not None and span.expanded_from is not None:
        span = span.expanded_from
        lines += [f"{span}: {colours[0]}{level}{colours[1]}: expanded from", *_quote(span, *colours)]
    return lines


def _quote(span: Span, before: str, after: str) -> list[str]:
    if span.line != span.end_line:
        return [printable(line)[:LONGEST].replace("\t", TAB) for line in span.text.split("\n")[:MOST]]
    start = max(0, span.column - 1 - LONGEST // 2) if len(span.text) > LONGEST else 0
    raw = printable(span.text[start : start + LONGEST])
    first, last = span.column - 1 - start, span.end_column - 1 - start
    marks = max(1, _width(raw[first:last]))
    return [raw.replace("\t", TAB), " " * _width(raw[:first]) + before + "~" * marks + after]


def printable(text: str) -> str:
    """Replace what would drive a terminal, or is no text at all, by question marks; tabs stay."""
    return _CONTROL.sub("?", text)


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
