"""A map's bytes to what is printed of it: values of aggregations, printing order, top and divisor.

Also clears and zeroes a map through whatever view of it the tracer has, since a map without keys keeps in
its value whether it is set.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from typing import Protocol

from runtime.events import Event, Histogram, MapData, Resolver, Series, Stats, Value
from runtime.lang import types as t
from runtime.lang.decode import Reading, reader, since_epoch
from runtime.lang.mapshape import MapShape
from runtime.lang.series import newest, window

MASK = (1 << 64) - 1
BIAS = 1 << 63
EVENT_TYPES = {"hist": "hist", "lhist": "hist", "avg": "stats", "stats": "stats", "tseries": "tseries"}
SCALAR_KEY = bytes(4)
PLAIN_KEYS = (int, bytes)  # keys that compare as they are
Row = tuple[object, Value, Value, bool]  # what it is sorted by, key, value, whether it was ever set


class MapView(Protocol):
    """The contents of one map in the region; cells are summed already."""

    def items(self) -> list[tuple[bytes, bytes]]:
        """All keys and values."""

    def set(self, key: bytes, value: bytes, flags: int = 0) -> object:
        """Put a value."""

    def clear(self) -> object:
        """Delete all keys; an array's values become zero."""

    def zero(self) -> object:
        """Make all values zero."""

    def take(self, items: Iterable[tuple[bytes, bytes]]) -> object:
        """Take what was read from values that are only added to; what came since stays."""


class MapDecoder:
    """Everything needed to print one map of a script."""

    def __init__(self, shape: MapShape, reading: Reading) -> None:
        self.name = shape.name
        self.shape = shape
        self._reading = reading
        self.keyed = not shape.scalar
        self.zeroed = False
        self._key = reader(shape.key, reading)
        self._value = reader(shape.value, reading)

    def __reduce__(self) -> tuple[type[MapDecoder], tuple[MapShape, Reading]]:
        return MapDecoder, (self.shape, self._reading)

    @property
    def event_type(self) -> str:
        """Type name in JSON output."""
        kind = self.shape.value
        return EVENT_TYPES.get(kind.name, "map") if isinstance(kind, t.Aggregate) else "map"

    def decode(
        self,
        items: list[tuple[bytes, bytes]],
        resolver: Resolver,
        top: int = 0,
        div: int = 0,
        *,
        at_exit: bool = False,
    ) -> Event | None:
        """Make the event that prints the map, or None where nothing is to be printed.

        `top`: only the last so many rows (0 all). `div`: divisor of numbers (0 is 1). `at_exit`: a map
        without keys that was never set prints nothing.
        """
        rows = [
            self._row(key, value, resolver) for key, value in items if len(value) >= self.shape.value_size
        ]
        if not self.keyed:
            if at_exit and not any(row[3] for row in rows):
                return None
        elif not rows:
            return None
        rows = self._windows(rows)
        rows.sort(key=self._order)
        if top:
            rows = rows[-top:]
        printed = tuple((row[1], divided(row[2], div, self.shape.value)) for row in rows)
        return Event(self.event_type, MapData(self.name, self.keyed, printed))

    def _windows(self, rows: list[Row]) -> list[Row]:
        """Cut all series to the same intervals: those up to the newest of any."""
        kind = self.shape.value
        if not isinstance(kind, t.Aggregate) or kind.name != "tseries":
            return rows
        last = newest(row[2] for row in rows if isinstance(row[2], Series))
        offset, count = since_epoch(time.CLOCK_TAI), kind.numbers[1]
        return [
            (order, key, window(value, last, count, offset) if isinstance(value, Series) else value, is_set)
            for order, key, value, is_set in rows
        ]

    def _row(self, key: bytes, value: bytes, resolver: Resolver) -> Row:
        shown: Value = self._key(key, 0, resolver) if self.keyed else None
        decoded = self._value(value, 0, resolver)
        return _order_of(self.shape.value, decoded), shown, decoded, self._is_set(value)

    def _is_set(self, value: bytes) -> bool:
        shape = self.shape
        if self.zeroed or self.keyed:
            return True
        word = value[shape.set_at : shape.set_at + 8] if shape.set_at >= 0 else value
        return any(word)

    def _order(self, row: Row) -> tuple[object, ...]:
        key = row[1] if type(row[1]) in PLAIN_KEYS else _sortable(row[1])
        return (row[0], key) if row[0] is not None else (key,)

    def clear(self, view: MapView, printed: list[tuple[bytes, bytes]] | None = None) -> None:
        """Carry out `clear(@m)`.

        `printed`: what the map held when it was printed just before; of an aggregation only that goes, so
        that a `print` and a `clear` lose nothing that programs add meanwhile.
        """
        self.zeroed = False
        kind = self.shape.value
        if printed is not None and isinstance(kind, t.Aggregate) and kind.added_only:
            view.take(printed)
        else:
            view.clear()

    def zero(self, view: MapView) -> None:
        """Carry out `zero(@m)`: keys stay, and a map that was set stays set."""
        was_set = not self.keyed and any(self._is_set(value) for _, value in view.items())
        view.zero()
        if not was_set:
            return
        if self.shape.set_at >= 0 and not isinstance(self.shape.value, t.Aggregate):
            view.set(SCALAR_KEY, bytes(self.shape.set_at) + struct.pack("<Q", 1))
        else:
            self.zeroed = True


def _order_of(kind: t.Type, value: Value) -> object:
    """What a row is sorted by before its key; None: by the key alone."""
    if isinstance(value, Histogram):
        return sum(bucket.count for bucket in value.buckets)
    if isinstance(value, Stats):
        return value.average
    if isinstance(value, Series):
        return None
    return value if type(kind) is t.Int or isinstance(kind, t.Aggregate) else None


def _sortable(key: Value) -> tuple[object, ...]:
    """A key as something that compares with any other key of the map."""
    items = key if isinstance(key, tuple) else tuple(key.values()) if isinstance(key, dict) else (key,)
    result: list[object] = []
    for item in items:
        if isinstance(item, tuple | dict):
            result.append(_sortable(item))
        elif isinstance(item, bytes | int):
            result.append(item)
        else:
            result.append(str(item))
    return tuple(result)


def divided(value: Value, div: int, kind: t.Type) -> Value:
    """Apply print's divisor: integers and bucket counts of hist, toward zero."""
    if div <= 1:
        return value
    if isinstance(value, Histogram) and isinstance(kind, t.Aggregate) and kind.name == "hist":
        buckets = (
            type(bucket)(bucket.least, bucket.most, bucket.label, bucket.count // div)
            for bucket in value.buckets
        )
        return Histogram(tuple(buckets))
    if isinstance(value, int) and isinstance(kind, t.Int | t.Aggregate):
        return -(-value // div) if value < 0 else value // div
    return value
