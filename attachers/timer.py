"""Timers: programs that run in the tracer again and again. Each is a simple attach, as anybody can write one.

The configuration is the period in nanoseconds, the event is the time.
"""

from __future__ import annotations

from attachers.base import INTERVAL, Callback
from attachers.context import AttachContext
from attachers.simple import add_simple_attach

NOT_DUE = 2  # a trigger's result


class Timer:
    """One program that runs once a period, from `start` on. Times in nanoseconds of one clock."""

    def __init__(self, program: Callback, period: int, start: int, cookie: int = 0) -> None:
        self.due = start + period
        context = AttachContext()
        self._trigger = add_simple_attach(context, INTERVAL, self._event)
        context.attach(program, INTERVAL, str(period), cookie)

    def look(self, now: int) -> bool:
        """Run the program if it is due; returns whether it was."""
        return self._trigger(str(now)) == 0

    def _event(self, period: str, now: str, run: Callback) -> int:
        """A late one runs once, then keeps its rhythm."""
        if int(now) < self.due:
            return NOT_DUE
        run(b"")
        self.due += ((int(now) - self.due) // int(period) + 1) * int(period)
        return 0
