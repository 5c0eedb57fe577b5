"""Ring records and map contents back to Python values and events.

`reader` makes a function per type once; decoding then is a few calls a value. Bytes come from memory that
targets can write: short or absurd ones give a `Problem`, never another error.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.errors import Problem, Span
from runtime.events import Action, Buffer, Event, Failure, Pointer, Resolver, Value, Variant, text_of
from runtime.lang import types as t
from runtime.lang.c.types import Enum, Field, FunctionType, Opaque, Struct
from runtime.lang.layout import stored_size
from runtime.lang.printed import CgroupPath, CudaKernel, KernelSymbol
from runtime.lang.stacktext import read_stack
from runtime.lang.states import aggregate_reader

HEADER = 8  # bytes before the arguments of a record
MOST_ERRNO = 4095
PREFIX = struct.Struct("<HHI")
Reader = Callable[[bytes, int, Resolver], Value]

_SIGNED = {1: struct.Struct("<b"), 2: struct.Struct("<h"), 4: struct.Struct("<i"), 8: struct.Struct("<q")}
_UNSIGNED = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}
_PAIR = struct.Struct("<QI")
FEW = 4  # integers that are not worth a reader of their own


@dataclass(frozen=True, slots=True)
class Reading:
    """What readers need beside the bytes: strftime formats, and what marks a string that was cut."""

    formats: Sequence[str]
    trailer: bytes


def reader(kind: t.Type, reading: Reading, *, whole: bool = True) -> Reader:
    """Make the function that reads a type; `whole`: words take eight bytes."""
    if isinstance(kind, Enum):
        return _enum_reader(kind, whole)
    if kind.word:
        return _word_reader(kind, whole)
    if isinstance(kind, t.Tuple):
        return _tuple_reader(kind, reading)
    return READERS[type(kind)](kind, reading)


def _enum_reader(kind: Enum, whole: bool) -> Reader:
    names = {number: name for name, number in reversed(kind.variants)}
    unpack = (_SIGNED if kind.signed else _UNSIGNED)[8 if whole else kind.size].unpack_from

    def read(data: bytes, at: int, _: Resolver) -> Value:
        (number,) = unpack(data, at)
        return Variant(number, names.get(number, ""))

    return read


RESOLVED: dict[type[t.Type], str] = {
    KernelSymbol: "kernel_symbol",
    CudaKernel: "cuda_kernel",
}  # type → method of the resolver


def _word_reader(kind: t.Type, whole: bool) -> Reader:
    size = 8 if whole else kind.size
    signed = isinstance(kind, t.Int) and kind.signed
    unpack = (_SIGNED if signed else _UNSIGNED)[size].unpack_from
    if isinstance(kind, t.Int):
        return lambda data, at, _: int(unpack(data, at)[0])
    if isinstance(kind, t.Bool):
        return lambda data, at, _: bool(unpack(data, at)[0])
    if isinstance(kind, t.Pointer):
        return lambda data, at, _: Pointer(unpack(data, at)[0])
    if isinstance(kind, t.Username):
        return lambda data, at, resolver: resolver.username(unpack(data, at)[0])
    name = RESOLVED.get(type(kind), "probe_name")
    return lambda data, at, resolver: getattr(resolver, name)(unpack(data, at)[0])


def _tuple_reader(kind: t.Tuple, reading: Reading) -> Reader:
    parts = [
        (offset, reader(item, reading, whole=False))
        for offset, item in zip(kind.offsets, kind.items, strict=True)
    ]
    if not kind.names and (fast := _numbers_reader(kind, parts)):
        return fast
    if not kind.names:
        return lambda data, at, resolver: tuple(read(data, at + offset, resolver) for offset, read in parts)
    named = list(zip(kind.names, parts, strict=True))
    return lambda data, at, resolver: {
        name: read(data, at + offset, resolver) for name, (offset, read) in named
    }


def _numbers_reader(kind: t.Tuple, parts: list[tuple[int, Reader]]) -> Reader | None:
    """Make a reader that takes the leading integers of a tuple at once; None where there are few."""
    count = next((n for n, item in enumerate(kind.items) if type(item) is not t.Int), len(kind.items))
    if count < FEW:
        return None
    form, end = "<", 0
    for item, offset in zip(kind.items[:count], kind.offsets, strict=False):
        assert isinstance(item, t.Int)
        letter = "bhiq"[item.bytes.bit_length() - 1]
        form += f"{offset - end}x{letter if item.signed else letter.upper()}"
        end = offset + item.bytes
    unpack, rest = struct.Struct(form).unpack_from, parts[count:]
    if not rest:
        return lambda data, at, _: unpack(data, at)
    return lambda data, at, resolver: (
        *unpack(data, at), *(read(data, at + offset, resolver) for offset, read in rest)
    )  # fmt: skip


def _string_reader(kind: t.Type, reading: Reading) -> Reader:
    size, trailer = kind.size, reading.trailer

    def read(data: bytes, at: int, _: Resolver) -> Value:
        text = data[at : at + size]
        end = text.find(b"\0")
        return text[:end] if end >= 0 else text + trailer

    return read


def _buffer_reader(kind: t.Type, _: Reading) -> Reader:
    most, length = kind.size - 4, _UNSIGNED[4].unpack_from
    return lambda data, at, _: Buffer(data[at + 4 : at + 4 + min(most, length(data, at)[0])])


def _array_reader(kind: t.Type, reading: Reading) -> Reader:
    assert isinstance(kind, t.Array)
    read, size, count = reader(kind.element, reading, whole=False), kind.element.size, kind.count
    return lambda data, at, resolver: [read(data, at + i * size, resolver) for i in range(count)]


def _struct_reader(kind: t.Type, reading: Reading) -> Reader:
    assert isinstance(kind, Struct)
    parts = [(field.name, _field_reader(field, reading)) for field in kind.fields.values()]
    return lambda data, at, resolver: {name: read(data, at, resolver) for name, read in parts}


def _field_reader(field: Field, reading: Reading) -> Reader:
    if not field.bits:
        read, offset = reader(field.type, reading, whole=False), field.offset
        return lambda data, at, resolver: read(data, at + offset, resolver)
    first, last = field.bit // 8, (field.bit + field.bits + 7) // 8
    shift, mask = field.bit - 8 * first, (1 << field.bits) - 1
    sign = 1 << (field.bits - 1) if isinstance(field.type, t.Int) and field.type.signed else 0
    whole = reader(field.type, reading)

    def read_bits(data: bytes, at: int, resolver: Resolver) -> Value:
        number = int.from_bytes(data[at + first : at + last], "little") >> shift & mask
        number = (number ^ sign) - sign if sign else number
        return whole((number & (1 << 64) - 1).to_bytes(8, "little"), 0, resolver)

    return read_bits


def _symbol_reader(_: t.Type, __: Reading) -> Reader:
    def read(data: bytes, at: int, resolver: Resolver) -> Value:
        address, pid = _PAIR.unpack_from(data, at)
        return resolver.symbol(pid, address)

    return read


def _stack_reader(kind: t.Type, _: Reading) -> Reader:
    assert isinstance(kind, t.Stack)
    return lambda data, at, resolver: read_stack(kind, data, at, resolver)


def _timestamp_reader(_: t.Type, reading: Reading) -> Reader:
    def read(data: bytes, at: int, __: Resolver) -> Value:
        number, is_tai, ns = struct.unpack_from("<IIQ", data, at)
        clock = time.CLOCK_TAI if is_tai else time.CLOCK_BOOTTIME
        return timestamp(reading.formats[number], ns, clock) if number < len(reading.formats) else "(?)"

    return read


def _inet_reader(_: t.Type, __: Reading) -> Reader:
    import socket  # lazy: few scripts print addresses

    def read(data: bytes, at: int, _: Resolver) -> Value:
        if _UNSIGNED[8].unpack_from(data, at)[0] == socket.AF_INET6:
            return socket.inet_ntop(socket.AF_INET6, data[at + 8 : at + 24])
        return ".".join(map(str, data[at + 8 : at + 12]))

    return read


def _cgroup_reader(_: t.Type, reading: Reading) -> Reader:
    def read(data: bytes, at: int, resolver: Resolver) -> Value:
        number, _zero, group = struct.unpack_from("<IIQ", data, at)
        return resolver.cgroup_path(group, reading.formats[number] if number < len(reading.formats) else "*")

    return read


def _mac_reader(_: t.Type, __: Reading) -> Reader:
    return lambda data, at, _: data[at : at + 6].hex(":").upper()


def _nothing_reader(_: t.Type, __: Reading) -> Reader:
    return lambda _data, _at, _resolver: None


def _aggregate_reader(kind: t.Type, _: Reading) -> Reader:
    assert isinstance(kind, t.Aggregate)
    return aggregate_reader(kind)


READERS: dict[type[t.Type], Callable[[t.Type, Reading], Reader]] = {
    t.String: _string_reader,
    t.Buffer: _buffer_reader,
    t.Array: _array_reader,
    t.Symbol: _symbol_reader,
    t.Stack: _stack_reader,
    t.Timestamp: _timestamp_reader,
    t.Inet: _inet_reader,
    t.Mac: _mac_reader,
    t.Aggregate: _aggregate_reader,
    CgroupPath: _cgroup_reader,
    t.Named: _nothing_reader,
    Struct: _struct_reader,
    Opaque: _nothing_reader,
    FunctionType: _nothing_reader,
}


def timestamp(text: str, moment: int, clock: int = time.CLOCK_BOOTTIME) -> str:
    """Format a moment of a clock as local wall-clock time; `%f`, `%k`, `%l` are µs, ns and ms digits."""
    if moment == 0:
        return "(?)"
    seconds, ns = divmod(moment + since_epoch(clock), 10**9)
    for mark, digits in (("%f", f"{ns // 1000:06}"), ("%k", f"{ns:09}"), ("%l", f"{ns // 10**6:03}")):
        text = text.replace(mark, digits)
    return strftime(text, seconds)


def since_epoch(clock: int) -> int:
    """Give what has to be added to a clock's time to get the wall clock's, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(clock)


def strftime(text: str, seconds: float) -> str:
    """Format local time; a format that the C library refuses is printed as it stands."""
    try:
        return time.strftime(text, time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return text


# Decoders of ring records: one a place in the script that sends


class Decoder:
    """Turns one kind of record into an event or an action. `size`: bytes that a payload has at least."""

    size = HEADER

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Decode a payload of at least `size` bytes."""
        raise Problem(f"a record of {len(payload)} bytes has no decoder ({resolver})")


class JoinDecoder(Decoder):
    """join: the program has put the strings together."""

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the text."""
        del resolver
        return Event("join", payload[HEADER:])


class FailureDecoder(Decoder):
    """A run-time warning; without a text of its own it is the error number's."""

    size = HEADER + 8

    def __init__(self, text: str, helper: str, span: Span) -> None:
        self.what, self.helper, self.span = text, helper, span

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the failure."""
        del resolver
        result = _SIGNED[8].unpack_from(payload, HEADER)[0]
        text = self.what or os.strerror(min(abs(result), MOST_ERRNO))
        kind = "helper_error" if self.helper else "runtime_error"
        return Event(kind, Failure(text, self.helper, result), self.span)


class ValueDecoder(Decoder):
    """print(value)."""

    def __init__(self, kind: t.Type, reading: Reading) -> None:
        self._made_of = kind, reading
        self.read = reader(kind, reading)
        self.size = HEADER + stored_size(kind)

    def __reduce__(self) -> tuple[type[ValueDecoder], tuple[t.Type, Reading]]:
        return ValueDecoder, self._made_of

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Read the value."""
        return Event("value", self.read(payload, HEADER, resolver))


class TimeDecoder(Decoder):
    """time(): the wall clock when the record is decoded."""

    def __init__(self, text: str) -> None:
        self.text = text

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Format the time of now."""
        del payload, resolver
        return Event("time", text_of(strftime(self.text, time.time())))


class MapAction(Decoder):
    """print, clear, zero of a whole map."""

    def __init__(self, what: str, name: str, top: int = 0, div: int = 0) -> None:
        self.action = Action(what, name, top, div)

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the action."""
        del payload, resolver
        return self.action


class ExitAction(Decoder):
    """exit([code])."""

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the action with the code of the record."""
        del resolver
        return Action("exit", code=payload[HEADER] if len(payload) > HEADER else 0)


class UnwatchAction(Decoder):
    """unwatch(address)."""

    size = HEADER + 8

    def decode(self, payload: bytes, resolver: Resolver) -> Event | Action:
        """Give the action with the address."""
        del resolver
        return Action("unwatch", address=_UNSIGNED[8].unpack_from(payload, HEADER)[0])


def decode_record(decoders: Sequence[Decoder], payload: bytes, resolver: Resolver) -> Event | Action:
    """Decode one ring record of a script.

    Raises:
        Problem: the record names no event of the script or is too short for it.
    """
    number = PREFIX.unpack_from(payload)[0] if len(payload) >= HEADER else -1
    if not 0 <= number < len(decoders):
        raise Problem(f"the ring holds a record of unknown kind {number}")
    decoder = decoders[number]
    if len(payload) < decoder.size:
        raise Problem(f"the ring holds a record of {len(payload)} bytes where {decoder.size} are needed")
    return decoder.decode(payload, resolver)
