"""bpftrace's text output, byte for byte: printf text as it is, maps, values and histograms."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from bpftime_cli.messages import Message, expansions, show
from bpftime_cli.render.base import Renderer, Style
from bpftime_cli.render.series import series_lines
from runtime.events import Bucket, Event, Failure, Histogram, MapData, Series, Value, key_text, text_of

LABEL, COUNT = 16, 8  # columns
EXACT = 1 << 24  # counts up to here are exact in the reference's float32
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
TEXT_TYPES = ("printf", "time", "cat")


class Text(Renderer):
    """The default format."""

    joins = True

    def write(self, event: Event) -> None:
        """Write one event."""
        if event.type in TEXT_TYPES:
            self.sink(self._clean(_bytes(event.data)))
        elif isinstance(event.data, MapData):
            self.sink(self._map(event.data))
        elif event.type in FORMS:
            to_talk, form = FORMS[event.type]
            (self.talk if to_talk else self.sink)(self._clean(form(event)))
        elif not isinstance(event.data, Failure):
            self.sink(self._value(event.data) + b"\n")

    def _clean(self, text: bytes) -> bytes:
        if not self.style.sanitise:
            return text
        return CONTROL.sub(lambda found: b"\\x%02x" % found[0][0], text)

    def _value(self, value: Value) -> bytes:
        if isinstance(value, Histogram):
            return b"".join(histogram_lines(value, self.style))
        if isinstance(value, Series):
            return "".join(line + "\n" for line in series_lines(value)).encode()
        return self._clean(text_of(value))

    def _map(self, data: MapData) -> bytes:
        style = self.style
        name = style.name + data.name.encode() + style.reset
        lines: list[bytes] = []
        before, after = name + b"[" + style.key, style.reset + b"]"
        for key, value in data.rows:
            head = before + self._clean(key_text(key, b", ")) + after if data.keyed else name
            if type(value) is int:
                lines.append(b"%b: %d\n" % (head, value))
            elif isinstance(value, Histogram | Series):
                lines += [head, b":\n", self._value(value), b"\n"]
            else:
                lines += [head, b": ", self._value(value), b"\n"]
        return b"".join(lines)


def _bytes(data: Value | MapData | Failure) -> bytes:
    return data if isinstance(data, bytes) else b""


def _message(level: bytes) -> Callable[[Event], bytes]:
    def form(event: Event) -> bytes:
        place = f"{event.span}: ".encode() if event.span else b""
        text = _bytes(event.data)
        end = b"" if text.endswith(b"\n") else b"\n"
        used = expansions(event.span, level.decode()).encode("utf-8", "surrogateescape")
        return place + level + b": " + text + end + used

    return form


def _failure(event: Event) -> bytes:
    failure = event.data
    assert isinstance(failure, Failure)
    text = show(Message("WARNING", failure.text, event.span))
    if failure.helper:
        text += f"Additional Info - helper: {failure.helper}, retcode: {failure.result}\n"
    return text.encode("utf-8", "surrogateescape")


def _attached(event: Event) -> bytes:
    return b"Attached %d probe%s\n" % (_int(event.data), b"" if event.data == 1 else b"s")


def _lost(event: Event) -> bytes:
    return b"Lost %d events\n" % _int(event.data)


def _join(event: Event) -> bytes:
    return _bytes(event.data) + b"\n"


def _tests(event: Event) -> bytes:
    verdicts = {True: b"passed", False: b"FAILED"}
    lines = (
        b"%s: %s (%s ns)\n" % (name, verdicts[bool(row["passed"])], text_of(row["duration"]))
        for name, row in _rows(event)
    )
    return b"".join(lines)


def _benches(event: Event) -> bytes:
    lines = (
        b"%s: %s ns, %s iterations\n" % (name, text_of(row["average"]), text_of(row["iters"]))
        for name, row in _rows(event)
    )
    return b"".join(lines)


def _rows(event: Event) -> list[tuple[bytes, dict[str, Value]]]:
    data = event.data if isinstance(event.data, dict) else {}
    return [(name.encode(), row) for name, row in data.items() if isinstance(row, dict)]


def _int(data: Value | MapData | Failure) -> int:
    return data if isinstance(data, int) else 0


FORMS: dict[str, tuple[bool, Callable[[Event], bytes]]] = {  # type → (to stderr, text)
    "attached_probes": (True, _attached),
    "lost_events": (True, _lost),
    "errorf": (True, _message(b"ERROR")),
    "warnf": (True, _message(b"WARNING")),
    "runtime_error": (True, _failure),
    "helper_error": (True, _failure),
    "debugf": (True, lambda event: _bytes(event.data)),
    "join": (False, _join),
    "syscall": (False, _join),
    "test_result": (False, _tests),
    "benchmark_result": (False, _benches),
}


def histogram_lines(value: Histogram, style: Style) -> list[bytes]:
    """Rows of a histogram, each with its newline."""
    most = max((bucket.count for bucket in value.buckets), default=0)
    return [_row(bucket, most, style) for bucket in value.buckets]


def _row(bucket: Bucket, most: int, style: Style) -> bytes:
    bar = b"@" * bar_length(bucket.count, most, style.bar)
    shown = style.bars + bar + style.reset + b" " * (style.bar - len(bar))
    return b"%-*s%*d |%s|\n" % (LABEL, bucket.label.encode(), COUNT, bucket.count, shown)


def bar_length(count: int, most: int, width: int) -> int:
    """Columns of a bar: the reference computes in float32, which integers equal up to 2^24."""
    if most <= 0:
        return 0
    if most <= EXACT:
        return count * width // most
    return int(_float32(_float32(_float32(count) / _float32(most)) * width))


def _float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", float(value)))[0]
    return rounded
