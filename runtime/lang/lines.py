"""Formatted lines: records of printf and its sisters to text, one by one or many at a time.

Integers go from the record to the text without a call of ours: the record's struct format cuts them to their
size, and the `%` operator of Python formats them as C does. Every other argument has a function.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from runtime.errors import Span
from runtime.events import Action, Event, Resolver, Value
from runtime.lang import formats
from runtime.lang.decode import HEADER, Decoder, Reader, Reading, decode_record, reader
from runtime.lang.layout import stored_size
from runtime.lang.types import BOOL, Int, Pointer, String, Type
from runtime.types import RECORD_HEAD, Run

BLOCK = 512  # records formatted by one `%`
MEMO = 1024  # texts remembered within one batch
# An argument of eight bytes, cut to bits: signed, unsigned.
CODES = {8: ("b7x", "B7x"), 16: ("h6x", "H6x"), 32: ("i4x", "I4x"), 64: ("q", "Q")}
Text = Callable[[bytes, Resolver], bytes]


@dataclass(frozen=True, slots=True)
class Column:
    """One argument: its struct code, its part of the template, and what makes its text if `%` does not."""

    code: str
    spec: bytes
    text: Text | None = None


class PrintfDecoder(Decoder):
    """printf, errorf, warnf: formats the arguments."""

    def __init__(
        self, name: str, parsed: formats.Format, kinds: Sequence[Type], reading: Reading, span: Span
    ) -> None:
        self.name = name
        self.span = span if name in ("errorf", "warnf") else None
        columns = [
            _column(kind, conversion, reading)
            for kind, conversion in zip(kinds, parsed.conversions, strict=True)
        ]
        pieces = [parsed.texts[0].replace(b"%", b"%%")]
        for column, text in zip(columns, parsed.texts[1:], strict=True):
            pieces += [column.spec, text.replace(b"%", b"%%")]
        self._template = b"".join(pieces)
        self._code = "".join(column.code for column in columns)
        self._texts = [column.text for column in columns]
        self._made = [(index, text) for index, text in enumerate(self._texts) if text is not None]
        self._unpack = struct.Struct(f"<{HEADER}x{self._code}").unpack_from
        self.size = HEADER + sum(stored_size(kind) for kind in kinds)

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Format the record."""
        return Event(self.name, self.text(payload, resolver), self.span)

    def text(self, payload: bytes, resolver: Resolver) -> bytes:
        """Give the formatted text."""
        values = self._unpack(payload)
        if not self._made:
            return self._template % values
        given = list(values)
        for index, text in self._made:
            given[index] = text(given[index], resolver)
        return self._template % tuple(given)

    def many(self, records: bytes, stride: int, resolver: Resolver, *, joined: bool) -> list[bytes]:
        """Format records that follow one another, each `stride` bytes with its header in the ring.

        `joined`: the texts may come in larger pieces.
        """
        row = f"{RECORD_HEAD + HEADER}x{self._code}"
        row += f"{stride - struct.calcsize('<' + row)}x"
        if joined and not self._made:
            return self._blocks(records, stride, row)
        rows = struct.iter_unpack("<" + row, records)
        if self._made:
            columns = [
                values if text is None else map(_remembering(text, resolver), values)
                for text, values in zip(self._texts, zip(*rows, strict=True), strict=True)
            ]
            return [self._template % values for values in zip(*columns, strict=True)]
        return [self._template % values for values in rows]

    def _blocks(self, records: bytes, stride: int, row: str) -> list[bytes]:
        size = stride * BLOCK
        unpack, template = _struct(row, BLOCK).unpack_from, self._template * BLOCK
        full = len(records) // size * size
        found = [template % unpack(records, at) for at in range(0, full, size)]
        rest = (len(records) - full) // stride
        return [*found, self._template * rest % _struct(row, rest).unpack_from(records, full)]


@cache
def _struct(row: str, count: int) -> struct.Struct:
    return struct.Struct("<" + row * count)


def _remembering(text: Text, resolver: Resolver) -> Callable[[bytes], bytes]:
    """Make a text function that knows what it gave before; for one batch, since names change."""
    known: dict[bytes, bytes] = {}

    def form(value: bytes) -> bytes:
        found = known.get(value)
        if found is None:
            found = text(value, resolver)
            if len(known) < MEMO:
                known[value] = found
        return found

    return form


def _column(kind: Type, conversion: formats.Conversion, reading: Reading) -> Column:
    spec = formats.integer_spec(conversion)
    if spec and (isinstance(kind, Int | Pointer) or kind == BOOL):
        return Column(CODES[conversion.bits][conversion.conv not in formats.SIGNED], spec)
    if conversion.conv == b"s" and type(kind) is Int:  # an enumeration prints names
        return Column("q" if kind.signed else "Q", _padded(conversion, b"d"))
    size = stored_size(kind)
    if conversion.conv == b"s" and isinstance(kind, String):
        gap = size - kind.size
        return Column(
            f"{kind.size}s{gap}x" if gap else f"{kind.size}s",
            _padded(conversion, b"s"),
            _cut(reading.trailer),
        )
    return Column(f"{size}s", b"%s", _general(reader(kind, reading), formats.formatter(conversion)))


def _padded(conversion: formats.Conversion, conv: bytes) -> bytes:
    left = b"-" if b"-" in conversion.flags else b""
    return b"%" + left + (b"%d" % conversion.width if conversion.width else b"") + conv


def _cut(trailer: bytes) -> Text:
    def text(value: bytes, _: Resolver) -> bytes:
        end = value.find(b"\0")
        return value[:end] if end >= 0 else value + trailer

    return text


def _general(read: Reader, form: Callable[[Value], bytes]) -> Text:
    return lambda value, resolver: form(read(value, 0, resolver))


class CommandDecoder(PrintfDecoder):
    """cat and system: the formatted text is a path or a command."""

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the action."""
        return Action(self.name, text=self.text(payload, resolver).partition(b"\0")[0])


def decode_all(
    decoders: Sequence[Decoder], items: Iterable[bytes | Run], resolver: Resolver, *, joined: bool
) -> Iterator[tuple[Event | Action, int]]:
    """Decode records of a ring in order; see `Script.decode`."""
    printers = [_printer(decoder) for decoder in decoders]
    texts: list[bytes] = []
    lines = 0
    for item in items:
        for text, count, payload in _texts(printers, item, resolver, joined=joined):
            if text is not None and joined:
                texts.append(text)
                lines += count
                continue
            if texts:
                yield Event("printf", b"".join(texts)), lines
                texts, lines = [], 0
            yield (
                (Event("printf", text) if text is not None else decode_record(decoders, payload, resolver)),
                1,
            )
    if texts:
        yield Event("printf", b"".join(texts)), lines


def _printer(decoder: Decoder) -> PrintfDecoder | None:
    """The decoder, if it is one that makes a line of data."""
    return decoder if type(decoder) is PrintfDecoder and decoder.name == "printf" else None


def _texts(
    printers: Sequence[PrintfDecoder | None], item: bytes | Run, resolver: Resolver, *, joined: bool
) -> Iterable[tuple[bytes | None, int, bytes]]:
    """Text and number of lines; where the record prints none, its payload."""
    if isinstance(item, Run):
        return _run(printers, item, resolver, joined=joined)
    number = item[0] | item[1] << 8 if len(item) >= HEADER else len(printers)
    printer = printers[number] if number < len(printers) else None
    if printer is None or len(item) < printer.size:
        return ((None, 1, item),)
    return ((printer.text(item, resolver), 1, item),)


def _run(
    printers: Sequence[PrintfDecoder | None], run: Run, resolver: Resolver, *, joined: bool
) -> Iterator[tuple[bytes | None, int, bytes]]:
    for number, start, count in _kinds(run):
        data = run.data[start : start + count * run.stride]
        printer = printers[number] if number < len(printers) else None
        if printer is None or run.size < printer.size:
            yield from (
                (None, 1, data[at : at + run.size]) for at in range(RECORD_HEAD, len(data), run.stride)
            )
            continue
        texts = printer.many(data, run.stride, resolver, joined=joined)
        if joined:
            yield b"".join(texts), count, b""
        else:
            yield from ((text, 1, b"") for text in texts)


def _kinds(run: Run) -> Iterator[tuple[int, int, int]]:
    """Split a run where the kind of record changes: number of the event, offset and how many."""
    words = memoryview(run.data)[: len(run.data) & ~7].cast("Q")
    first, step = (run.start + RECORD_HEAD) // 8, run.stride // 8
    heads = words[first : first + run.count * step : step].tolist()
    if heads.count(heads[0]) == len(heads):
        yield heads[0] & 0xFFFF, run.start, run.count
        return
    start = run.start
    for head, group in groupby(heads):
        count = len(list(group))
        yield head & 0xFFFF, start, count
        start += count * run.stride
