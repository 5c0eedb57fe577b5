"""Functions on maps: delete, has_key, clear, zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import mapcode, records, tree
from runtime.lang.decode import MapAction
from runtime.lang.functions.row import Function
from runtime.lang.types import BOOL, UNKNOWN, VOID, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator


def _whole_map(c: Checker, call: tree.Call) -> tree.MapAccess | None:
    """The first argument, which must be a map without a key."""
    node = call.args[0]
    if not isinstance(node, tree.MapAccess) or node.key is not None:
        c.fail(node.at, f"{call.name}() expects a map argument")
        return None
    return node


def _check_action(c: Checker, call: tree.Call) -> Type:
    node = _whole_map(c, call)
    if node is not None and c.map(node).value == UNKNOWN and c.final:
        c.fail(node.at, f"Undefined map: {node.name}")
    return VOID


def _lower_action(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    assert isinstance(node, tree.MapAccess)
    records.send(g, MapAction(call.name, node.name), [])


def _key_of(c: Checker, call: tree.Call) -> Type:
    """Check `f(@m, key)`."""
    node = _whole_map(c, call)
    if node is None:
        return UNKNOWN
    facts = c.map(node)
    if facts.scalar:
        return c.fail(node.at, f"call to {call.name}() expects a map with explicit keys (non-scalar map)")
    c.keyed(node, call.args[1])
    if facts.value == UNKNOWN and c.final:
        return c.fail(node.at, f"Undefined map: {node.name}")
    return BOOL


def _check_delete(c: Checker, call: tree.Call) -> Type:
    if len(call.args) == 2:
        return _key_of(c, call)
    node = call.args[0]
    if not isinstance(node, tree.MapAccess):
        return c.fail(node.at, "delete() expects a map argument")
    facts = c.map(node)
    if node.key is None and facts.scalar is False:
        return c.fail(node.at, "call to delete() expects a map without explicit keys (scalar map)")
    c.keyed(node, node.key)
    if facts.value == UNKNOWN and c.final:
        return c.fail(node.at, f"Undefined map: {node.name}")
    return BOOL


def _lower_delete(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    assert isinstance(node, tree.MapAccess)
    mapcode.delete(g, g.shape(node.name), call.args[1] if len(call.args) == 2 else node.key)


def _lower_has_key(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    assert isinstance(node, tree.MapAccess)
    shape = g.shape(node.name)
    done = g.code.label()
    with g.storage.scope():
        mapcode.look_up(g, shape, mapcode.key_of(g, shape, call.args[1]))
    g.code.jump_if_constant("==", 0, 0, done)
    g.code.set(0, 1)
    g.code.at(done)


ROWS = (
    Function("clear", 1, 1, _check_action, _lower_action),
    Function("zero", 1, 1, _check_action, _lower_action),
    Function("delete", 1, 2, _check_delete, _lower_delete),
    Function("has_key", 2, 2, _key_of, _lower_has_key),
)
