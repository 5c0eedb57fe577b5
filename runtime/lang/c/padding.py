"""Bytes of a value that no member covers: what lies there is nobody's, so keys must not differ by it."""

from __future__ import annotations

from runtime.lang.c.types import Struct
from runtime.lang.types import Array, Tuple, Type

Hole = tuple[int, int]  # where it begins, and its bytes
MOST = 256  # holes of one key that are cleared


def holes(kind: Type) -> list[Hole]:
    """The holes of structs in a type; those of tuples are cleared where they are written."""
    return _merged(_within(kind, 0))[:MOST]


def _within(kind: Type, at: int) -> list[Hole]:
    if isinstance(kind, Tuple):
        parts = zip(kind.items, kind.offsets, strict=True)
        return [hole for item, offset in parts for hole in _within(item, at + offset)]
    if isinstance(kind, Array):
        inner = _within(kind.element, 0)
        steps = range(min(kind.count, MOST) if inner else 0)
        return [(at + i * kind.element.size + begin, size) for i in steps for begin, size in inner]
    if not isinstance(kind, Struct) or kind.tag == "union":
        return []
    return _of_struct(kind, at)


def _of_struct(kind: Struct, at: int) -> list[Hole]:
    found: list[Hole] = []
    covered = 0
    spans = sorted((_span(kind, name), name) for name in kind.fields)
    for (begin, end), name in spans:
        if begin > covered:
            found.append((at + covered, begin - covered))
        covered = max(covered, end)
        field = kind.fields[name]
        if not field.bits and not _overlaps(kind, name):
            found += _within(field.type, at + field.offset)
    if covered < kind.size:
        found.append((at + covered, kind.size - covered))
    return found


def _span(kind: Struct, name: str) -> Hole:
    field = kind.fields[name]
    if field.bits:
        return field.bit // 8, (field.bit + field.bits + 7) // 8
    return field.offset, field.offset + field.type.size


def _overlaps(kind: Struct, name: str) -> bool:
    """Whether another member shares a member's bytes: those of an anonymous union."""
    begin, end = _span(kind, name)
    others = (_span(kind, other) for other in kind.fields if other != name)
    return any(low < end and begin < high for low, high in others)


def _merged(found: list[Hole]) -> list[Hole]:
    return [(begin, size) for begin, size in sorted(found) if size]
