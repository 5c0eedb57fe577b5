"""Which values of 64 bits never need more than 32, so that a bare %d shows all of them."""

from __future__ import annotations

from runtime.lang import tree

_SMALL = frozenset(("uid", "gid", "cpu", "ncpus", "numaid", "strlen", "strcap", "strstr", "len", "memcmp"))


def is_small(node: tree.Expr) -> bool:
    """Tell whether a value is small for sure: a written number, a count of few things, a loop's count."""
    if isinstance(node, tree.Scratch):
        return node.variable is not None and not node.variable.wide
    return isinstance(node, tree.Integer | tree.SizeOf | tree.OffsetOf) or (
        isinstance(node, tree.Identifier | tree.Call) and node.name in _SMALL
    )
