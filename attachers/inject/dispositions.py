"""Our own signal handlers, and what a program that we start is to find in their place."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
Old = dict[int, object]

_ignored: set[int] = set()
"""Signals that were ignored before a handler of ours came: a shell's `&` does so, and nohup(1)."""


def handle(numbers: Iterable[int], handler: Handler) -> Old:
    """Handle signals ourselves; returns what was there, for `restore`."""
    old: Old = {number: signal.signal(number, handler) for number in numbers}
    _ignored.update(number for number, before in old.items() if before == signal.SIG_IGN)
    return old


def restore(old: Old) -> None:
    """Put back what `handle` found; a handler that Python does not know becomes the default."""
    for number, before in old.items():
        signal.signal(number, before if callable(before) or isinstance(before, int) else signal.SIG_DFL)


def ignore_again() -> None:
    """Ignore what we found ignored, in a child that is to become a program: there, no handler is left."""
    for number in _ignored:
        signal.signal(number, signal.SIG_IGN)
