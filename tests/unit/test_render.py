"""Renderers: golden output for every kind of event, and numbers that float32 and integers disagree on."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftime_cli.console import Console
from bpftime_cli.messages import Message, report, show
from bpftime_cli.render import FORMATS, Style
from bpftime_cli.render.series import series_lines
from bpftime_cli.render.text import bar_length
from runtime.errors import Problem, Problems, Span
from runtime.events import Buffer, Event, MapData, Pointer, Series, Stats, Variant
from runtime.lang.histograms import hist, lhist
from runtime.lang.series import newest, window

GOLDEN = Path(__file__).parent.parent / "cases" / "render"
SPAN = Span("stdin", 1, 9, 1, 14, "begin { errorf(5); }")
COUNTS = [1, 0, 0, 2, *[0] * 7, 1, *[0] * 53]
EVENTS = [
    Event("attached_probes", 1),
    Event("attached_probes", 2),
    Event("printf", b'text "quoted" \\ \t\x01\xff \xc3\xa4\n'),
    Event("time", b"12:34:56\n"),
    Event("join", b"a b"),
    Event("value", -5),
    Event("value", True),
    Event("value", None),
    Event("value", (1, b"a", (2, 3), [4, 5])),
    Event("value", {"a": 1, "b": {"c": b"x"}, "d": {}}),
    Event("value", Pointer(255)),
    Event("value", Variant(2, "TWO")),
    Event("value", Variant(3)),
    Event("value", Buffer(b"a\x00\xff")),
    Event("value", "main+5"),
    Event("value", 9007199254740993),
    Event("map", MapData("@x", False, ((None, 5),))),
    Event("map", MapData("@k", True, (((1, b"a b", (2, 3)), 5), (b"(not a tuple)", 6)))),
    Event("stats", MapData("@s", True, ((b"k", Stats(3, -1, -4)),))),
    Event("hist", MapData("@h", False, ((None, hist(COUNTS, 0)),))),
    Event(
        "hist", MapData("@l", True, ((7, lhist([1, 0, 3, 4], 0, 2048, 1024)), (8, lhist([0] * 4, 0, 2, 1))))
    ),
    Event("lost_events", 12),
    Event("errorf", b"bad thing", SPAN),
    Event("warnf", b"odd thing\n", SPAN),
]


@pytest.mark.parametrize("form", FORMATS)
def test_golden(form: str) -> None:
    out = bytearray()
    renderer = FORMATS[form](out.extend)
    for event in EVENTS:
        renderer.write(event)
    renderer.finish()
    assert bytes(out) == (GOLDEN / f"all.{form}").read_bytes()


def test_json_lines_parse() -> None:
    out = bytearray()
    renderer = FORMATS["json"](out.extend)
    for event in EVENTS:
        renderer.write(event)
    assert all(json.loads(line)["type"] for line in out.decode().splitlines())


def test_a_terminal_is_not_driven_by_traced_strings() -> None:
    out = bytearray()
    FORMATS["text"](out.extend, None, Style(sanitise=True)).write(Event("printf", b"\x1b[31mred\x07\n"))
    assert out == b"\\x1b[31mred\\x07\n"


def test_narrow_terminals_get_shorter_bars() -> None:
    out = bytearray()
    data = MapData("@", False, ((None, hist(COUNTS, 0)),))
    FORMATS["text"](out.extend, None, Style(bar=10)).write(Event("hist", data))
    assert max(map(len, out.splitlines())) == 16 + 8 + 2 + 10 + 1


def test_bars_are_those_of_float32() -> None:
    assert bar_length(0, 0, 52) == 0
    assert bar_length(1, 3, 52) == 17
    assert bar_length((1 << 24) + 4, (1 << 24) + 5, 52) == 52


def test_messages_quote_the_source() -> None:
    span = Span("a.bt", 2, 2, 2, 4, "\tä€漢")
    assert show(Message("ERROR", "wrong", span, "mend it")) == (
        "a.bt:2:2-4: ERROR: wrong\n    ä€漢\n    ~~\nHINT: mend it\n"
    )
    assert show(Message("WARNING", "all", Span("a", 1, 1, 2, 3, "x\ny"))) == "a:1-2: WARNING: all\nx\ny\n"
    assert show(Message("BUG", "no place")) == "BUG: no place\n"


def test_at_most_ten_errors_are_shown() -> None:
    text = report(Problems([Problem(f"number {i}") for i in range(14)]), [Problem("odd")])
    assert text.count("ERROR") == 10
    assert text.endswith("… 4 more\nWARNING: odd\n")


def test_progress_is_for_terminals_alone() -> None:
    """A pipe gets no control bytes, and short work shows no bar."""
    console = Console(io.BytesIO())
    with console.progress("looking", 5000) as tick:
        assert tick is None


CHART = """\
@t[a]:
             -2                                                  3
hh:mm:ss.ms  |___________________________________________________|
00:00:01.500 *                    .                              | -2
00:00:02.000 |                    .                              | -
00:00:02.500 |                   *.                              | 0
00:00:03.000 |                    .                              * 3
             v___________________________________________________v
             -2                                                  3

"""
SERIES = Series(500_000_000, {3: -2, 4: None, 5: 0, 6: 3})


@pytest.fixture()
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_series_are_charts() -> None:
    out = bytearray()
    FORMATS["text"](out.extend).write(Event("tseries", MapData("@t", True, ((b"a", SERIES),))))
    assert out.decode() == CHART


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("interval", "head", "row", "width"),
    [
        (2 * 10**9, "hh:mm:ss ", "00:00:02 ", 9),
        (10**9, "hh:mm:ss ", "00:00:01 ", 9),
        (10**7, "hh:mm:ss.ms  ", "00:00:00.010 ", 13),
        (10**4, "hh:mm:ss.μs     ", "00:00:00.000010 ", 16),
        (10, "hh:mm:ss.ns        ", "00:00:00.000000010 ", 19),
    ],
)
def test_the_time_of_an_interval_has_the_digits_it_needs(
    interval: int, head: str, row: str, width: int
) -> None:
    lines = series_lines(Series(interval, {1: 5}))
    assert lines[0].startswith(" " * width + "4 ")  # equal values widen the range by one each
    assert lines[1].startswith(head + "|_")
    assert lines[2].startswith(row + "|")
    assert lines[2].endswith("| 5")


@pytest.mark.usefixtures("utc")
def test_series_as_json_leave_out_empty_intervals() -> None:
    out = bytearray()
    FORMATS["json"](out.extend).write(Event("tseries", MapData("@t", False, ((None, SERIES),))))
    rows = json.loads(out)["data"]["@t"]
    assert [row["value"] for row in rows] == [-2, 0, 3]
    assert rows[0]["interval_start"] == "1970-01-01T00:00:01.500000000"


def test_a_series_shows_its_last_intervals() -> None:
    have = Series(10, {95: 1, 97: 2, 99: 3})
    assert window(have, 100, 4, 0).values == {97: 2, 98: None, 99: 3, 100: None}
    assert window(have, 200, 4, 0).values == {}
    assert window(have, 100, 4, 37 * 10**9 + 800).offset == 37 * 10**9
    assert newest([have, Series(10, {}), Series(10, {120: 1})]) == 120
