"""Values that lie in the traced process's memory, or in the program's context, and are read from there.

A struct or array that is reached through a pointer stays where it is: only what is asked of it is read, by
loads that give zero where the address is bad. `locate` leaves the address in r0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import complaints, conversion, mapcode, memory, tree
from runtime.lang.c.types import Field, Struct
from runtime.lang.types import Array, Int, Pointer, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

READ = 112  # helper: clears what it cannot read
FAR = 1 << 14  # distances that are added instead of being part of an instruction


def is_remote(node: tree.Expr) -> bool:
    """Whether a value lies in the traced process's memory."""
    if isinstance(node, tree.Scratch):
        kind = node.type
        return isinstance(kind, Struct | Array) and node.variable is not None and not node.variable.copied
    if isinstance(node, tree.Unary):
        return node.op == "*" and not is_context(node.value)
    if isinstance(node, tree.Member | tree.Index):
        if isinstance(node.value.type, Pointer):
            return not is_context(node.value)
        return isinstance(node.value.type, Struct | Array) and is_remote(node.value)
    return False


def is_context(node: tree.Expr) -> bool:
    """Whether a pointer is the program's context, maybe by another type or name."""
    if isinstance(node, tree.Cast):
        return isinstance(node.type, Pointer) and is_context(node.value)
    if isinstance(node, tree.Scratch):
        return node.variable is not None and node.variable.context
    return isinstance(node, tree.Identifier) and node.name == "ctx"


def field_of(node: tree.Member) -> Field:
    """The field that a member expression names."""
    kind = node.value.type
    struct = kind.to if isinstance(kind, Pointer) else kind
    assert isinstance(struct, Struct)
    return struct.fields[node.name]


def locate(g: Generator, node: tree.Expr) -> Place:
    """Compute where a value of the process's memory lies; the place's base is r0."""
    if isinstance(node, tree.Unary):
        g.word(node.value)
        return Place(0, 0)
    if isinstance(node, tree.Scratch):
        assert node.variable is not None
        assert node.variable.place is not None
        g.code.load(0, node.variable.place, 8)
        return Place(0, 0)
    if isinstance(node, tree.Member):
        return _near(g, _base(g, node.value) + field_of(node).offset)
    assert isinstance(node, tree.Index)
    return _element(g, node)


def _base(g: Generator, node: tree.Expr) -> Place:
    if isinstance(node.type, Pointer):
        g.word(node)
        return Place(0, 0)
    return locate(g, node)


def _near(g: Generator, place: Place) -> Place:
    if abs(place.offset) < FAR:
        return place
    g.code.set(1, place.offset)
    g.code.alu("+", 0, 1)
    return Place(0, 0)


def _element(g: Generator, node: tree.Index) -> Place:
    size = node.type.size
    kind = node.value.type
    if isinstance(node.index, tree.Integer):
        return _near(g, _base(g, node.value) + node.index.value * size)
    with g.storage.scope():
        slot = g.storage.take(8)
        g.word(node.index)
        g.code.store(slot, 0, 8)
        start = _base(g, node.value)
        g.code.load(1, slot, 8)
        done = g.code.label()
        if isinstance(kind, Array) and kind.count:
            inside = g.code.label()
            g.code.jump_if_constant("<", 1, kind.count, inside)
            complaints.complain(g, node.at, complaints.OUTSIDE)
            g.code.set(0, -start.offset)  # nothing is there, so it reads as zero
            g.code.jump(done)
            g.code.at(inside)
        g.code.alu_constant("*", 1, max(1, size))
        g.code.alu("+", 0, 1)
        g.code.at(done)
    return start


def address(g: Generator, node: tree.Expr) -> None:
    """Compute the address of a value of the process's memory in r0."""
    place = locate(g, node)
    if place.offset:
        g.code.alu_constant("+", 0, place.offset)


def address_of(g: Generator, node: tree.AddressOf) -> None:
    """Compute `&$x` or `&@m` in r0; 0 where a map has no such key."""
    target = node.target
    if isinstance(target, tree.MapAccess):
        shape = g.shape(target.name)
        if target.key is None:
            g.code.map_value(0, shape.name)
        else:
            with g.storage.scope():
                mapcode.look_up(g, shape, mapcode.key_of(g, shape, target.key))
    else:
        assert target.variable is not None
        assert target.variable.place is not None
        if target.variable.held != target.variable.type:
            g.code.load(0, target.variable.place, 8)
            return
        g.code.address(0, target.variable.place)
    # Twice negated it is a number, not a pointer that the verifier follows: reads through it are fault-safe.
    g.code.negate(0)
    g.code.negate(0)


def read(g: Generator, node: tree.Expr, to: Place) -> None:
    """Copy a value of the process's memory; what cannot be read becomes zero."""
    size = node.type.size
    if not size:
        return
    place = locate(g, node)
    g.code.address(3, place)
    g.code.address(1, to)
    g.code.set(2, size)
    g.code.call(READ)
    complaints.check_read(g, node.at, "probe_read_user")


def load(g: Generator, node: tree.Expr) -> None:
    """Read a word of the process's memory in r0."""
    if isinstance(node, tree.Member) and (field := field_of(node)).bits:
        place = _near(g, _base(g, node.value))
        load_bits(g, place, field, _struct_size(node))
        return
    load_at(g, node, locate(g, node))


def load_at(g: Generator, node: tree.Expr, place: Place) -> None:
    """Read the word of an expression at a place in r0; with `-k` a bad address is told."""
    if not g.output.checks:
        conversion.load_word(g, place, node.type)
        return
    with g.storage.scope():
        slot = g.storage.take(8)
        g.code.address(3, place)
        g.code.address(1, slot)
        g.code.set(2, node.type.size)
        g.code.call(READ)
        complaints.check_read(g, node.at, "probe_read_user")
        conversion.load_word(g, slot, node.type)


def _struct_size(node: tree.Member) -> int:
    kind = node.value.type
    return kind.to.size if isinstance(kind, Pointer) else kind.size


# Bit-fields


def load_bits(g: Generator, struct: Place, field: Field, size: int) -> None:
    """Read a bit-field of a struct of `size` bytes in r0; nothing behind the struct is touched."""
    for width in (1, 2, 4, 8):
        at = field.bit // (8 * width) * width
        if at + width <= size and (field.bit + field.bits - 1) // (8 * width) * width == at:
            g.code.load(0, struct + at, width)
            _extract(g, field.bit - 8 * at, field.bits, field.type)
            return
    _assemble(g, struct, field)
    _extract(g, 0, field.bits, field.type)


def _assemble(g: Generator, struct: Place, field: Field) -> None:
    """Put a field together from its bytes: it crosses a word, or the struct ends within one."""
    first, last = field.bit // 8, (field.bit + field.bits - 1) // 8
    g.code.address(3, struct)
    g.code.set(0, 0)
    for at in range(first, last + 1):
        g.code.load(1, Place(3, at), 1)
        shift = 8 * at - field.bit
        if shift:
            g.code.alu_constant("<<" if shift > 0 else ">>", 1, abs(shift))
        g.code.alu("|", 0, 1)


def _extract(g: Generator, shift: int, bits: int, kind: Type) -> None:
    left, right = 64 - shift - bits, 64 - bits
    if left:
        g.code.alu_constant("<<", 0, left)
    if right:
        signed = isinstance(kind, Int) and kind.signed
        g.code.alu_constant("s>>" if signed else ">>", 0, right)


# What lies here


def part(g: Generator, node: tree.Member | tree.Index) -> Place:
    """Memory of a field or of an element of a struct or array that lies here, or in the context."""
    if isinstance(node, tree.Member):
        start = Place(g.context().base, 0) if is_context(node.value) else memory.place_of(g, node.value)
        return start + field_of(node).offset
    array = node.value.type
    assert isinstance(array, Array)
    size = array.element.size
    start = memory.place_of(g, node.value)
    if isinstance(node.index, tree.Integer):
        return start + node.index.value * size
    return _chosen(g, node, start, array)


def _chosen(g: Generator, node: tree.Index, start: Place, array: Array) -> Place:
    """A copy of the element that is known only when the program runs; zeros where there is none."""
    size = array.element.size
    result = g.storage.take(max(8, size))
    if start.base == g.context().base:
        kept = g.storage.take(array.size)
        memory.copy(g, kept, start, array.size)
        start = kept
    outside, done = g.code.label(), g.code.label()
    g.word(node.index)
    g.code.jump_if_constant(">=", 0, array.count, outside)
    g.code.alu_constant("*", 0, size)
    g.code.address(1, start)
    g.code.alu("+", 0, 1)
    memory.copy(g, result, Place(0, 0), size)
    g.code.jump(done)
    g.code.at(outside)
    complaints.complain(g, node.at, complaints.OUTSIDE)
    memory.zero(g, result, size)
    g.code.at(done)
    return result
