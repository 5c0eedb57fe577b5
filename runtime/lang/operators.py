"""The types that operators give, and what they accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import access, probenames, tree
from runtime.lang.types import (
    BOOL,
    COMPARISONS,
    UNKNOWN,
    Array,
    Buffer,
    Int,
    Pointer,
    ProbeName,
    Stack,
    String,
    Symbol,
    Tuple,
    Type,
    is_signed,
    join,
)

if TYPE_CHECKING:
    from runtime.lang.checker import Checker


def unary(c: Checker, node: tree.Unary) -> Type:
    """Type an operator before a value."""
    kind = c.value(node.value)
    if kind == UNKNOWN:
        return UNKNOWN
    if node.op == "*":
        return access.dereference(c, node, kind)
    if node.op == "!" and (isinstance(kind, Int | Pointer) or kind == BOOL):
        return BOOL
    if isinstance(kind, Int) and node.op in "-~":
        return Int(8, kind.signed)
    return c.fail(node.at, f"The {node.op} operator can not be used on expressions of type '{kind}'")


def binary(c: Checker, node: tree.Binary) -> Type:
    """Type `left op right`."""
    left, right = c.value(node.left), c.value(node.right)
    return operator_type(c, node, node.op, left, right)


def operator_type(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    """Result of a binary operator, also of one in a compound assignment."""
    if UNKNOWN in (left, right):
        return BOOL if op in COMPARISONS or op in ("&&", "||") else UNKNOWN
    left, right = (Int(1, True, True) if kind == BOOL else kind for kind in (left, right))
    if op in ("&&", "||"):
        return _logical(c, node, op, left, right)
    if op in COMPARISONS:
        return _comparison(c, node, op, left, right)
    return _combined(c, node, op, left, right)


def _combined(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    if isinstance(left, Int) and isinstance(right, Int):
        return _arithmetic(c, node, op, left, right)
    if isinstance(left, Pointer) and isinstance(right, Int) and op in "+-":
        return left
    if isinstance(right, Pointer) and isinstance(left, Int) and op == "+":
        return right
    return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")


def _is_difference(node: tree.Node) -> bool:
    """Tell whether a dividend is the difference of two unsigned numbers, as times are."""
    left = node.left if isinstance(node, tree.Binary) else None
    if not isinstance(left, tree.Binary) or left.op != "-":
        return False
    return all(isinstance(side.type, Int) and not side.type.signed for side in (left.left, left.right))


def _arithmetic(c: Checker, node: tree.Node, op: str, left: Int, right: Int) -> Type:
    if op in ("<<", ">>"):
        return Int(8, left.signed)
    signed = is_signed(left, right)
    if op in "/%" and signed and not (left.flexible and right.flexible) and not _is_difference(node):
        c.warn(
            node.at,
            f"signed operands for '{op}' can lead to undefined behavior (cast to unsigned to silence"
            " warning)",
        )
    return Int(8, signed or op == "-")


def _logical(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    if isinstance(left, Int | Pointer) and isinstance(right, Int | Pointer):
        return BOOL
    return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")


def _comparison(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    numbers = isinstance(left, Int | Pointer) and isinstance(right, Int | Pointer)
    same = type(left) is type(right) and join(left, right) is not None
    if numbers:
        if isinstance(left, Pointer) and isinstance(right, Pointer) and join(left, right) is None:
            c.warn(node.at, f"comparison of distinct pointer types: {left}, {right}")
        return BOOL
    if isinstance(left, ProbeName) or isinstance(right, ProbeName):
        return _names(c, node, op, left == right)
    if same and op in ("==", "!=") and isinstance(left, String | Tuple | Array | Buffer | Symbol | Stack):
        return BOOL
    if same and isinstance(left, String):
        return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")
    return c.fail(node.at, f"Type mismatch for '{op}': comparing {left} with {right}")


def _names(c: Checker, node: tree.Node, op: str, same: bool) -> Type:
    """Type a comparison of the name of a probe."""
    fits = same or (isinstance(node, tree.Binary) and probenames.is_comparison(node))
    if fits and op in ("==", "!="):
        return BOOL
    return c.fail(node.at, "the probe's name can only be compared with a literal, by == or !=")
