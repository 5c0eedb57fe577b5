"""The integer types of C: by their words, of an enumeration, and what a cast leaves of a value."""

from __future__ import annotations

from runtime.lang.c.scope import FLOATING
from runtime.lang.c.types import Enum
from runtime.lang.types import BOOL, INT8, INT16, INT32, INT64, UINT64, Int, Pointer, Type


def counted(words: list[str]) -> Type:
    """The type of `unsigned long long` and the like."""
    signed = "unsigned" not in words
    if "double" in words:
        return FLOATING["long double" if "long" in words else "double"]
    kind = INT32
    if "char" in words:
        kind = INT8
    elif "short" in words:
        kind = INT16
    elif "long" in words:
        kind = INT64
    return Int(kind.bytes, signed)


def enum_of(name: str, variants: list[tuple[str, int]], *, packed: bool = False) -> Enum:
    """The type of an enumeration: unsigned int unless a value asks for something else, as gcc does."""
    low = min((value for _, value in variants), default=0)
    high = max((value for _, value in variants), default=0)
    for size in (1, 2, 4, 8) if packed else (4, 8):
        if low < 0 and -(1 << (8 * size - 1)) <= low and high < 1 << (8 * size - 1):
            return Enum(size, True, False, name, tuple(variants))
        if low >= 0 and high < 1 << (8 * size):
            return Enum(size, False, False, name, tuple(variants))
    return Enum(8, low < 0, False, name, tuple(variants))


def cut(value: int, kind: Type) -> int:
    """A value as a cast makes it."""
    if isinstance(kind, Pointer):
        kind = UINT64
    if kind == BOOL:
        return int(value != 0)
    if not isinstance(kind, Int):
        return value
    bits = 8 * kind.bytes
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind.signed and value >> (bits - 1) else value
