"""The two streams: data on stdout (or a file), talk on stderr; colour decided for each apart.

The only door to rich, and only for progress; events never pass through it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bpftime_cli import messages
from runtime.errors import Problem

MANY = 1000  # steps from which on a work may take long
CHOICES = ("auto", "always", "never")


def wants_colour(choice: str, *, is_terminal: bool) -> bool:
    """Return whether a stream gets colour: the option, then NO_COLOR, FORCE_COLOR, TERM, then the stream."""
    if choice in ("always", "never"):
        return choice == "always"
    env = os.environ
    if env.get("NO_COLOR"):
        return False
    if env.get("CLICOLOR_FORCE") or env.get("FORCE_COLOR"):
        return True
    return is_terminal and env.get("TERM") != "dumb"


def standard_output() -> BinaryIO:
    """Return the stream for data; a void where we were started with stdout closed."""
    return sys.stdout.buffer if sys.stdout is not None else Path(os.devnull).open("wb")


class _Bar:
    """A bar that appears with the first step: work that turns out to be none shows nothing."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._advance: Callable[[], None] | None = None
        self._stack = ExitStack()

    def advance(self) -> None:
        """Count one step."""
        if self._advance is None:
            self._advance = self._shown()
        self._advance()

    def _shown(self) -> Callable[[], None]:
        from rich.console import Console as Terminal  # lazy: for long work only
        from rich.progress import Progress

        terminal = Terminal(stderr=True)
        progress = Progress(console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False)
        bar = self._stack.enter_context(progress)
        task = bar.add_task(self._what, total=self._total)
        return lambda: bar.advance(task)

    def close(self) -> None:
        """Take the bar away."""
        self._stack.close()


@dataclass
class Console:
    """Where data and talk go. `quiet` silences notes, `warnings` says whether warnings are shown."""

    out: BinaryIO
    colour: str = "auto"
    quiet: bool = False
    warnings: bool = True
    verbose: int = 0

    @classmethod
    def standard(cls) -> Console:
        """Return the console of the process's own streams."""
        return cls(standard_output())

    def data(self, text: bytes) -> None:
        """Write data."""
        self.out.write(text)

    def talk(self, text: bytes) -> None:
        """Write to stderr, bytes as they are; a closed stderr loses them."""
        if sys.stderr is None:
            return
        try:
            sys.stderr.buffer.write(text)
            sys.stderr.buffer.flush()
        except (OSError, ValueError):
            return

    def note(self, text: str, level: int = 0) -> None:
        """Tell something on stderr, from verbosity `level` on; never with -q."""
        if not self.quiet and self.verbose >= level:
            self.talk(text.encode("utf-8", "surrogateescape") + b"\n")

    def problem(self, problem: Problem) -> None:
        """Show an error with place and hint."""
        self.talk(messages.report(problem, colour=self._err_colour()).encode("utf-8", "surrogateescape"))

    def warn(self, warnings: Iterable[Problem | str]) -> None:
        """Show warnings."""
        if not self.warnings:
            return
        for warning in warnings:
            problem = Problem(warning) if isinstance(warning, str) else warning
            message = messages.Message("WARNING", str(problem), problem.span, problem.hint)
            self.talk(messages.show(message, colour=self._err_colour()).encode("utf-8", "surrogateescape"))

    def _err_colour(self) -> bool:
        return wants_colour(self.colour, is_terminal=sys.stderr is not None and sys.stderr.isatty())

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], object] | None]:
        """Show how far a long work is, on a terminal, for many steps; gives what to call after each."""
        if self.quiet or total < MANY or sys.stderr is None or not sys.stderr.isatty():
            yield None
            return
        bar = _Bar(what, total)
        try:
            yield bar.advance
        finally:
            bar.close()

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table as data: two blanks between columns, nothing cut."""
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        for row in (head, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.data(line.encode("utf-8", "surrogateescape") + b"\n")
        self.out.flush()
