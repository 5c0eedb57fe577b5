"""What a renderer gets: events with decoded values, and actions that the pipeline carries out.

Values are plain Python where Python has the type (int, bool, None, bytes for strings, tuple, list, dict for
records and structs) and small classes where text and JSON need to know more. `text_of` is the default text
form of any value (`print`, `%s`, map values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Union

from runtime.errors import Span
from runtime.types import Location


class Pointer(int):
    """An address: `0x…` as text, a number in JSON."""

    __slots__ = ()


class Variant(int):
    """A value of an enumeration; `name` is empty when the number has none."""

    name: str

    def __new__(cls, value: int, name: str = "") -> Variant:
        """Make the value with its name."""
        self = super().__new__(cls, value)
        self.name = name
        return self


class Buffer(bytes):
    """Raw bytes: escaped as text, an array of signed bytes in JSON."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """One row of a histogram. `least` and `most` are inclusive, None where the interval is open."""

    least: int | None
    most: int | None
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """All buckets from the first to the last one that is not empty."""

    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """What `stats()` keeps; the average is truncated toward zero."""

    count: int
    average: int
    total: int


@dataclass(frozen=True, slots=True)
class Series:
    """Values by the number of their interval (of `interval` ns, since the start of TAI); None: there is none.

    `offset`: from the start of an interval in TAI to the wall clock, in ns.
    """

    interval: int
    values: dict[int, int | None]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in a program; `result` is that of the helper to blame, which is empty for none."""

    text: str
    helper: str = ""
    result: int = 0


# `str` is text that was resolved by the tracer (symbols, times); `bytes` came from the target.
Value = Union[
    int, bytes, str, None, "tuple[Value, ...]", "list[Value]", "dict[str, Value]", Histogram, Stats, Series
]  # bool, Pointer, Variant are ints; Buffer is bytes


@dataclass(frozen=True, slots=True)
class MapData:
    """A map to print: `rows` are key and value in printing order; without keys there is one row, key None."""

    name: str
    keyed: bool
    rows: tuple[tuple[Value, Value], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to print. `type` is a type name of the JSON format (`printf`, `value`, `map`, `hist` …).

    `data`: bytes for printf and its like, `MapData` for map, hist, stats, tseries, `Failure` for run-time
    warnings, else a value. The last
    four are 0 or None unless the record was stamped.
    """

    type: str
    data: Value | MapData | Failure
    span: Span | None = None
    probe: str = ""
    pid: int = 0
    tid: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    """Something the pipeline does at this point of the event stream.

    `what`: `print`, `clear`, `zero` (with `map`), `cat`, `system` (with `text`), `exit` (with `code`),
    `unwatch` (with `address`). `top` and `div` are print's.
    """

    what: str
    map: str = ""
    top: int = 0
    div: int = 0
    code: int = 0
    text: bytes = b""
    address: int = 0


class Resolver(Protocol):
    """What decoding needs to know about the traced processes; the pipeline has it."""

    def probe_name(self, cookie: int) -> str:
        """Name of the probe with an attach cookie."""

    def symbol(self, pid: int, address: int) -> str:
        """Name of the function at an address, `0x…` if unknown."""

    def locate(self, pid: int, address: int) -> Location | None:
        """What lies at an address, None where nothing is known."""

    def source(self, pid: int, address: int) -> str:
        """`FILE:LINE` of an address, empty if unknown or not wanted."""

    def username(self, uid: int) -> str:
        """Name of a user, the number if unknown."""

    def kernel_symbol(self, address: int) -> str:
        """Name of the kernel's function at an address, `0x…` if unknown."""

    def cuda_kernel(self, number: int) -> str:
        """Name of the CUDA kernel with a number in the session."""

    def cgroup_path(self, group: int, pattern: str) -> str:
        """`HIERARCHY:/path` of a control group in each hierarchy that matches a pattern, joined by commas."""


def text_of(value: Value) -> bytes:
    """Default text of a value."""
    if type(value) is int:
        return b"%d" % value
    if isinstance(value, bytes):
        return _escape(value) if isinstance(value, Buffer) else value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, tuple):
        return b"(" + b", ".join(map(text_of, value)) + b")"
    return _composite(value)


def _composite(value: Value) -> bytes:
    if isinstance(value, list):
        return b"[" + b",".join(map(text_of, value)) + b"]"
    if isinstance(value, Stats):
        value = {"count": value.count, "average": value.average, "total": value.total}
    if isinstance(value, dict):
        if not value:
            return b"{}"
        return b"{ " + b", ".join(b".%s = %s" % (k.encode(), text_of(v)) for k, v in value.items()) + b" }"
    return b"null" if value is None else b"<histogram>"


def _number(value: int) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, Pointer):
        return b"0x%x" % value
    if isinstance(value, Variant) and value.name:
        return value.name.encode()
    return b"%d" % value


def _escape(data: bytes) -> bytes:
    return b"".join(b"%c" % byte if 32 <= byte <= 126 else b"\\x%02x" % byte for byte in data)


def key_text(key: Value, separator: bytes) -> bytes:
    """Text of a map key: the outer parentheses of a tuple are dropped."""
    if isinstance(key, tuple):
        return separator.join(map(text_of, key))
    return text_of(key)
