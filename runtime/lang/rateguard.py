"""Warn of what a script sends from every thread of a kernel, before it floods the ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree

if TYPE_CHECKING:
    from runtime.lang.checker import Body, Checker

SENDING = frozenset(("printf", "errorf", "warnf", "print", "emit", "time", "clear", "zero"))


def check(c: Checker, body: Body) -> None:
    """Warn of records that each thread sends, where no condition selects a thread of its block."""
    if not body.provider.device:
        return
    guarded = body.probe.predicate is not None and selects(body.probe.predicate)
    if not guarded:
        _walk(c, body.probe.body)


def _walk(c: Checker, node: tree.Node) -> None:
    if isinstance(node, tree.If) and selects(node.condition):
        if node.otherwise is not None:
            _walk(c, node.otherwise)
        return
    if isinstance(node, tree.Call) and node.name in SENDING:
        c.warn(node.at, f"{node.name}() runs once per thread", "add /tid == 0/ or use a map")
        return
    for child in tree.children(node):
        _walk(c, child)


def selects(node: tree.Expr) -> bool:
    """Tell whether a condition holds for at most one thread of a block, or seems meant to."""
    if isinstance(node, tree.Binary) and node.op == "&&":
        return selects(node.left) or selects(node.right)
    if not isinstance(node, tree.Binary) or node.op != "==":
        return False
    sides = (node.left, node.right)
    return any(_is_thread(one) for one in sides) and any(isinstance(one, tree.Integer) for one in sides)


def _is_thread(node: tree.Expr) -> bool:
    if isinstance(node, tree.Member) and isinstance(node.value, tree.Identifier):
        return node.value.name == "thread"
    return isinstance(node, tree.Identifier) and node.name == "tid"
