"""Values that registers and stack slots hold during verification.

A value is a plain tuple `(tag, ident, number)`, or None when nothing may be read. For a scalar, `number` is
the value and equal non-zero idents mean equal values. For a pointer, `number` is the signed distance in bytes
from the base that `ident` names.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from runtime.verify.number import UNKNOWN, Number, const

SCALAR, CONTEXT, STACK, MAP, MEMORY, MAYBE_MEMORY, INPUT, FUNCTION, MAYBE_MAP = range(9)

# Scalar idents with a meaning, the same all over a run: one thread executes it.
PID_TGID, TID, PID, TID_HIGH = -1, -2, -3, -4

# Which call made a pointer: pcs from the outermost function that still runs to the helper call, and the call
# depth of that function. One pc alone means that the base address is at hand in that function.
Origin = tuple[tuple[int, ...], int]
SECTION: Origin = ((-2,), -1)  # a data section: its base is a constant


class RegionKind(Enum):
    """Where sized memory comes from."""

    VALUE = "map value"
    RECORD = "ring-buffer record"
    SCRATCH = "memory"
    KEY = "map key"
    MAP = "inner map"


class Region(NamedTuple):
    """The ident of a pointer to sized memory; `size` in bytes.

    `origin` is None when the base address is not at hand any more (another iteration or another function
    made it), so that an access cannot be checked at run time.
    """

    kind: RegionKind
    map: str
    size: int
    writable: bool
    origin: Origin | None


Ident = int | str | Region
Value = tuple[int, Ident, Number]

ANY: Value = (SCALAR, 0, UNKNOWN)
NULL: Value = (SCALAR, 0, const(0))
KNOWN_NAMES = {
    SCALAR: "a number",
    CONTEXT: "the context",
    STACK: "a stack address",
    MAP: "a map",
    MEMORY: "a pointer",
    MAYBE_MEMORY: "a pointer that may be NULL",
    INPUT: "the input memory",
    FUNCTION: "a function",
    MAYBE_MAP: "a map that may be NULL",
}


def scalar(number: Number) -> Value:
    """A number without known copies."""
    return (SCALAR, 0, number)


def exactly(value: int) -> Value:
    """The constant `value`."""
    return (SCALAR, 0, const(value))


def copies_of(value: Value) -> int:
    """Ident that a scalar shares with its copies, 0 for a lone scalar and for pointers."""
    ident = value[1]
    return ident if value[0] == SCALAR and isinstance(ident, int) else 0


def is_null(value: Value) -> bool:
    """True for the constant 0."""
    return value[0] == SCALAR and value[2][1] == 0


def constant_of(value: Value) -> int | None:
    """The number when it is the only possible one, unsigned."""
    lo, hi = value[2][:2]
    return lo if value[0] == SCALAR and lo == hi else None
