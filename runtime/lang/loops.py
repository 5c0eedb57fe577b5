"""Loops over ranges and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import aggregate, conversion, mapcode, memory, tree
from runtime.lang.layout import stored_size
from runtime.lang.types import Aggregate, Tuple
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.code import Label
    from runtime.lang.generator import Generator
    from runtime.lang.mapshape import MapShape

MAP_ITERATE = 100010  # helper
CURSOR = 16  # bytes of its cursor, which begins as zeros


def over_range(g: Generator, node: tree.For) -> None:
    """Run a body for each number of a range; both ends are computed once."""
    assert isinstance(node.over, tree.Range)
    variable = node.target.variable
    assert variable is not None
    again, step, done = g.code.label(), g.code.label(), g.code.label()
    with g.storage.scope():
        counter, end = g.storage.take(8), g.storage.take(8)
        variable.place = g.storage.take(8)
        g.word(node.over.first, variable.type)
        g.code.store(counter, 0, 8)
        g.word(node.over.end, variable.type)
        g.code.store(end, 0, 8)
        g.code.at(again)
        g.code.load(0, counter, 8)
        g.code.load(1, end, 8)
        signed = getattr(variable.type, "signed", True)
        g.code.jump_if("s>=" if signed else ">=", 0, 1, done)
        g.code.store(variable.place, 0, 8)
        body(g, node.body, step, done)
        g.code.at(step)
        g.code.load(0, counter, 8)
        g.code.alu_constant("+", 0, 1)
        g.code.store(counter, 0, 8)
        g.code.jump(again)
        g.code.at(done)


def over_map(g: Generator, node: tree.For) -> None:
    """Run a body for each element of a map, with its key and its value of that moment."""
    assert isinstance(node.over, tree.MapAccess)
    variable = node.target.variable
    assert variable is not None
    kind = variable.type
    assert isinstance(kind, Tuple)
    shape = g.shape(node.over.name)
    again, done = g.code.label(), g.code.label()
    with g.storage.scope():
        cursor, key = g.storage.take(CURSOR), g.storage.take(shape.key_size)
        variable.place = g.storage.take(stored_size(kind))
        memory.zero(g, cursor, CURSOR)
        g.code.at(again)
        g.code.map(1, shape.name)
        g.code.address(2, cursor)
        g.code.address(3, key)
        g.code.set(4, shape.key_size)
        g.code.call(MAP_ITERATE)
        g.code.jump_if_constant("==", 0, 0, done)
        _element(g, shape, key, variable.place, kind)
        body(g, node.body, again, done)
        g.code.jump(again)
        g.code.at(done)


def body(g: Generator, block: tree.Block, step: Label, done: Label) -> None:
    """Run the body of a loop; `continue` goes to `step`, `break` to `done`."""
    g.loops.append((step, done))
    g.block(block)
    g.loops.pop()


def _element(g: Generator, shape: MapShape, key: Place, place: Place, kind: Tuple) -> None:
    """Write `(key, value)`; the value of an element that was deleted meanwhile is zero."""
    memory.gaps(g, place, kind)
    _from_stored(g, key, place, shape, kind)
    value = place + kind.offsets[1]
    if kind.items[1].word:
        if isinstance(shape.value, Aggregate):
            aggregate.read_at(g, key, shape, shape.value)
        else:
            mapcode.read_word_at(g, key, shape)
        g.code.store(value, 0, kind.items[1].size)
    else:
        mapcode.read_memory_at(g, key, shape, value, kind.items[1])


def _from_stored(g: Generator, key: Place, place: Place, shape: MapShape, kind: Tuple) -> None:
    if shape.key.word:
        g.code.load(0, key, 8)
        conversion.convert(g, shape.key, kind.items[0])
        g.code.store(place, 0, kind.items[0].size)
    else:
        memory.convert(g, key, shape.key, place, kind.items[0])
