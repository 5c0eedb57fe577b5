"""Words from one type to another: literals, conversions in r0, loads of a type's own size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.code import signed64
from runtime.lang.types import BOOL, Aggregate, Int, Pointer, Type, is_signed
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator


def constant(value: int, to: Type | None) -> int:
    """A literal as the 64 bits that a type makes of it."""
    if to == BOOL:
        return int(value != 0)
    if isinstance(to, Int) and to.bytes < 8:
        bits = to.bytes * 8
        value &= (1 << bits) - 1
        return value - (1 << bits) if to.signed and value >> (bits - 1) else value
    return signed64(value)


def convert(g: Generator, have: Type, want: Type) -> None:
    """Change the word in r0 from one type to another."""
    if want == BOOL:
        if have != BOOL:
            to_bool(g)
        return
    if not isinstance(want, Int) or want.bytes == 8:
        return
    if isinstance(have, Int) and _contains(want, have):
        return
    shift = 64 - 8 * want.bytes
    g.code.alu_constant("<<", 0, shift)
    g.code.alu_constant("s>>" if want.signed else ">>", 0, shift)


def _contains(want: Int, have: Int) -> bool:
    if have.signed == want.signed:
        return have.bytes <= want.bytes
    return not have.signed and have.bytes < want.bytes


def to_bool(g: Generator) -> None:
    """Make the word in r0 0 or 1."""
    done = g.code.label()
    g.code.jump_if_constant("==", 0, 0, done)
    g.code.set(0, 1)
    g.code.at(done)


def load_word(g: Generator, place: Place, kind: Type, register: int = 0) -> None:
    """Read a word that lies in memory in its own size."""
    g.code.load(register, place, kind.size, isinstance(kind, Int) and kind.signed)


def read_type(kind: Type) -> Type:
    """The type of the word that an expression of this type gives."""
    if kind == BOOL:
        return Int(1, True, True)
    return Int(8, kind.signed and kind.name != "count") if isinstance(kind, Aggregate) else kind


def signed_together(left: Type, right: Type) -> bool:
    """Whether an operation on two words is signed."""
    return isinstance(left, Int) and isinstance(right, Int) and is_signed(left, right)


def scale_of(kind: Type) -> int:
    """Bytes that one step of a pointer is, else 1."""
    return max(1, kind.to.size) if isinstance(kind, Pointer) else 1


def binary_type(node: tree.Binary) -> Type:
    """Type of an operation that was made from a compound assignment."""
    if isinstance(node.left.type, Pointer):
        return node.left.type
    left, right = read_type(node.left.type), read_type(node.right.type)
    return Int(8, signed_together(left, right) or node.op == "-")
