"""Ring records: arguments are computed first, then a record is reserved, filled in place and submitted.

Payload: `u16 event, u16 flags, u32 zero`, then each argument at a multiple of 8 in its stored size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import conversion, memory, tree
from runtime.lang.decode import HEADER, Decoder
from runtime.lang.layout import stored_size
from runtime.lang.types import Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

RESERVE, SUBMIT = 131, 132  # helpers
RING = ".events"
RECORD = 9  # register


def send(g: Generator, decoder: Decoder, args: list[tuple[tree.Expr, Type]]) -> None:
    """Send one event to the tracer; a full ring drops it and counts."""
    number = g.output.event(decoder)
    full = g.code.label()
    with g.storage.scope():
        places = [_compute(g, node, kind) for node, kind in args]
        size = HEADER + sum(stored_size(kind) for _, kind in args)
        g.code.map(1, RING)
        g.code.set(2, size)
        g.code.set(3, 0)
        g.code.call(RESERVE)
        g.code.jump_if_constant("==", 0, 0, full)
        g.code.move(RECORD, 0)
        g.code.store_constant(Place(RECORD, 0), number, 8)
        at = HEADER
        for (node, kind), place in zip(args, places, strict=True):
            _fill(g, Place(RECORD, at), node, kind, place)
            at += stored_size(kind)
        g.code.move(1, RECORD)
        g.code.set(2, 0)
        g.code.call(SUBMIT)
        g.code.at(full)


def _is_constant(node: tree.Expr) -> bool:
    return isinstance(node, tree.Integer | tree.Boolean) or (
        isinstance(node, tree.String) and len(node.value) < memory.INLINE
    )


def _compute(g: Generator, node: tree.Expr, kind: Type) -> Place | None:
    if _is_constant(node):
        return None
    if kind.word:
        place = g.storage.take(8)
        g.word(node, kind)
        g.code.store(place, 0, 8)
        return place
    if node.type == kind:
        return g.place(node)
    place = g.storage.take(stored_size(kind))
    g.write(node, place, kind)
    return place


def _fill(g: Generator, to: Place, node: tree.Expr, kind: Type, place: Place | None) -> None:
    if place is None and kind.word:
        assert isinstance(node, tree.Integer | tree.Boolean)
        g.code.set(1, conversion.constant(int(node.value), kind))
        g.code.store(to, 1, 8)
    elif place is None:
        g.write(node, to, kind)
    elif kind.word:
        g.code.load(1, place, 8)
        g.code.store(to, 1, 8)
    else:
        memory.copy(g, to, place, kind.size)
