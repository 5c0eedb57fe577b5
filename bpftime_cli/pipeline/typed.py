"""Keys, values and records of objects as Python values and back: by BTF where there is some, else numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from runtime.btf.render import number_text, value_of
from runtime.btf.types import SIGNED, Btf, Kind, Type
from runtime.errors import Problem
from runtime.events import Event, MapData, Value, text_of
from runtime.maps.layout import ARRAYS, PER_CPU, up
from runtime.maps.reader import MapView
from runtime.maps.spec import MapKind, MapSpec

TEXT_EVENT = 0xFF10  # runtime/agent/format.c: a line of trace_printk
TEXT_HEAD = struct.Struct("<HHI")
EVENTS = ".events"


def is_section(spec: MapSpec) -> bool:
    """Return whether a map holds global variables."""
    return spec.kind == MapKind.ARRAY and spec.max_entries == 1 and spec.name.startswith((".", "$"))


def map_event(name: str, view: MapView, btf: Btf | None, key: bytes | None = None) -> Event:
    """Return a map's contents, or one entry, as an event; of longer arrays without what is all zero.

    Raises:
        Problem: there is no such key.
    """
    spec = view.spec
    items: Iterable[tuple[bytes, bytes]] = view.items() if key is None else _entry(view, btf, key)
    if key is None and spec.kind in ARRAYS and spec.max_entries > 1:
        items = [(k, value) for k, value in items if any(value)]
    rows = tuple((_key(spec, btf, k), _values(spec, btf, value)) for k, value in items)
    if is_section(spec):
        return Event("map", MapData(name, False, ((None, rows[0][1]),)))
    return Event("map", MapData(name, True, tuple(sorted(rows, key=_order))))


def _entry(view: MapView, btf: Btf | None, key: bytes) -> list[tuple[bytes, bytes]]:
    value = view.get(key)
    if value is None:
        text = text_of(_key(view.spec, btf, key)).decode("utf-8", "replace")
        raise Problem(
            f"map '{view.spec.name}' has no key {text}", hint=f"bpftime maps {view.spec.name} shows all"
        )
    return [(key, value)]


def _order(row: tuple[Value, Value]) -> tuple[bool, int, str]:
    key = row[0]
    return (not isinstance(key, int), key if isinstance(key, int) else 0, str(key))


def _key(spec: MapSpec, btf: Btf | None, key: bytes) -> Value:
    return typed(btf, spec.key_type, key)


def _values(spec: MapSpec, btf: Btf | None, value: bytes) -> Value:
    if spec.kind not in PER_CPU:
        return typed(btf, spec.value_type, value[: spec.value_size])
    step = up(spec.value_size, 8)
    return [
        typed(btf, spec.value_type, value[at : at + spec.value_size]) for at in range(0, len(value), step)
    ]


def typed(btf: Btf | None, number: int, data: bytes) -> Value:
    """Return bytes as the value of a BTF type; without one a number where the size is a word's, else hex."""
    if btf is not None and number:
        return _plain(value_of(btf, number, data))
    text = number_text(data)
    return int(text) if len(data) in (1, 2, 4, 8) else text


def _plain(value: object) -> Value:
    if isinstance(value, float):
        return str(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | str) else None


class Records:
    """Decodes the records of one ring: by the named struct, by the map's value type, or by the size."""

    def __init__(self, spec: MapSpec, btf: Btf | None, struct_name: str = "") -> None:
        self._spec, self._btf = spec, btf
        self._type = spec.value_type
        self._by_size: dict[int, int] = {}
        if struct_name:
            self._type = _named(btf, struct_name)
        elif btf is not None and not self._type:
            self._by_size = _structs_by_size(btf)

    def event(self, payload: bytes) -> Event:
        """Return one record as an event."""
        if self._spec.name == EVENTS:
            return _text_line(payload)
        if self._spec.kind == MapKind.PERF_EVENT_ARRAY and len(payload) >= 8:
            size = min(int.from_bytes(payload[4:8], "little"), len(payload) - 8)
            payload = payload[8 : 8 + size]
        number = self._type or self._by_size.get(len(payload), 0)
        if number and self._btf is not None:
            return Event("value", typed(self._btf, number, payload))
        return Event("value", payload.hex())


def _text_line(payload: bytes) -> Event:
    if len(payload) < TEXT_HEAD.size:
        return Event("value", payload.hex())
    kind, _, size = TEXT_HEAD.unpack_from(payload)
    text = payload[TEXT_HEAD.size : TEXT_HEAD.size + size]
    if kind != TEXT_EVENT:
        return Event("value", payload.hex())
    return Event("printf", text if text.endswith(b"\n") else text + b"\n")


def _named(btf: Btf | None, name: str) -> int:
    found = (
        btf.find(name.removeprefix("struct ").strip(), Kind.STRUCT, Kind.UNION) if btf is not None else None
    )
    if found is None:
        raise Problem(
            f"the object has no struct '{name}'", hint="compile with -g; name a struct that it declares"
        )
    return found.id


def _structs_by_size(btf: Btf) -> dict[int, int]:
    """Return the struct of each size that only one named struct has."""
    found: dict[int, list[int]] = {}
    for shape in btf.all_types(Kind.STRUCT):
        if shape.name and shape.size:
            found.setdefault(shape.size, []).append(shape.id)
    return {size: numbers[0] for size, numbers in found.items() if len(numbers) == 1}


# --- from text to bytes


def encode(btf: Btf | None, number: int, size: int, text: str) -> bytes:
    """Return `size` bytes for what the user wrote: a number, text for a char array, or `hex:…`.

    Raises:
        Problem: it does not fit.
    """
    if text.startswith("hex:"):
        return _hex(text[4:], size)
    shape = btf.resolve(number) if btf is not None and number else None
    if shape is not None and shape.kind is Kind.ARRAY and not _is_number(text):
        raw = text.encode("utf-8", "surrogateescape")
        if len(raw) > size:
            raise Problem(f"'{text}' is longer than the {size} bytes there")
        return raw.ljust(size, b"\0")
    value = _enumerator(shape, text)
    return _integer(value if value is not None else _number(text), size, text, _is_signed(shape))


def _hex(text: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise Problem(f"not hex: '{text}'", hint="two digits a byte") from None
    if len(raw) != size:
        raise Problem(f"{size} bytes are needed, '{text}' has {len(raw)}")
    return raw


def _is_number(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


def _number(text: str) -> int:
    if text in ("true", "false"):
        return int(text == "true")
    try:
        return int(text, 0)
    except ValueError:
        raise Problem(
            f"not a number: '{text}'", hint="write a number, an enumerator, or hex:… for raw bytes"
        ) from None


def _enumerator(shape: Type | None, text: str) -> int | None:
    if shape is None or shape.kind not in (Kind.ENUM, Kind.ENUM64):
        return None
    return next((m.value for m in shape.members if m.name == text), None)


def _is_signed(shape: Type | None) -> bool:
    return shape is None or (shape.kind is Kind.INT and bool(shape.encoding & SIGNED))


def _integer(value: int, size: int, text: str, signed: bool) -> bytes:
    if size not in (1, 2, 4, 8):
        raise Problem(f"a number does not fill {size} bytes", hint="write hex:… with all bytes")
    if not -(1 << 8 * size - 1) <= value < 1 << 8 * size or (value < 0 and not signed):
        raise Problem(f"{text} does not fit into {size} bytes{'' if signed else ' without a sign'}")
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")
