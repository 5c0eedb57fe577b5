"""A syntax tree as indented text, for people who extend the compiler."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.lang import tree
from runtime.lang.types import UNKNOWN

HIDDEN = frozenset((*tree.PLACES, "variable", "type"))


def dump(node: tree.Node, depth: int = 0) -> Iterator[str]:
    """Give a line for a node, with its plain attributes and its type once it has one, then its children."""
    words = [type(node).__name__.lower()]
    names = [name for name in _attributes(node) if name not in HIDDEN]
    for name in names:
        value = getattr(node, name)
        if not _is_tree(value) and value not in (None, "", []):
            words.append(f"{name}={value!r}")
    kind = getattr(node, "type", UNKNOWN)
    if kind != UNKNOWN:
        words.append(f":: {kind}")
    yield "  " * depth + " ".join(words)
    for child in tree.children(node):
        yield from dump(child, depth + 1)


def _attributes(node: tree.Node) -> list[str]:
    return [name for kind in reversed(type(node).__mro__) for name in getattr(kind, "__slots__", ())]


def _is_tree(value: object) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, tree.Node) for item in value)
    return isinstance(value, tree.Node)
