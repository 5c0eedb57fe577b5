"""States of aggregations, as they lie in maps and records, to values."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.events import Stats, Value
from runtime.lang import histograms
from runtime.lang.series import series
from runtime.lang.types import Aggregate

if TYPE_CHECKING:
    from runtime.events import Resolver

MASK = (1 << 64) - 1
BIAS = 1 << 63


def aggregate_reader(kind: Aggregate) -> Callable[[bytes, int, Resolver], Value]:
    """Make the function that reads a state."""
    unpack = struct.Struct(f"<{kind.size // 8}Q").unpack_from
    make = AGGREGATES[kind.name]
    return lambda data, at, _: make(unpack(data, at), kind)


def signed(value: int, kind: Aggregate) -> int:
    """Read a word with the sign of its aggregation."""
    value &= MASK
    return value - (1 << 64) if kind.signed and value >> 63 else value


def _count(words: tuple[int, ...], kind: Aggregate) -> Value:
    del kind
    return words[0]


def _sum(words: tuple[int, ...], kind: Aggregate) -> Value:
    return signed(words[0], kind)


def _extreme(words: tuple[int, ...], kind: Aggregate) -> Value:
    value, is_set = words
    if not is_set:
        return 0
    value = ~value & MASK if kind.name == "min" else value
    return signed(value ^ BIAS if kind.signed else value, kind)


def _stats(words: tuple[int, ...], kind: Aggregate) -> Value:
    total, count = signed(words[0], kind), words[1]
    average = (abs(total) // count if count else 0) * (-1 if total < 0 else 1)
    return average if kind.name == "avg" else Stats(count, average, total)


def _hist(words: tuple[int, ...], kind: Aggregate) -> Value:
    return histograms.hist(words, kind.numbers[0])


def _lhist(words: tuple[int, ...], kind: Aggregate) -> Value:
    low, high, step = kind.numbers
    return histograms.lhist(words, low, high, step)


def _series(words: tuple[int, ...], kind: Aggregate) -> Value:
    points = zip(words[::3], words[1::3], words[2::3], strict=True)
    read = [(epoch, signed(value, kind), meta) for value, meta, epoch in points if epoch]
    return series(read, kind.numbers)


AGGREGATES: dict[str, Callable[[tuple[int, ...], Aggregate], Value]] = {
    "count": _count,
    "sum": _sum,
    "min": _extreme,
    "max": _extreme,
    "avg": _stats,
    "stats": _stats,
    "hist": _hist,
    "lhist": _lhist,
    "tseries": _series,
}
