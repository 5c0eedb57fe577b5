"""Time series as a chart: a row an interval, its value as a star between the smallest and the largest."""

from __future__ import annotations

import time

from runtime.events import Series

WIDTH = 53  # columns of the chart with its borders
LEAST, MOST = 21, 32  # columns of the smallest and the largest value above it
UNITS = ((10**9, 0, ""), (10**6, 3, ".ms"), (10**3, 6, ".μs"), (0, 9, ".ns"))  # from this interval on (ns)


def series_lines(value: Series) -> list[str]:
    """Give the lines of a chart without their newlines."""
    values = [number for number in value.values.values() if number is not None]
    if not values:
        return ["<no data>"]
    least, most = min(values), max(values)
    if least == most:
        least, most = least - 1, most + 1
    digits, unit = next((digits, unit) for ns, digits, unit in UNITS if value.interval >= ns)
    indent = len("hh:mm:ss") + (digits + 1 if digits else 0) + 1
    bounds = " " * indent + str(least).ljust(LEAST) + str(most).rjust(MOST)
    rule = "_" * (WIDTH - 2)
    rows = [
        f"{clock_time(epoch * value.interval + value.offset, digits)} {_row(number, least, most)}"
        for epoch, number in value.values.items()
    ]
    return [bounds, f"{'hh:mm:ss' + unit:{indent}}|{rule}|", *rows, " " * indent + f"v{rule}v", bounds]


def _row(number: int | None, least: int, most: int) -> str:
    row = list("|" + " " * (WIDTH - 2) + "|")
    if least < 0 < most:
        row[WIDTH * -least // (most - least)] = "."
    if number is not None:
        row[(WIDTH - 1) * (number - least) // (most - least)] = "*"
    return f"{''.join(row)} {'-' if number is None else number}"


def clock_time(moment: int, digits: int) -> str:
    """Format a moment (ns of the wall clock) as local time of day, with so many digits of the second."""
    seconds, ns = divmod(moment, 10**9)
    text = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{text}.{ns:09}"[: len(text) + 1 + digits] if digits else text


def iso_time(moment: int) -> str:
    """Format a moment (ns of the wall clock) as local date and time, to the nanosecond."""
    seconds, ns = divmod(moment, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds)) + f".{ns:09}"
