"""Expressions whose value is one word, computed in r0, and conditions as jumps.

A word is always extended to 64 bits by its type's own sign, so arithmetic needs no further care and only
conversions to narrower types cost instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import aggregate, complaints, conversion, mapcode, memory, probenames, reach, tree
from runtime.lang.builtins import argument_number, is_entry, lower_entry
from runtime.lang.c.types import Struct
from runtime.lang.code import Label, signed32
from runtime.lang.types import BOOL, COMPARISONS, Aggregate, Array, Int, String, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def word(g: Generator, node: tree.Expr, to: Type | None = None) -> None:
    """Compute a word in r0, converted to a type if one is given."""
    if isinstance(node, tree.Integer):
        g.code.set(0, conversion.constant(node.value, to))
        return
    WORDS[type(node)](g, node)
    if to is not None:
        conversion.convert(g, node.type, to)


# Simple values: one instruction, no call, any register


def _simple(node: tree.Expr) -> bool:
    if isinstance(node, tree.Scratch):
        return node.type.word
    if isinstance(node, tree.Identifier):
        return argument_number(node.name) is not None
    return isinstance(node, tree.Integer | tree.Boolean)


def _simple_to(g: Generator, node: tree.Expr, register: int) -> None:
    if isinstance(node, tree.Integer | tree.Boolean):
        g.code.set(register, int(node.value))
    elif isinstance(node, tree.Scratch):
        g.code.load(register, _variable_place(node), 8)
    elif isinstance(node, tree.Identifier):
        offset = g.body.provider.arguments[argument_number(node.name) or 0]
        g.code.load(register, g.context(offset), 8)


def _variable_place(node: tree.Scratch) -> Place:
    assert node.variable is not None
    assert node.variable.place is not None
    return node.variable.place


def operands(g: Generator, left: tree.Expr, right: tree.Expr) -> None:
    """Compute two words, the left one in r0 and the right one in r1."""
    g.word(left)
    if _simple(right):
        _simple_to(g, right, 1)
        return
    with g.storage.scope():
        slot = g.storage.take(8)
        g.code.store(slot, 0, 8)
        g.word(right)
        g.code.move(1, 0)
        g.code.load(0, slot, 8)


def _is_immediate(node: tree.Expr) -> bool:
    return isinstance(node, tree.Integer) and signed32(node.value) == node.value


# Conditions


def branch(g: Generator, node: tree.Expr, target: Label, when: bool) -> None:
    """Jump to a label if a condition is (`when`) true or false."""
    with g.storage.scope():
        if isinstance(node, tree.Unary) and node.op == "!":
            branch(g, node.value, target, not when)
        elif isinstance(node, tree.Binary) and node.op in ("&&", "||"):
            _branch_logical(g, node, target, when)
        elif isinstance(node, tree.Binary) and node.op in COMPARISONS:
            _branch_comparison(g, node, target, when)
        elif isinstance(node, tree.Boolean | tree.Integer):
            if bool(node.value) == when:
                g.code.jump(target)
        else:
            g.word(node)
            g.code.jump_if_constant("!=" if when else "==", 0, 0, target)


def _branch_logical(g: Generator, node: tree.Binary, target: Label, when: bool) -> None:
    if (node.op == "&&") == when:  # both must agree: the other outcome skips
        skip = g.code.label()
        branch(g, node.left, skip, not when)
        branch(g, node.right, target, when)
        g.code.at(skip)
    else:
        branch(g, node.left, target, when)
        branch(g, node.right, target, when)


def _branch_comparison(g: Generator, node: tree.Binary, target: Label, when: bool) -> None:
    op = node.op if when else OPPOSITE[node.op]
    left, right = conversion.read_type(node.left.type), conversion.read_type(node.right.type)
    if probenames.is_comparison(node):
        probenames.equal(g, node)
        g.code.jump_if_constant("!=" if op == "==" else "==", 0, 0, target)
        return
    if not left.word:
        memory.differs(g, node.left, node.right)
        g.code.jump_if_constant("!=" if op == "!=" else "==", 0, 0, target)
        return
    if op not in ("==", "!=") and conversion.signed_together(left, right):
        op = "s" + op
    if _is_immediate(node.right) and isinstance(node.right, tree.Integer):
        g.word(node.left)
        g.code.jump_if_constant(op, 0, node.right.value, target)
    else:
        operands(g, node.left, node.right)
        g.code.jump_if(op, 0, 1, target)


# One function a construct


def _boolean(g: Generator, node: tree.Boolean) -> None:
    g.code.set(0, int(node.value))


def _scratch(g: Generator, node: tree.Scratch) -> None:
    g.code.load(0, _variable_place(node), 8)


def _map(g: Generator, node: tree.MapAccess) -> None:
    shape = g.shape(node.name)
    if isinstance(shape.value, Aggregate):
        aggregate.read(g, node, shape, shape.value)
    else:
        mapcode.read_word(g, node, shape)


def _identifier(g: Generator, node: tree.Identifier) -> None:
    if node.known is not None:
        g.word(node.known)
        return
    if argument_number(node.name) is not None:
        _simple_to(g, node, 0)
    else:
        g.call(node)


def _call(g: Generator, node: tree.Call) -> None:
    g.call(node)


def _cast(g: Generator, node: tree.Cast) -> None:
    if isinstance(node.value.type, String):
        with g.storage.scope():
            g.code.load(0, g.place(node.value), 1)
        conversion.to_bool(g)
    elif isinstance(node.value.type, Array):
        number = Int(node.value.type.size, isinstance(node.type, Int) and node.type.signed)
        with g.storage.scope():
            conversion.load_word(g, g.place(node.value), number)
    else:
        g.word(node.value, node.type)


def _size_of(g: Generator, node: tree.SizeOf) -> None:
    g.code.set(0, node.value)


def _offset_of(g: Generator, node: tree.OffsetOf) -> None:
    g.code.set(0, node.value)


def _comptime(g: Generator, node: tree.Comptime) -> None:
    assert node.known is not None
    g.word(node.known)


def _unary(g: Generator, node: tree.Unary) -> None:
    if node.op == "!":
        truth(g, node)
        return
    g.word(node.value)
    if node.op == "-":
        g.code.negate(0)
    elif node.op == "~":
        g.code.alu_constant("^", 0, -1)
    else:
        reach.load_at(g, node, Place(0, 0))


def truth(g: Generator, node: tree.Expr) -> None:
    """Compute a condition as 0 or 1."""
    false = g.code.label()
    branch(g, node, false, False)
    g.code.one_unless(false)


def _binary(g: Generator, node: tree.Binary) -> None:
    if node.op in COMPARISONS or node.op in ("&&", "||"):
        truth(g, node)
        return
    scale = conversion.scale_of(node.left.type) if node.op in "+-" else 1
    if _is_immediate(node.right) and isinstance(node.right, tree.Integer) and scale == 1:
        g.word(node.left)
        if node.op in "/%" and node.right.value == 0:
            _by_zero(g, node)
        else:
            _by_constant(g, node.op, node.right.value)
        return
    operands(g, node.left, node.right)
    if scale > 1:
        g.code.alu_constant("*", 1, scale)
    if node.op == "+" and (other := conversion.scale_of(node.right.type)) > 1:
        g.code.alu_constant("*", 0, other)
    if node.op in "/%":
        _divide(g, node)
    else:
        g.code.alu(node.op, 0, 1)


def _by_constant(g: Generator, op: str, value: int) -> None:
    if op in ("<<", ">>") and not 0 <= value < 64:
        g.code.alu_constant(op, 0, value & 63)
    else:
        g.code.alu_constant(op, 0, value)


def _divide(g: Generator, node: tree.Binary) -> None:
    by_zero, done = g.code.label(), g.code.label()
    g.code.jump_if_constant("==", 1, 0, by_zero)
    g.code.alu(node.op, 0, 1)
    g.code.jump(done)
    g.code.at(by_zero)
    _by_zero(g, node)
    g.code.at(done)


def _by_zero(g: Generator, node: tree.Binary) -> None:
    complaints.complain(g, node.at, complaints.DIVIDED)
    g.code.set(0, 1)


def _ternary(g: Generator, node: tree.Ternary) -> None:
    otherwise, done = g.code.label(), g.code.label()
    if node.then is None:
        g.word(node.condition, node.type if node.type != BOOL else None)
        g.code.jump_if_constant("!=", 0, 0, done)
    else:
        branch(g, node.condition, otherwise, False)
        g.word(node.then, node.type)
        g.code.jump(done)
    g.code.at(otherwise)
    g.word(node.otherwise, node.type)
    g.code.at(done)


def _if(g: Generator, node: tree.If) -> None:
    if node.decided is not None:
        assert node.only is not None
        g.word(node.only, node.type)
        return
    assert node.otherwise is not None
    otherwise, done = g.code.label(), g.code.label()
    branch(g, node.condition, otherwise, False)
    g.word(node.then, node.type)
    g.code.jump(done)
    g.code.at(otherwise)
    g.word(node.otherwise, node.type)
    g.code.at(done)


def _block(g: Generator, node: tree.Block) -> None:
    assert node.value is not None
    with g.storage.scope():
        g.statements(node)
        g.word(node.value)


def _increment(g: Generator, node: tree.Increment) -> None:
    delta = 1 if node.op == "++" else -1
    if isinstance(node.target, tree.MapAccess):
        with g.storage.scope():
            mapcode.increment(g, node.target, delta, node.prefix)
        return
    place = _variable_place(node.target)
    kind = node.target.type
    g.code.load(0, place, 8)
    with g.storage.scope():
        old = g.storage.take(8)
        g.code.store(old, 0, 8)
        g.code.alu_constant("+", 0, delta * conversion.scale_of(kind))
        conversion.convert(g, Int(8, True), kind)
        g.code.store(place, 0, 8)
        if not node.prefix:
            g.code.load(0, old, 8)


def _part(g: Generator, node: tree.Item | tree.Member | tree.Index) -> None:
    if isinstance(node, tree.Member) and is_entry(node):
        lower_entry(g, node)
        return
    with g.storage.scope():
        if reach.is_remote(node):
            reach.load(g, node)
        elif (
            isinstance(node, tree.Member)
            and isinstance(node.value.type, Struct)
            and reach.field_of(node).bits
        ):
            reach.load_bits(g, memory.place_of(g, node.value), reach.field_of(node), node.value.type.size)
        else:
            conversion.load_word(g, memory.part_of(g, node), node.type)
    if node.type == BOOL:  # other memory may hold anything
        conversion.to_bool(g)


def _index(g: Generator, node: tree.Index) -> None:
    kind = node.value.type
    if not isinstance(kind, String):
        _part(g, node)
        return
    with g.storage.scope():
        slot = g.storage.take(8)
        place = g.place(node.value)
        g.word(node.index)
        g.code.store(slot, 0, 8)
        done, outside = g.code.label(), g.code.label()
        g.code.load(1, slot, 8)
        g.code.jump_if_constant(">=", 1, kind.size, outside)
        g.code.address(0, place)
        g.code.alu("+", 0, 1)
        conversion.load_word(g, Place(0, 0), node.type)
        g.code.jump(done)
        g.code.at(outside)
        complaints.complain(g, node.at, complaints.OUTSIDE)
        g.code.set(0, 0)
        g.code.at(done)


WORDS: dict[type[tree.Expr], Callable[[Generator, Any], None]] = {
    tree.Boolean: _boolean,
    tree.Scratch: _scratch,
    tree.MapAccess: _map,
    tree.Identifier: _identifier,
    tree.Call: _call,
    tree.Cast: _cast,
    tree.SizeOf: _size_of,
    tree.OffsetOf: _offset_of,
    tree.Comptime: _comptime,
    tree.Unary: _unary,
    tree.Binary: _binary,
    tree.Ternary: _ternary,
    tree.If: _if,
    tree.Block: _block,
    tree.Increment: _increment,
    tree.Item: _part,
    tree.Member: _part,
    tree.Index: _index,
    tree.AddressOf: reach.address_of,
}
