"""Functions on maps: delete, has_key, find, len, clear, zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import aggregate, complaints, conversion, mapcode, memory, records, tree
from runtime.lang.decode import MapAction
from runtime.lang.functions.row import Function
from runtime.lang.types import BOOL, INT64, UNKNOWN, VOID, Aggregate, Stack, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator
    from runtime.lang.mapshape import MapShape


MAP_LENGTH = 100028  # helper
ENOENT = 2


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


def _drop_delete(g: Generator, call: tree.Call) -> None:
    """Delete; since nobody looks at the result, a missing key is told."""
    gone = g.code.label()
    _lower_delete(g, call)
    node = call.args[0]
    assert isinstance(node, tree.MapAccess)
    if g.shape(node.name).scalar:
        return
    g.code.jump_if_constant("!=", 0, 0, gone)
    complaints.complain(g, call.at, complaints.NOT_DELETED, "map_delete_elem", -ENOENT)
    g.code.at(gone)


def _check_find(c: Checker, call: tree.Call) -> Type:
    out = call.args[2]
    if not isinstance(out, tree.Scratch):
        return c.fail(out.at, "find() expects a scratch variable for the value")
    kind = _key_of(c, call)
    node = call.args[0]
    value = c.map(node).value if kind == BOOL and isinstance(node, tree.MapAccess) else UNKNOWN
    if isinstance(value, Aggregate):
        if not value.castable:
            return c.fail(node.at, f"Value '{value}' cannot be assigned to a scratch variable.")
        value = INT64
    variable = c.find(out.name)
    if variable is None:
        return c.fail(out.at, f"Undefined or undeclared variable: {out.name}", f"let {out.name};")
    c.widen(out, variable, value)
    return kind


def _lower_find(g: Generator, call: tree.Call) -> None:
    node, key, out = call.args
    assert isinstance(node, tree.MapAccess)
    assert isinstance(out, tree.Scratch)
    assert out.variable is not None
    variable, shape = out.variable, g.shape(node.name)
    assert variable.place is not None
    done = g.code.label()
    with g.storage.scope():
        mapcode.look_up(g, shape, mapcode.key_of(g, shape, key))
        g.code.jump_if_constant("==", 0, 0, done)
        if variable.type.word:
            _load_found(g, shape)
            conversion.convert(g, mapcode.value_type(shape), variable.type)
            g.code.store(variable.place, 0, 8)
        else:
            g.code.move(8, 0)
            memory.convert(g, Place(8, 0), shape.value, variable.place, variable.type)
        g.code.set(0, 1)
    g.code.at(done)


def _load_found(g: Generator, shape: MapShape) -> None:
    """Turn the address of a value in r0 into the word it holds."""
    if isinstance(shape.value, Aggregate):
        aggregate.READERS[shape.value.name](g, shape, shape.value)
    else:
        g.code.load(0, Place(0, 0), 8)


def _check_len(c: Checker, call: tree.Call) -> Type:
    node = call.args[0]
    if not isinstance(node, tree.MapAccess) or node.key is not None:
        kind = c.expr(node)
        if isinstance(kind, Stack) or kind == UNKNOWN:
            return INT64
        return c.fail(node.at, f"len() expects a map or stack to be provided ({kind} provided)")
    facts = c.map(node)
    if facts.scalar:
        return c.fail(node.at, "call to len() expects a map with explicit keys (non-scalar map)")
    if facts.value == UNKNOWN and c.final:
        return c.fail(node.at, f"Undefined map: {node.name}")
    return INT64


def _lower_len(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    if isinstance(node, tree.MapAccess) and node.key is None:
        g.code.map(1, node.name)
        g.code.call(MAP_LENGTH)
        return
    with g.storage.scope():
        g.code.load(0, g.place(node) + 8, 8)


def _lower_has_key(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    assert isinstance(node, tree.MapAccess)
    shape = g.shape(node.name)
    with g.storage.scope():
        mapcode.look_up(g, shape, mapcode.key_of(g, shape, call.args[1]))
    conversion.to_bool(g)


ROWS = (
    Function("clear", 1, 1, _check_action, _lower_action),
    Function("zero", 1, 1, _check_action, _lower_action),
    Function("delete", 1, 2, _check_delete, _lower_delete, drop=_drop_delete),
    Function("has_key", 2, 2, _key_of, _lower_has_key),
    Function("find", 3, 3, _check_find, _lower_find, drop=_lower_find),
    Function("len", 1, 1, _check_len, _lower_len),
)
