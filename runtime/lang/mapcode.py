"""Reading and writing maps: look-ups, assignments, increments, keys.

A map without a key is one value at a constant address. Of a keyed map the key is built on the stack when it
is small. Values that are words are eight bytes in every map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import complaints, conversion, device, memory, tree
from runtime.lang.c.padding import holes
from runtime.lang.layout import stored_size
from runtime.lang.mapshape import MapShape
from runtime.lang.types import Aggregate, Int, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.lang.code import Label
    from runtime.lang.generator import Generator

LOOKUP, UPDATE, DELETE = 1, 2, 3  # helpers
FIND_OR_ADD, FIND_UNIFORM = 100040, 100043  # helpers in GPU kernels
E2BIG = 7
NOEXIST = 1  # update only where there is no such key
ZEROS = ".zeros"


def key_of(g: Generator, shape: MapShape, key: tree.Expr) -> Place:
    """Build a key in memory."""
    place = g.storage.take(shape.key_size)
    with g.storage.scope():
        memory.write_stored(g, key, place, shape.key)
        for begin, size in holes(shape.key):
            memory.zero(g, place + begin, size)
    return place


def look_up(g: Generator, shape: MapShape, key: Place) -> None:
    """Find a value: r0 is its address or 0."""
    g.code.map(1, shape.name)
    g.code.address(2, key)
    g.code.call(LOOKUP)


def look_up_or_add(
    g: Generator, shape: MapShape, key: Place, missing: Label, *, uniform: bool = False
) -> None:
    """Find a value, made of zeros if it was not there: r0 is its address; a full map goes to `missing`.

    `uniform`: in a GPU kernel all threads of a warp have this key.
    """
    if g.body.provider.device:
        g.code.map(1, shape.name)
        g.code.address(2, key)
        g.code.call(FIND_UNIFORM if uniform else FIND_OR_ADD)
        g.code.jump_if_constant("==", 0, 0, missing)
        return
    found = g.code.label()
    look_up(g, shape, key)
    g.code.jump_if_constant("!=", 0, 0, found)
    g.output.zeros = max(g.output.zeros, shape.value_size)
    g.code.map(1, shape.name)
    g.code.address(2, key)
    g.code.map_value(3, ZEROS)
    g.code.set(4, NOEXIST)
    g.code.call(UPDATE)
    look_up(g, shape, key)
    g.code.jump_if_constant("==", 0, 0, missing)
    g.code.at(found)


def when_full(g: Generator, target: tree.MapAccess, full: Label) -> None:
    """End an update that goes to `full` where the map has no room: that is told."""
    if target.key is None:
        g.code.at(full)
        return
    done = g.code.label()
    g.code.jump(done)
    g.code.at(full)
    complaints.complain(g, target.at, complaints.FULL, "map_update_elem", -E2BIG)
    g.code.at(done)


def value_type(shape: MapShape) -> Type:
    """The type of the word or memory that reading a value gives."""
    if isinstance(shape.value, Aggregate):
        return Int(8, shape.value.signed and shape.value.name != "count")
    return shape.value


def read_word(g: Generator, node: tree.MapAccess, shape: MapShape) -> None:
    """Read a word in r0; a missing one is 0."""
    if node.key is None:
        g.code.map_value(1, shape.name)
        g.code.load(0, Place(1, 0), 8)
        return
    with g.storage.scope():
        read_word_at(g, key_of(g, shape, node.key), shape, node)


def read_word_at(g: Generator, key: Place, shape: MapShape, node: tree.MapAccess | None = None) -> None:
    """Read the word under a key that is in memory; with a `node`, a missing key may be told."""
    read_found(g, key, shape, node, lambda: g.code.load(0, Place(0, 0), 8))


def read_found(
    g: Generator, key: Place, shape: MapShape, node: tree.MapAccess | None, read: Callable[[], None]
) -> None:
    """Look a key up and `read` what r0 then points to; a missing one is 0, and told with a `node`."""
    found, done = g.code.label(), g.code.label()
    look_up(g, shape, key)
    g.code.jump_if_constant("!=", 0, 0, found)
    if node is not None and g.output.checks:
        complaints.complain(g, node.at, complaints.NOT_FOUND, "map_lookup_elem")
        g.code.set(0, 0)
    g.code.jump(done)
    g.code.at(found)
    read()
    g.code.at(done)


def read_memory(g: Generator, node: tree.MapAccess, place: Place, kind: Type) -> None:
    """Read a value that is no word into memory; a missing one is all zero."""
    shape = g.shape(node.name)
    if node.key is None:
        g.code.map_value(0, shape.name)
        memory.convert(g, Place(0, 0), shape.value, place, kind)
        return
    with g.storage.scope():
        read_memory_at(g, key_of(g, shape, node.key), shape, place, kind, node)


def read_memory_at(
    g: Generator,
    key: Place,
    shape: MapShape,
    place: Place,
    kind: Type,
    node: tree.MapAccess | None = None,
) -> None:
    """Read what is no word under a key that is in memory; with a `node`, a missing key may be told."""
    missing, done = g.code.label(), g.code.label()
    look_up(g, shape, key)
    g.code.jump_if_constant("==", 0, 0, missing)
    if shape.value == kind or kind.size <= memory.INLINE:
        memory.convert(g, Place(0, 0), shape.value, place, kind)
    else:
        g.code.move(8, 0)
        memory.convert(g, Place(8, 0), shape.value, place, kind)
    g.code.jump(done)
    g.code.at(missing)
    if node is not None and g.output.checks:
        complaints.complain(g, node.at, complaints.NOT_FOUND, "map_lookup_elem")
    memory.zero(g, place, kind.size)
    g.code.at(done)


def assign(g: Generator, target: tree.MapAccess, op: str, value: tree.Expr) -> None:
    """Do `target op= value`."""
    if op in ("+", "-") and isinstance(g.shape(target.name).value, Int):
        add(g, target, value, negative=op == "-")
        return
    if op:
        left = tree.MapAccess(target.at, target.name, target.key, target.name_at)
        left.type = g.shape(target.name).value
        combined = tree.Binary((target.at[0], value.at[1]), op, left, value)
        combined.type = conversion.binary_type(combined)
        value = combined
    store(g, target, value)


def store(g: Generator, target: tree.MapAccess, value: tree.Expr) -> None:
    """Write a value under a key, or the only value."""
    shape = g.shape(target.name)
    if target.key is None:
        _store_scalar(g, shape, value)
        return
    size = stored_size(shape.value)
    with g.storage.scope():
        place = _ready(value, shape.value) or g.storage.take(size)
        if place != _ready(value, shape.value):
            memory.write_stored(g, value, place, shape.value)
        update(g, shape, key_of(g, shape, target.key), place, target)


def _ready(value: tree.Expr, kind: Type) -> Place | None:
    """Memory that already holds the value in the right form."""
    if isinstance(value, tree.Scratch) and value.variable is not None and value.variable.held == kind:
        return value.variable.place
    return None


def update(g: Generator, shape: MapShape, key: Place, value: Place, target: tree.MapAccess) -> None:
    """Put a value that is in memory under a key that is in memory; that the map is full is told."""
    g.code.map(1, shape.name)
    g.code.address(2, key)
    g.code.address(3, value)
    g.code.set(4, 0)
    g.code.call(UPDATE)
    if shape.may_be_full:
        complaints.complain_if_negative(g, target.at, complaints.FULL, "map_update_elem")


def _store_scalar(g: Generator, shape: MapShape, value: tree.Expr) -> None:
    if shape.value.word:
        g.word(value, shape.value)
        g.code.map_value(1, shape.name)
        g.code.store(Place(1, 0), 0, 8)
    else:
        place = g.storage.take(stored_size(shape.value))
        memory.write_stored(g, value, place, shape.value)
        g.code.map_value(8, shape.name)
        memory.copy(g, Place(8, 0), place, stored_size(shape.value))
        g.code.map_value(1, shape.name)
    g.code.store_constant(Place(1, shape.set_at), 1, 8)


def add(g: Generator, target: tree.MapAccess, value: tree.Expr, *, negative: bool = False) -> None:
    """Add to an integer whose new value nobody reads: one atomic addition."""
    shape = g.shape(target.name)
    constant = isinstance(value, tree.Integer)
    slot = g.storage.take(8)
    if not constant:
        g.word(value)
        g.code.store(slot, 0, 8)
    full = g.code.label()
    with g.storage.scope():
        if target.key is None:
            g.code.map_value(0, shape.name)
        else:
            uniform = device.is_uniform(target.key)
            look_up_or_add(g, shape, key_of(g, shape, target.key), full, uniform=uniform)
        if isinstance(value, tree.Integer):
            g.code.set(1, -value.value if negative else value.value)
        else:
            g.code.load(1, slot, 8)
            if negative:
                g.code.negate(1)
        g.code.add_atomic(Place(0, 0), 1)
        if shape.set_at >= 0:
            g.code.store_constant(Place(0, shape.set_at), 1, 8)
        when_full(g, target, full)


def increment(g: Generator, target: tree.MapAccess, delta: int, prefix: bool) -> None:
    """Do `++` or `--` and leave the old or (`prefix`) the new value in r0."""
    shape = g.shape(target.name)
    old, new = g.storage.take(8), g.storage.take(8)
    before = tree.MapAccess(target.at, target.name, target.key, target.name_at)
    before.type = shape.value
    g.word(before)
    g.code.store(old, 0, 8)
    g.code.alu_constant("+", 0, delta)
    g.code.store(new, 0, 8)
    if target.key is None:
        g.code.map_value(1, shape.name)
        g.code.store(Place(1, 0), 0, 8)
        g.code.store_constant(Place(1, shape.set_at), 1, 8)
    else:
        update(g, shape, key_of(g, shape, target.key), new, target)
    g.code.load(0, new if prefix else old, 8)


def delete(g: Generator, shape: MapShape, key: tree.Expr | None) -> None:
    """Remove a key, or unset the only value; r0 becomes 1 if it was there."""
    if key is None:
        g.code.map_value(1, shape.name)
        g.code.load(2, Place(1, shape.set_at), 8) if shape.set_at >= 0 else g.code.set(2, 1)
        g.code.move(8, 2)
        g.code.move(9, 1)
        memory.zero(g, Place(9, 0), shape.value_size)
        g.code.move(0, 8)
        return
    no = g.code.label()
    with g.storage.scope():
        place = key_of(g, shape, key)
        g.code.map(1, shape.name)
        g.code.address(2, place)
        g.code.call(DELETE)
        g.code.jump_if_constant("!=", 0, 0, no)
        g.code.one_unless(no)
