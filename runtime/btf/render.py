"""Values by their types: Python values for JSON, and the C-like text of `maps dump` and `snprintf_btf`.

Text: integers by size and sign, `char[N]` as a string when printable, enums by name, pointers as hex, arrays
without their trailing zeros, structs without their zero members unless `full`.
"""

from __future__ import annotations

import struct

from runtime.btf.types import BOOL, CHAR, COMPOSITE, MAX_DEPTH, SIGNED, Btf, Kind, Member, Type
from runtime.errors import ObjectProblem

Plain = int | float | bool | str | list["Plain"] | dict[str, "Plain"]
MAX_PARTS = 1 << 20  # values inside of one value
MAX_PADDING = 1 << 16  # bytes that a value may be short of its type
_FLOATS = {4: "<f", 8: "<d"}


def value_of(btf: Btf, number: int, data: bytes) -> Plain:
    """The value of a type in `data`: numbers, booleans, strings, lists and dictionaries.

    Bytes that no type explains become a hex string. Short data reads as if zeros followed.
    """
    try:
        return _value(_Walk(btf), number, _padded(btf, number, data), 0)
    except ObjectProblem:
        return data.hex()


def text_of(btf: Btf, number: int, data: bytes, *, full: bool = False) -> str:
    """The value as text on one line; `full` shows zero members too."""
    try:
        return _text(_Walk(btf), number, _padded(btf, number, data), 0, full)
    except ObjectProblem:
        return data.hex()


class _Walk:
    """One value on its way: hostile types may not make it endless."""

    __slots__ = ("btf", "left")

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.left = MAX_PARTS


def _padded(btf: Btf, number: int, data: bytes) -> bytes:
    size = btf.size_of(number)
    if size > len(data) + MAX_PADDING:
        raise btf.problem(f"type {number} has {size} bytes, the value {len(data)}")
    return data.ljust(size, b"\0")


def number_text(data: bytes) -> str:
    """A key or value without type: an unsigned number when it has 1, 2, 4 or 8 bytes, else hex."""
    return str(int.from_bytes(data, "little")) if len(data) in (1, 2, 4, 8) else data.hex()


def _value(walk: _Walk, number: int, data: bytes, depth: int) -> Plain:
    found = _known(walk, number, depth)
    if found.kind in COMPOSITE:
        out: dict[str, Plain] = {}
        for index, member in enumerate(found.members):
            value = _member_value(walk, member, data, depth)
            if not member.name and isinstance(value, dict):
                out.update(value)
            else:
                out[member.name or f"_{index}"] = value
        return out
    if found.kind is Kind.ARRAY:
        if _is_text(walk.btf, found):
            return _string(data)
        size = walk.btf.size_of(found.to)
        return [_value(walk, found.to, data[at : at + size], depth + 1) for at in _starts(data, size)]
    if found.kind is Kind.DATASEC:
        variables = [(walk.btf.type(m.type), data[m.offset // 8 :][: m.value]) for m in found.members]
        return {variable.name: _value(walk, variable.to, part, depth + 1) for variable, part in variables}
    return _scalar(found, data)


def _known(walk: _Walk, number: int, depth: int) -> Type:
    walk.left -= 1
    if depth > MAX_DEPTH or walk.left < 0:
        raise walk.btf.problem(f"type {number} nests deeper than {MAX_DEPTH}, or has too many parts")
    return walk.btf.resolve(number)


def _starts(data: bytes, size: int) -> range:
    return range(0, len(data) - size + 1, size) if size else range(0)


def _member_value(walk: _Walk, member: Member, data: bytes, depth: int) -> Plain:
    if member.bits:
        return _bit_field(walk.btf, member, data)
    at = member.offset // 8
    return _value(walk, member.type, data[at : at + walk.btf.size_of(member.type)], depth + 1)


def _bit_field(btf: Btf, member: Member, data: bytes) -> Plain:
    found = btf.resolve(member.type)
    raw = int.from_bytes(data[member.offset // 8 :][:16], "little") >> member.offset % 8
    raw &= (1 << member.bits) - 1
    if found.kind is Kind.INT and found.encoding & SIGNED and raw >> (member.bits - 1):
        raw -= 1 << member.bits
    if found.kind in (Kind.ENUM, Kind.ENUM64):
        return _enum(found, raw)
    return bool(raw) if found.encoding & BOOL else raw


def _scalar(found: Type, data: bytes) -> Plain:
    if found.kind is Kind.INT:
        number = int.from_bytes(data, "little", signed=bool(found.encoding & SIGNED))
        return bool(number) if found.encoding & BOOL else number
    if found.kind is Kind.FLOAT and len(data) in _FLOATS:
        return float(struct.unpack(_FLOATS[len(data)], data)[0])
    if found.kind in (Kind.ENUM, Kind.ENUM64):
        return _enum(found, int.from_bytes(data, "little"))
    return int.from_bytes(data, "little") if found.kind is Kind.PTR else data.hex()


def _enum(found: Type, raw: int) -> str | int:
    """The enumerator's name, a combination of flags, or the number."""
    limit = (1 << 8 * max(found.size, 1)) - 1
    for member in found.members:
        if member.value & limit == raw:
            return member.name
    flags = [
        member for member in found.members if member.value > 0 and member.value & (member.value - 1) == 0
    ]
    names = [member.name for member in flags if raw & member.value]
    if raw and len(flags) == len(found.members) and not raw & ~sum(member.value for member in flags):
        return "|".join(names)
    return raw


def _is_text(btf: Btf, array: Type) -> bool:
    element = btf.resolve(array.to)
    is_char = element.kind is Kind.INT and element.size == 1
    return is_char and (bool(element.encoding & CHAR) or btf.type(element.id).name in ("char",))


def _string(data: bytes) -> str:
    """Text up to the first NUL; hex when it is not printable."""
    text = data.split(b"\0")[0].decode("utf-8", "replace")
    return text if all(char.isprintable() or char in "\t\n\r" for char in text) else data.hex()


# --- text


def _text(walk: _Walk, number: int, data: bytes, depth: int, full: bool) -> str:
    found = _known(walk, number, depth)
    if found.kind in COMPOSITE:
        return _struct_text(walk, found, data, depth, full)
    if found.kind is Kind.ARRAY:
        if _is_text(walk.btf, found):
            return '"' + _string(data) + '"'
        size = walk.btf.size_of(found.to)
        count = len(data) // size if size else 0
        while count > 1 and not full and not any(data[(count - 1) * size : count * size]):
            count -= 1
        parts = [_text(walk, found.to, data[i * size :][:size], depth + 1, full) for i in range(count)]
        return "[" + ",".join(parts) + "]"
    if found.kind is Kind.PTR:
        return hex(int.from_bytes(data, "little"))
    if found.kind is Kind.DATASEC:
        pairs = _value(walk, number, data, depth)
        return str(pairs)
    return _plain_text(_scalar(found, data))


def _plain_text(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _struct_text(walk: _Walk, found: Type, data: bytes, depth: int, full: bool) -> str:
    parts = []
    for member in found.members:
        at = member.offset // 8
        if member.bits:
            value = _bit_field(walk.btf, member, data)
            text, zero = _plain_text(value), not value
        else:
            piece = data[at : at + walk.btf.size_of(member.type)]
            text, zero = _text(walk, member.type, piece, depth + 1, full), not any(piece)
        if full or not zero or found.kind is Kind.UNION:
            parts.append(f".{member.name}={text}" if member.name else text)
    return "{" + ",".join(parts) + "}"
