"""Constants before typing: positional parameters become literals, literal expressions one literal.

Integers are exact here; a result that no 64-bit integer holds is an error, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.parameters import Parameters, parameter_number
from runtime.lang.source import Source

OVERFLOW = "unable to fold literals due to overflow or underflow"


def _divide(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _shift(a: int, b: int) -> int:
    if not 0 <= b < 64:
        raise ZeroDivisionError
    return a << b


ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": lambda a, b: a - b * _divide(a, b),
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": _shift,
    ">>": lambda a, b: (a & (1 << 64) - 1) >> (b if 0 <= b < 64 else _shift(a, b)),
}
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


class Folder:
    """Rewrites one script's trees."""

    def __init__(self, source: Source, parameters: Parameters) -> None:
        self.source = source
        self.parameters = parameters
        self.params = parameters.positional
        self.warnings: list[Problem] = []

    def fold(self, node: tree.Node) -> tree.Node:
        """Rewrite a node and all below it.

        Raises:
            Problem: literals overflow, a literal divisor is 0.
        """
        return tree.rewrite(node, self._change)

    def _change(self, node: tree.Node) -> tree.Node:
        rule = RULES.get(type(node))
        return rule(self, node) if rule else node

    def _parameter(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Parameter)
        if node.index == 0:
            return tree.Integer(node.at, len(self.params))
        if node.index > len(self.params):
            text = f"Positional parameter ${node.index} is empty or not provided."
            self.warnings.append(self.source.problem(node.at, text))
            return tree.Integer(node.at, 0, "$")
        value = self.params[node.index - 1]
        number = parameter_number(value)
        if number is None:
            return tree.String(node.at, value.encode("utf-8", "surrogateescape"))
        return tree.Integer(node.at, number, "$" + value)

    def _unary(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Unary)
        value = node.value
        if isinstance(value, tree.Boolean) and node.op == "!":
            return tree.Boolean(node.at, not value.value)
        if not isinstance(value, tree.Integer) or node.op == "*":
            return node
        if node.op == "!":
            return tree.Boolean(node.at, not value.value)
        if node.op == "-":
            return self._integer(node, -value.value)
        result = ~value.value
        return tree.Integer(node.at, result if value.value < 1 << 63 else result & (1 << 64) - 1)

    def _integer(self, node: tree.Node, value: int) -> tree.Node:
        if not -(1 << 63) <= value < 1 << 64:
            raise self.source.problem(node.at, OVERFLOW)
        return tree.Integer(node.at, value)

    def _binary(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Binary)
        left, right = node.left, node.right
        if isinstance(left, tree.Integer) and isinstance(right, tree.Integer):
            return self._integers(node, left.value, right.value)
        if isinstance(left, tree.String) and isinstance(right, tree.String):
            return _strings(node, left.value, right.value)
        if isinstance(left, tree.String) and isinstance(right, tree.Integer) and node.op == "+":
            return tree.String(node.at, left.value[right.value :] if right.value >= 0 else left.value)
        literal = tree.Integer | tree.Boolean
        if node.op in ("&&", "||") and isinstance(left, literal) and isinstance(right, literal):
            a, b = bool(left.value), bool(right.value)
            return tree.Boolean(node.at, (a and b) if node.op == "&&" else (a or b))
        return node

    def _integers(self, node: tree.Binary, left: int, right: int) -> tree.Node:
        if node.op in COMPARISONS:
            return tree.Boolean(node.at, COMPARISONS[node.op](left, right))
        if node.op in ("&&", "||"):
            return tree.Boolean(node.at, bool(left and right) if node.op == "&&" else bool(left or right))
        try:
            value = ARITHMETIC[node.op](left, right)
        except ZeroDivisionError:
            raise self.source.problem(node.at, OVERFLOW) from None
        if value < 0 and (left >= 1 << 63 or right >= 1 << 63) and node.op in "&|^":
            value &= (1 << 64) - 1
        return self._integer(node, value)

    def _call(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Call)
        if node.name == "getopt":
            return self.parameters.get(self.source, node)
        if node.name == "str" and len(node.args) == 1 and isinstance(node.args[0], tree.Integer):
            literal = node.args[0]
            text = literal.text[1:] if literal.text.startswith("$") else str(literal.value)
            return tree.String(node.at, text.encode("utf-8", "surrogateescape"))
        if node.name == "str" and len(node.args) == 1 and isinstance(node.args[0], tree.String):
            return tree.String(node.at, node.args[0].value)
        return node

    def _index(self, node: tree.Node) -> tree.Node:
        assert isinstance(node, tree.Index)
        if isinstance(node.value, tree.String) and isinstance(node.index, tree.Integer):
            if not 0 <= node.index.value <= len(node.value.value):
                size = len(node.value.value) + 1
                text = f"the index {node.index.value} is out of bounds for array of size {size}"
                raise self.source.problem(node.at, text)
            return tree.Integer(node.at, (node.value.value + b"\0")[node.index.value])
        return node


def _strings(node: tree.Binary, left: bytes, right: bytes) -> tree.Node:
    if node.op == "+":
        return tree.String(node.at, left + right)
    if node.op in ("==", "!="):
        same = left.partition(b"\0")[0] == right.partition(b"\0")[0]
        return tree.Boolean(node.at, same == (node.op == "=="))
    return node


RULES: dict[type[tree.Node], Callable[[Folder, tree.Node], tree.Node]] = {
    tree.Parameter: Folder._parameter,
    tree.Unary: Folder._unary,
    tree.Binary: Folder._binary,
    tree.Call: Folder._call,
    tree.Index: Folder._index,
}
