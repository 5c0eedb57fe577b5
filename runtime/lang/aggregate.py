"""Code of the aggregations: what `@m[key] = count()` and its sisters do to the state in the map.

The words of a state are only added to (atomically, the compiler makes that a per-CPU addition); `min` and
`max` raise a biased value through a helper. The argument waits in r8 while the key is looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.lang import device, mapcode, memory, tree
from runtime.lang.code import Label, signed32
from runtime.lang.mapshape import MapShape
from runtime.lang.types import Aggregate
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

LOG2, AGG_MAX, CELLS_SUM = 100001, 100002, 100006  # helpers
SERIES_UPDATE, UNSIGNED_SERIES = 100029, 16  # helper, flag
BIAS = 1 << 63  # makes signed order unsigned order


@dataclass(frozen=True, slots=True)
class Update:
    """How one aggregation takes a value: `prepare` turns r0 into what is kept, `apply` puts r8 into *r0."""

    apply: Callable[[Generator, Aggregate], None]
    prepare: Callable[[Generator, Aggregate], None] | None = None


def update(g: Generator, target: tree.MapAccess, call: tree.Call) -> None:
    """Do `target = call`."""
    shape = g.shape(target.name)
    kind = shape.value
    assert isinstance(kind, Aggregate)
    row = UPDATES[kind.name]
    full = g.code.label()
    key = mapcode.key_of(g, shape, target.key) if target.key is not None else None
    if call.args:
        g.word(call.args[0])
        if row.prepare:
            row.prepare(g, kind)
        g.code.move(8, 0)
    if key is None:
        g.code.map_value(0, shape.name)
    else:
        uniform = target.key is not None and device.is_uniform(target.key)
        mapcode.look_up_or_add(g, shape, key, full, uniform=uniform)
    row.apply(g, kind)
    if shape.set_at >= 0:
        _mark(g, shape)
    mapcode.when_full(g, target, full)


def _mark(g: Generator, shape: MapShape) -> None:
    """Set the "is set" word once; afterwards it is only read, so that CPUs share the line."""
    done = g.code.label()
    g.code.load(1, Place(0, shape.set_at), 8)
    g.code.jump_if_constant("!=", 1, 0, done)
    g.code.store_constant(Place(0, shape.set_at), 1, 8)
    g.code.at(done)


def _count(g: Generator, kind: Aggregate) -> None:
    del kind
    g.code.set(1, 1)
    g.code.add_atomic(Place(0, 0), 1)


def _sum(g: Generator, kind: Aggregate) -> None:
    del kind
    g.code.add_atomic(Place(0, 0), 8)


def _average(g: Generator, kind: Aggregate) -> None:
    del kind
    g.code.add_atomic(Place(0, 0), 8)
    g.code.set(1, 1)
    g.code.add_atomic(Place(0, 8), 1)


def _extreme(g: Generator, kind: Aggregate) -> None:
    del kind
    g.code.move(1, 0)
    g.code.move(2, 8)
    g.code.call(AGG_MAX)


def _bucket(g: Generator, kind: Aggregate) -> None:
    del kind
    g.code.alu_constant("<<", 8, 3)
    g.code.alu("+", 0, 8)
    g.code.set(1, 1)
    g.code.add_atomic(Place(0, 0), 1)


def _interval(g: Generator, kind: Aggregate) -> None:
    interval, _, mode = kind.numbers
    g.code.move(1, 0)
    g.code.set(2, kind.size)
    g.code.move(3, 8)
    g.code.set(4, interval)
    g.code.set(5, mode | (0 if kind.signed else UNSIGNED_SERIES))
    g.code.call(SERIES_UPDATE)


def _bias(g: Generator, kind: Aggregate) -> None:
    if kind.signed:
        g.code.set(1, BIAS)
        g.code.alu("^", 0, 1)
    if kind.name == "min":
        g.code.alu_constant("^", 0, -1)


def _hist_index(g: Generator, kind: Aggregate) -> None:
    bits = kind.numbers[0]
    if bits:
        _hist_index_fine(g, bits)
        return
    # log2(2n + 1) is log2(n) + 1, and 0 for 0: no case of its own
    negative, done = g.code.label(), g.code.label()
    g.code.jump_if_constant("s<", 0, 0, negative)
    g.code.move(1, 0)
    g.code.alu("+", 1, 1)
    g.code.alu_constant("|", 1, 1)
    g.code.call(LOG2)
    g.code.alu_constant("+", 0, 1)
    g.code.jump(done)
    g.code.at(negative)
    g.code.set(0, 0)
    g.code.at(done)


def _hist_index_fine(g: Generator, bits: int) -> None:
    negative, small, done = g.code.label(), g.code.label(), g.code.label()
    g.code.jump_if_constant("s<", 0, 0, negative)
    g.code.jump_if_constant("<", 0, 1 << bits, small)
    g.code.move(8, 0)
    g.code.move(1, 0)
    g.code.call(LOG2)
    g.code.alu_constant("-", 0, bits)
    g.code.alu_constant("&", 0, 63)  # it is at most that; the verifier sees it so
    g.code.alu(">>", 8, 0)
    g.code.alu_constant("&", 8, (1 << bits) - 1)
    g.code.alu_constant("+", 0, 1)
    g.code.alu_constant("<<", 0, bits)
    g.code.alu("+", 0, 8)
    g.code.at(small)
    g.code.alu_constant("+", 0, 1)
    last = (64 - bits) << bits
    g.code.jump_if_constant("<=", 0, last, done)
    g.code.at(negative)
    g.code.set(0, 0)
    g.code.at(done)


def _lhist_index(g: Generator, kind: Aggregate) -> None:
    low, high, step = kind.numbers
    last = (high - low) // step + 1
    below, above, done = g.code.label(), g.code.label(), g.code.label()
    _compare(g, "s<", low, below)
    _compare(g, "s>", high, above)
    _constant(g, "-", low)
    if step > 1:
        _constant(g, "/", step)
    g.code.alu_constant("+", 0, 1)
    g.code.jump_if_constant("<=", 0, last, done)
    g.code.at(above)
    g.code.set(0, last)
    g.code.jump(done)
    g.code.at(below)
    g.code.set(0, 0)
    g.code.at(done)


def _compare(g: Generator, op: str, value: int, label: Label) -> None:
    if signed32(value) == value:
        g.code.jump_if_constant(op, 0, value, label)
    else:
        g.code.set(1, value)
        g.code.jump_if(op, 0, 1, label)


def _constant(g: Generator, op: str, value: int) -> None:
    if signed32(value) == value:
        g.code.alu_constant(op, 0, value)
    else:
        g.code.set(1, value)
        g.code.alu(op, 0, 1)


UPDATES = {
    "count": Update(_count),
    "sum": Update(_sum),
    "avg": Update(_average),
    "stats": Update(_average),
    "min": Update(_extreme, _bias),
    "max": Update(_extreme, _bias),
    "hist": Update(_bucket, _hist_index),
    "lhist": Update(_bucket, _lhist_index),
    "tseries": Update(_interval),
}


# Reading an aggregation as one integer


def read(g: Generator, node: tree.MapAccess, shape: MapShape, kind: Aggregate) -> None:
    """Reduce a state to its value in r0; 0 where there is none."""
    with g.storage.scope():
        if node.key is None:
            g.code.map_value(0, shape.name)
            READERS[kind.name](g, shape, kind)
        else:
            read_at(g, mapcode.key_of(g, shape, node.key), shape, kind, node)


def read_at(
    g: Generator, key: Place, shape: MapShape, kind: Aggregate, node: tree.MapAccess | None = None
) -> None:
    """Reduce the state under a key that is in memory; with a `node`, a missing key may be told."""
    with g.storage.scope():
        mapcode.read_found(g, key, shape, node, lambda: READERS[kind.name](g, shape, kind))


def _cells(g: Generator, shape: MapShape) -> None:
    """Sum the cells of the word at r0."""
    g.code.move(2, 0)
    g.code.map(1, shape.name)
    g.code.call(CELLS_SUM)


def _read_cell(g: Generator, shape: MapShape, kind: Aggregate) -> None:
    del kind
    _cells(g, shape)


def _read_extreme(g: Generator, shape: MapShape, kind: Aggregate) -> None:
    del shape
    unset = g.code.label()
    g.code.move(1, 0)
    g.code.load(0, Place(1, 8), 8)
    g.code.jump_if_constant("==", 0, 0, unset)
    g.code.load(0, Place(1, 0), 8)
    if kind.name == "min":
        g.code.alu_constant("^", 0, -1)
    if kind.signed:
        g.code.set(1, BIAS)
        g.code.alu("^", 0, 1)
    g.code.at(unset)


def _read_average(g: Generator, shape: MapShape, kind: Aggregate) -> None:
    done, positive = g.code.label(), g.code.label()
    slot = g.storage.take(8)
    g.code.move(8, 0)
    _cells(g, shape)
    g.code.store(slot, 0, 8)
    g.code.move(0, 8)
    g.code.alu_constant("+", 0, 8)
    _cells(g, shape)
    g.code.jump_if_constant("==", 0, 0, done)
    g.code.move(1, 0)
    g.code.load(0, slot, 8)
    if kind.signed:
        g.code.jump_if_constant("s>=", 0, 0, positive)
        g.code.negate(0)
        g.code.alu("/", 0, 1)
        g.code.negate(0)
        g.code.jump(done)
    g.code.at(positive)
    g.code.alu("/", 0, 1)
    g.code.at(done)


READERS: dict[str, Callable[[Generator, MapShape, Aggregate], None]] = {
    "count": _read_cell,
    "sum": _read_cell,
    "avg": _read_average,
    "min": _read_extreme,
    "max": _read_extreme,
}


def copy_stats(g: Generator, node: tree.MapAccess, place: Place) -> None:
    """Write the summed words of a state that is only added to; zeros where there is none."""
    shape = g.shape(node.name)
    missing = g.code.label()
    memory.zero(g, place, shape.value.size)
    with g.storage.scope():
        if node.key is None:
            g.code.map_value(0, shape.name)
        else:
            mapcode.look_up(g, shape, mapcode.key_of(g, shape, node.key))
            g.code.jump_if_constant("==", 0, 0, missing)
        g.code.move(8, 0)
        for at in range(0, shape.value.size, 8):
            g.code.move(0, 8)
            if at:
                g.code.alu_constant("+", 0, at)
            _cells(g, shape)
            g.code.store(place + at, 0, 8)
        g.code.at(missing)
