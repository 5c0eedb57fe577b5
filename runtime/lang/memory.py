"""Values that live in memory: strings, tuples and the like, written to a place in their type's layout.

Whatever is written is complete: padding and the rest of a string are zero, so that equal values are equal
bytes (map keys).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import conversion, fields, reach, tree
from runtime.lang.code import signed32, signed64
from runtime.lang.layout import stored_size
from runtime.lang.types import Array, Buffer, Int, String, Tuple, Type, join, settled
from runtime.lang.variables import Place, Variable

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

INLINE = 64  # bytes; more go through a helper
HELPER_ZERO, HELPER_COPY, HELPER_COMPARE = 100003, 100004, 100005


def steps(offset: int, size: int) -> list[tuple[int, int]]:
    """Split a range into naturally aligned accesses: (distance, bytes)."""
    result, at = [], 0
    while at < size:
        width = next(n for n in (8, 4, 2, 1) if at + n <= size and (offset + at) % n == 0)
        result.append((at, width))
        at += width
    return result


def zero(g: Generator, place: Place, size: int) -> None:
    """Clear memory."""
    if size <= INLINE:
        for at, width in steps(place.offset, size):
            g.code.store_constant(place + at, 0, width)
        return
    g.code.address(1, place)
    g.code.set(2, size)
    g.code.call(HELPER_ZERO)


def copy(g: Generator, to: Place, source: Place, size: int) -> None:
    """Copy memory; r0 may be the base of the source."""
    if size <= INLINE:
        for at, width in steps(to.offset | source.offset, size):
            g.code.load(1, source + at, width)
            g.code.store(to + at, 1, width)
        return
    g.code.address(2, source)
    g.code.address(1, to)
    g.code.set(3, size)
    g.code.call(HELPER_COPY)


def constant(g: Generator, place: Place, data: bytes) -> None:
    """Write known bytes."""
    end = len(data.rstrip(b"\0"))
    head = min(len(data), (end + 7) & ~7) if len(data) > INLINE else len(data)
    for at, width in steps(place.offset, head):
        value = int.from_bytes(data[at : at + width], "little")
        if width < 8 or signed32(value) == signed64(value):
            g.code.store_constant(place + at, value, width)
        else:
            g.code.set(1, value)
            g.code.store(place + at, 1, 8)
    if head < len(data):
        zero(g, place + head, len(data) - head)


def write_stored(g: Generator, node: tree.Expr, place: Place, kind: Type) -> None:
    """Write a value of its own: a whole word, or memory with its end padded."""
    if kind.word:
        g.word(node, kind)
        g.code.store(place, 0, 8)
        return
    write(g, node, place, kind)
    if kind.size < stored_size(kind):
        zero(g, place + kind.size, stored_size(kind) - kind.size)


def write(g: Generator, node: tree.Expr, place: Place, kind: Type) -> None:
    """Write a value in the layout of a type, which may be wider than its own."""
    if kind.word:
        g.word(node, kind)
        g.code.store(place, 0, kind.size)
    elif isinstance(node, tree.String) and isinstance(kind, String):
        constant(g, place, node.value[: kind.capacity].ljust(kind.capacity, b"\0"))
    elif isinstance(node, tree.Tuple | tree.Record) and isinstance(kind, Tuple):
        _write_tuple(g, node, place, kind)
    elif type(node) in WRITERS:
        WRITERS[type(node)](g, node, place, kind)
    elif reach.is_remote(node) and kind.size >= node.type.size:
        reach.read(g, node, place)
        zero(g, place + node.type.size, kind.size - node.type.size)
    else:
        convert(g, place_of(g, node), node.type, place, kind)


def _write_tuple(g: Generator, node: tree.Tuple | tree.Record, place: Place, kind: Tuple) -> None:
    gaps(g, place, kind)
    order = node.items
    if isinstance(node, tree.Record) and kind.names:
        order = [node.items[node.names.index(name)] for name in kind.names]
    for item, to, offset in zip(order, kind.items, kind.offsets, strict=True):
        with g.storage.scope():
            write(g, item, place + offset, to)


def gaps(g: Generator, place: Place, kind: Tuple) -> None:
    """Clear the padding between and behind the items of a tuple."""
    if not kind.items:
        return
    ends = [offset + item.size for offset, item in zip(kind.offsets, kind.items, strict=True)]
    for end, begin in zip(ends, [*kind.offsets[1:], kind.size], strict=True):
        if end < begin:
            zero(g, place + end, begin - end)


def convert(g: Generator, source: Place, have: Type, place: Place, want: Type) -> None:
    """Copy a value from memory to memory, from one type's layout to a wider one's."""
    if want.word:
        conversion.load_word(g, source, have)
        conversion.convert(g, have, want)
        g.code.store(place, 0, want.size)
    elif isinstance(want, Tuple) and isinstance(have, Tuple) and have != want:
        _convert_tuple(g, source, have, place, want)
    elif isinstance(want, String | Buffer) and have.size < want.size:
        copy(g, place, source, have.size)
        zero(g, place + have.size, want.size - have.size)
    else:
        copy(g, place, source, want.size)


def _convert_tuple(g: Generator, source: Place, have: Tuple, place: Place, want: Tuple) -> None:
    gaps(g, place, want)
    for index, (kind, offset) in enumerate(zip(want.items, want.offsets, strict=True)):
        other = have.names.index(want.names[index]) if want.names else index
        convert(g, source + have.offsets[other], have.items[other], place + offset, kind)


def place_of(g: Generator, node: tree.Expr) -> Place:
    """Memory that holds a value: the variable's own, else a temporary one."""
    if isinstance(node, tree.Scratch):
        assert node.variable is not None
        assert node.variable.place is not None
        have, want = node.variable.type, node.type
        if settled(have) == want and node.variable.held == have:
            return node.variable.place
    if isinstance(node, tree.Item | tree.Member | tree.Index) and not reach.is_remote(node):
        return part_of(g, node)
    place = g.storage.take(stored_size(node.type))
    write(g, node, place, node.type)
    return place


def part_of(g: Generator, node: tree.Item | tree.Member | tree.Index) -> Place:
    """Memory of an element of a tuple or record, of a struct or an array, or of a field of `args`."""
    if isinstance(node, tree.Member) and fields.is_args(node.value):
        return fields.place_of(g, node)
    kind = node.value.type
    if not isinstance(kind, Tuple):
        assert not isinstance(node, tree.Item)
        return reach.part(g, node)
    if isinstance(node, tree.Member):
        index = kind.names.index(node.name)
    else:
        number = node.index
        index = number if isinstance(number, int) else getattr(number, "value", 0)
    return place_of(g, node.value) + kind.offsets[index]


def mentions(node: tree.Node, variable: Variable) -> bool:
    """Whether an expression reads a variable."""
    if isinstance(node, tree.Scratch) and node.variable is variable:
        return True
    return any(mentions(child, variable) for child in tree.children(node))


# Comparison


def differs(g: Generator, left: tree.Expr, right: tree.Expr) -> None:
    """Compare two values in memory: r0 becomes 0 where they are equal, else something else."""
    if isinstance(left.type, String) and isinstance(right.type, String):
        literal, other = (left, right) if isinstance(left, tree.String) else (right, left)
        if isinstance(literal, tree.String) and len(literal.value) < INLINE:
            _differs_from_literal(g, other, literal.value)
        else:
            _strings_differ(g, left, left.type, right, right.type)
        return
    kind = join(left.type, right.type)
    assert kind is not None
    with g.storage.scope():
        places = [g.storage.take(stored_size(kind)) for _ in range(2)]
        for node, place in zip((left, right), places, strict=True):
            write_stored(g, node, place, kind)
        _bytes_differ(g, places[0], places[1], stored_size(kind))


def _bytes_differ(g: Generator, left: Place, right: Place, size: int) -> None:
    done = g.code.label()
    for at, width in steps(left.offset | right.offset, size):
        g.code.load(0, left + at, width)
        g.code.load(1, right + at, width)
        g.code.alu("-", 0, 1)
        g.code.jump_if_constant("!=", 0, 0, done)
    g.code.set(0, 0)
    g.code.at(done)


def _differs_from_literal(g: Generator, other: tree.Expr, literal: bytes) -> None:
    text = literal.partition(b"\0")[0] + b"\0"
    assert isinstance(other.type, String)
    text = text[: other.type.capacity]
    done = g.code.label()
    with g.storage.scope():
        place = place_of(g, other)
        for at, width in steps(place.offset, len(text)):
            value = int.from_bytes(text[at : at + width], "little")
            g.code.load(0, place + at, width)
            g.code.set(1, value)
            g.code.alu("-", 0, 1)
            g.code.jump_if_constant("!=", 0, 0, done)
        g.code.set(0, 0)
        g.code.at(done)


def _strings_differ(g: Generator, left: tree.Expr, one: String, right: tree.Expr, two: String) -> None:
    with g.storage.scope():
        first, second = place_of(g, left), place_of(g, right)
        g.code.address(1, first)
        g.code.set(2, one.capacity)
        g.code.address(3, second)
        g.code.set(4, two.capacity)
        g.code.call(HELPER_COMPARE)


# One function a construct that can write straight to its destination


def _write_identifier(g: Generator, node: tree.Identifier, place: Place, kind: Type) -> None:
    if fields.is_args(node):
        assert isinstance(kind, Tuple)
        fields.write_whole(g, place, kind)
    else:
        _write_call(g, node, place, kind)


def _write_call(g: Generator, node: tree.Call | tree.Identifier, place: Place, kind: Type) -> None:
    g.fill(node, place)
    have = node.type.size
    if kind.size > have:
        zero(g, place + have, kind.size - have)


def _write_map(g: Generator, node: tree.MapAccess, place: Place, kind: Type) -> None:
    g.fill_from_map(node, place, kind)


def _write_ternary(g: Generator, node: tree.Ternary, place: Place, kind: Type) -> None:
    otherwise, done = g.code.label(), g.code.label()
    g.branch(node.condition, otherwise, False)
    with g.storage.scope():
        write(g, node.then if node.then is not None else node.condition, place, kind)
    g.code.jump(done)
    g.code.at(otherwise)
    with g.storage.scope():
        write(g, node.otherwise, place, kind)
    g.code.at(done)


def _write_if(g: Generator, node: tree.If, place: Place, kind: Type) -> None:
    if node.decided is not None:
        assert node.only is not None
        write(g, node.only, place, kind)
        return
    assert node.otherwise is not None
    otherwise, done = g.code.label(), g.code.label()
    g.branch(node.condition, otherwise, False)
    write(g, node.then, place, kind)
    g.code.jump(done)
    g.code.at(otherwise)
    write(g, node.otherwise, place, kind)
    g.code.at(done)


def _write_block(g: Generator, node: tree.Block, place: Place, kind: Type) -> None:
    assert node.value is not None
    with g.storage.scope():
        g.statements(node)
        write(g, node.value, place, kind)


def _write_cast(g: Generator, node: tree.Cast, place: Place, kind: Type) -> None:
    have = node.value.type
    if isinstance(kind, Array) and not isinstance(have, Array | String):
        g.word(node.value, Int(kind.size, True))
        g.code.store(place, 0, kind.size)
    elif isinstance(kind, Array) and isinstance(have, String):
        write(g, node.value, place, String(kind.size))
    else:
        write(g, node.value, place, kind)


def _write_comptime(g: Generator, node: tree.Comptime, place: Place, kind: Type) -> None:
    assert node.known is not None
    write(g, node.known, place, kind)


def _write_type_info(g: Generator, node: tree.SizeOf, place: Place, kind: Type) -> None:
    assert node.record is not None
    write(g, node.record, place, kind)


WRITERS: dict[type[tree.Expr], Callable[[Generator, Any, Place, Type], None]] = {
    tree.MapAccess: _write_map,
    tree.Call: _write_call,
    tree.Identifier: _write_identifier,
    tree.Ternary: _write_ternary,
    tree.If: _write_if,
    tree.Block: _write_block,
    tree.Cast: _write_cast,
    tree.Comptime: _write_comptime,
    tree.SizeOf: _write_type_info,
}
