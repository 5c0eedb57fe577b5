"""What is known when compiling: the value of a typed expression, or that it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import tree
from runtime.lang.fold import COMPARISONS
from runtime.lang.functions.control import TYPE_TESTS, type_test
from runtime.lang.providers import shown_type
from runtime.lang.types import UNKNOWN, String

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

Known = int | bool | bytes

ARITHMETIC: dict[str, Callable[[Any, Any], Known | None]] = {
    **COMPARISONS,
    "&&": lambda a, b: bool(a) and bool(b),
    "||": lambda a, b: bool(a) or bool(b),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b if b > 0 <= a else None,
    "%": lambda a, b: a % b if b > 0 <= a else None,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b if 0 <= b < 64 else None,
    ">>": lambda a, b: a >> b if 0 <= b < 64 and a >= 0 else None,
}


def evaluate(c: Checker, node: tree.Expr) -> Known | None:
    """Give the value of a typed expression, None where it is known only when running."""
    rule = RULES.get(type(node))
    return rule(c, node) if rule else None


def literal(node: tree.Expr, value: Known) -> tree.Expr:
    """Make the literal that stands for a known value."""
    if isinstance(value, bool):
        return tree.Boolean(node.at, value)
    return tree.String(node.at, value) if isinstance(value, bytes) else tree.Integer(node.at, value)


def _literal(_c: Checker, node: Any) -> Known | None:  # noqa: ANN401  # three classes of literals
    value: Known = node.value
    return value


def _unary(c: Checker, node: tree.Unary) -> Known | None:
    value = evaluate(c, node.value)
    if value is None or isinstance(value, bytes) or node.op == "*":
        return None
    return not value if node.op == "!" else -value if node.op == "-" else ~value


def _binary(c: Checker, node: tree.Binary) -> Known | None:
    left = evaluate(c, node.left)
    if node.op in ("&&", "||") and isinstance(left, int) and bool(left) == (node.op == "||"):
        return bool(left)
    right = evaluate(c, node.right)
    if left is None or right is None or isinstance(left, bytes) != isinstance(right, bytes):
        return None
    if isinstance(left, bytes) and node.op not in ("==", "!=", "+"):
        return None
    return ARITHMETIC[node.op](left, right)


def _ternary(c: Checker, node: tree.Ternary) -> Known | None:
    held = evaluate(c, node.condition)
    if held is None:
        return None
    return evaluate(c, (node.then or node.condition) if held else node.otherwise)


def _size_of(_c: Checker, node: tree.SizeOf) -> Known | None:
    unknown = isinstance(node.inner, tree.Expr) and node.inner.type == UNKNOWN
    return None if node.what != "sizeof" or unknown else node.value


def _call(c: Checker, node: tree.Call) -> Known | None:
    if not node.args:  # that is told where its type is found
        return None
    if node.name in TYPE_TESTS and node.args[0].type != UNKNOWN:
        return type_test(node)
    if node.name == "strlen" and isinstance(value := evaluate(c, node.args[0]), bytes):
        return len(value.partition(b"\0")[0])
    if node.name == "strcap" and isinstance(node.args[0].type, String):
        return node.args[0].type.capacity
    return None


def _identifier(c: Checker, node: tree.Identifier) -> Known | None:
    return shown_type(c.body.provider).encode() if node.name == "probetype" else None


def _member(c: Checker, node: tree.Member) -> Known | None:
    inner = node.value
    if isinstance(inner, tree.SizeOf) and inner.record is not None and node.name in inner.record.names:
        return evaluate(c, inner.record.items[inner.record.names.index(node.name)])
    if isinstance(inner, tree.Record) and node.name in inner.names:
        return evaluate(c, inner.items[inner.names.index(node.name)])
    return None


def _item(c: Checker, node: tree.Item) -> Known | None:
    if isinstance(node.value, tree.Tuple) and node.index < len(node.value.items):
        return evaluate(c, node.value.items[node.index])
    return None


def _comptime(c: Checker, node: tree.Comptime) -> Known | None:
    return evaluate(c, node.value)


RULES: dict[type[tree.Expr], Callable[[Checker, Any], Known | None]] = {
    tree.Integer: _literal,
    tree.String: _literal,
    tree.Boolean: _literal,
    tree.Unary: _unary,
    tree.Binary: _binary,
    tree.Ternary: _ternary,
    tree.SizeOf: _size_of,
    tree.Call: _call,
    tree.Identifier: _identifier,
    tree.Member: _member,
    tree.Item: _item,
    tree.Comptime: _comptime,
}
