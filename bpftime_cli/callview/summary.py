"""The table at the end: calls, errors, seconds and quantiles by system call, from the script's maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.events import Histogram, MapData, Value
from runtime.syscalls.table import name_of

HEAD = ("% time", "seconds", "usecs/call", "calls", "errors", "p50", "p99", "max", "syscall")
WIDTHS = (6, 11, 11, 9, 9, 9, 9, 9)
NOTE = "wall-clock time of the calls, not the kernel's work as strace counts it; p50, p99 and max in us\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One call's figures; times in ns."""

    name: str
    calls: int
    errors: int
    total: int
    middle: int
    high: int
    longest: int


SORTS: dict[str, Callable[[Row], tuple[int | str, ...]]] = {
    "time": lambda r: (-r.total, r.name),
    "calls": lambda r: (-r.calls, r.name),
    "errors": lambda r: (-r.errors, -r.calls, r.name),
    "p99": lambda r: (-r.high, r.name),
    "name": lambda r: (r.name,),
}


def rows_of(maps: dict[str, MapData], numbers: frozenset[int], sort: str) -> list[Row]:
    """Return the rows for the calls that were asked for, sorted."""
    tables = {name: {_int(key): value for key, value in data.rows} for name, data in maps.items()}
    found = []
    for number, calls in tables.get("@calls", {}).items():
        if number not in numbers:
            continue
        spread = tables.get("@spread", {}).get(number)
        longest = _int(tables.get("@longest", {}).get(number))
        found.append(
            Row(
                name_of(number),
                _int(calls),
                _int(tables.get("@errors", {}).get(number)),
                _int(tables.get("@total", {}).get(number)),
                min(quantile(spread, 0.5), longest),
                min(quantile(spread, 0.99), longest),
                longest,
            )
        )
    return sorted(found, key=SORTS[sort])


def _int(value: Value) -> int:
    return value if isinstance(value, int) else 0


def quantile(value: Value, part: float) -> int:
    """Return the upper end of the bucket that holds a quantile."""
    if not isinstance(value, Histogram):
        return 0
    wanted = part * sum(bucket.count for bucket in value.buckets)
    seen = 0
    for bucket in value.buckets:
        seen += bucket.count
        if seen >= wanted:
            return bucket.most if bucket.most is not None else bucket.least or 0
    return 0


def table(rows: list[Row]) -> str:
    """Return the table with its note, as lines."""
    total = sum(row.total for row in rows)
    lines = [_line(HEAD), _line(["-" * width for width in WIDTHS] + ["-" * 16])]
    lines += [_line(_cells(row, total)) for row in rows]
    whole = Row("total", sum(r.calls for r in rows), sum(r.errors for r in rows), total, 0, 0, 0)
    lines += [lines[1], _line(_cells(whole, total))]
    return "".join(lines) + NOTE


def _cells(row: Row, total: int) -> list[str]:
    share = f"{100 * row.total / total:.2f}" if total else "0.00"
    each = row.total // row.calls // 1000 if row.calls else 0
    quantiles = [_us(value) if value else "" for value in (row.middle, row.high, row.longest)]
    errors = str(row.errors) if row.errors else ""
    return [share, f"{row.total / 1e9:.6f}", str(each), str(row.calls), errors, *quantiles, row.name]


def _us(ns: int) -> str:
    return f"{ns / 1000:.1f}" if ns < 100_000 else str(ns // 1000)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    *numbers, name = cells
    return " ".join(cell.rjust(width) for cell, width in zip(numbers, WIDTHS, strict=True)) + f" {name}\n"
