"""Parts of values and what pointers point to: members, items, elements, dereferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.builtins import ENTRY_ARGUMENTS, argument_number, is_entry
from runtime.lang.suggest import near
from runtime.lang.types import UINT64, UNKNOWN, Int, Pointer, String, Tuple, Type, settled

if TYPE_CHECKING:
    from runtime.lang.checker import Checker


def dereference(c: Checker, node: tree.Unary, kind: Type) -> Type:
    """Type `*value`."""
    if isinstance(kind, Int):
        return settled(kind)
    if isinstance(kind, Pointer) and kind.to.word:
        return kind.to
    why = "Its pointee has no value." if isinstance(kind, Pointer) else "It is not a pointer."
    return c.fail(node.at, f"Can not dereference type '{kind}'. {why}")


def address_of(c: Checker, node: tree.AddressOf) -> Type:
    """Type `&$x` or `&@m`."""
    return c.fail(node.at, "taking an address with & is not served")


def member(c: Checker, node: tree.Member) -> Type:
    """Type `value.name` or `value->name`."""
    if isinstance(node.value, tree.Identifier) and node.value.name == "args":
        return c.fail(
            node.at, "args needs the function's debug info, which is not read here", "use arg0, arg1, …"
        )
    if is_entry(node):
        return _entry(c, node)
    kind = c.value(node.value)
    if isinstance(kind, Tuple) and kind.names and not node.arrow:
        if node.name in kind.names:
            return kind.items[kind.names.index(node.name)]
        hint = near(node.name, kind.names)
        return c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'", hint)
    return (
        kind
        if kind == UNKNOWN
        else c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'")
    )


def _entry(c: Checker, node: tree.Member) -> Type:
    """`entry.argN` of a return probe: an argument as it was when the call began."""
    if not c.body.provider.result:
        return c.fail(node.at, "entry can only be used with 'uretprobe' probes", "use arg0, arg1, …")
    if (argument_number(node.name) or 0) >= ENTRY_ARGUMENTS or argument_number(node.name) is None:
        return c.fail(node.at, f"entry has no '{node.name}'", f"it has arg0 to arg{ENTRY_ARGUMENTS - 1}")
    return UINT64


def item(c: Checker, node: tree.Item) -> Type:
    """Type `value.0`."""
    kind = c.value(node.value)
    if kind == UNKNOWN:
        return UNKNOWN
    if not isinstance(kind, Tuple):
        return c.fail(node.at, f"Can not access field '{node.index}' on expression of type '{kind}'")
    if node.index >= len(kind.items):
        count = len(kind.items)
        return c.fail(node.at, f"Invalid tuple index: {node.index}. Found {count} elements in tuple.")
    return kind.items[node.index]


def index(c: Checker, node: tree.Index) -> Type:
    """Type `value[index]`."""
    kind = c.value(node.value)
    c.integer(node.index, "index")
    if kind == UNKNOWN:
        return UNKNOWN
    if isinstance(kind, Pointer) and kind.to.word:
        return kind.to
    if isinstance(kind, String):
        return Int(1, True)
    return c.fail(
        node.at,
        f"The array index operator [] can only be used on arrays, pointers, and tuples, found {kind}.",
    )
