"""Time series: what happened in each interval, as `tseries` keeps it.

An interval is known by its epoch, the number of intervals since the start of TAI. The value of an interval is
the last one, or by the aggregation the average, minimum, maximum or sum of its values.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.events import Series

WORDS = 3  # of an interval's state: value, how many values (for avg), epoch
MODES = ("last", "avg", "min", "max", "sum")
AVERAGE = MODES.index("avg")
NS = 10**9
BUSY = 1 << 63  # bit of the epoch while a program changes the interval


def series(points: Iterable[tuple[int, int, int]], numbers: tuple[int, ...]) -> Series:
    """Make a series of (epoch, value, count); `numbers`: the interval in ns, how many there are, the mode."""
    interval, _, mode = numbers
    values: dict[int, int | None] = {}
    for epoch, value, count in points:
        parts = count if mode == AVERAGE and count else 1
        values[epoch & ~BUSY] = abs(value) // parts * (-1 if value < 0 else 1)
    return Series(interval, values)


def newest(all_of_them: Iterable[Series]) -> int:
    """Give the last epoch of several series, 0 where there is none."""
    return max((max(one.values) for one in all_of_them if one.values), default=0)


def window(one: Series, last: int, count: int, offset: int) -> Series:
    """Cut a series to the `count` intervals up to `last`; what is empty before its first value is left out.

    `offset`: what the wall clock is ahead of TAI, in ns; the two differ by whole seconds.
    """
    offset = round(offset / NS) * NS
    shown = [epoch for epoch in one.values if last - count < epoch <= last]
    if not shown:
        return Series(one.interval, {}, offset)
    values = {epoch: one.values.get(epoch) for epoch in range(min(shown), last + 1)}
    return Series(one.interval, values, offset)
