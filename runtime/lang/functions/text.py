"""Reading memory of the traced process: str, buf, memcmp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import complaints, memory, tree
from runtime.lang.functions.row import Function
from runtime.lang.types import INT64, UNKNOWN, Array, Buffer, Int, Pointer, String, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

READ, READ_STRING, COMPARE = 112, 114, 100023  # helpers


def check_address(c: Checker, call: tree.Call, node: tree.Expr) -> bool:
    """Check an argument that is an address."""
    kind = c.value(node)
    if kind == UNKNOWN or isinstance(kind, Int | Pointer):
        return True
    c.fail(node.at, f"{call.name}() expects an integer or a pointer type as first argument ({kind} provided)")
    return False


def _is_characters(kind: Type) -> bool:
    return isinstance(kind, Array) and isinstance(kind.element, Int) and kind.element.bytes == 1


def _check_str(c: Checker, call: tree.Call) -> Type:
    most = c.config.number("max_strlen")
    kind = c.value(call.args[0])
    in_memory = isinstance(kind, String) or _is_characters(kind)
    if not in_memory and not check_address(c, call, call.args[0]):
        return UNKNOWN
    size = kind.size if in_memory else most
    if len(call.args) == 1:
        return String(max(1, size))
    length = call.args[1]
    if c.integer(length, "str()") == UNKNOWN or not isinstance(length, tree.Integer):
        return String(max(1, size))
    if length.value < 0:
        return c.fail(length.at, f"str cannot use negative length ({length.value})")
    if length.value > most:
        c.warn(length.at, f"length param ({length.value}) is too long and will be shortened to {most} bytes")
    return String(max(1, min(length.value, most) + 1))


def _fill_str(g: Generator, call: tree.Call, place: Place) -> None:
    assert isinstance(call.type, String)
    size = call.type.capacity
    length = call.args[1] if len(call.args) == 2 else None
    source = call.args[0].type
    # Without a limit one byte more than the type holds: a string without NUL in its type is one that was cut.
    most = size + 1 if length is None else size
    with g.storage.scope():
        address, limit, room = g.storage.take(8), g.storage.take(8), g.storage.take_frame(2 * most)
        if length is not None and not isinstance(length, tree.Integer):
            g.word(length)
            g.code.store(limit, 0, 8)
        if source.word:
            g.word(call.args[0])
            g.code.store(address, 0, 8)
            _read(g, call, (room, address, limit), most)
        else:
            _take(g, call, (room, limit), most)
        clear_behind(g, room, most)
        memory.copy(g, place, room, size)


def _read(g: Generator, call: tree.Call, places: tuple[Place, Place, Place], most: int) -> None:
    """Read a string of the traced process; r0 becomes its length with the NUL, or negative."""
    room, address, limit = places
    length = call.args[1] if len(call.args) == 2 else None
    fits, empty = g.code.label(), g.code.label()
    if isinstance(length, tree.Integer):
        most -= 1
        if not most:
            g.code.set(0, 0)
            return
    g.code.set(2, most)
    if length is not None and not isinstance(length, tree.Integer):
        g.code.set(0, 0)
        g.code.load(2, limit, 8)
        g.code.jump_if_constant("==", 2, 0, empty)
        g.code.jump_if_constant("<=", 2, most, fits)
        g.code.set(2, most)
        g.code.at(fits)
    g.code.load(3, address, 8)
    g.code.address(1, room)
    g.code.call(READ_STRING)
    complaints.check_read(g, call.at, "probe_read_user_str")
    g.code.at(empty)


def _take(g: Generator, call: tree.Call, places: tuple[Place, Place], most: int) -> None:
    """Copy a string that is a value already; r0 becomes the length that counts, with a NUL behind it."""
    room, limit = places
    length = call.args[1] if len(call.args) == 2 else None
    source = g.place(call.args[0])
    size = min(most, call.args[0].type.size)
    memory.zero(g, room, most)
    memory.copy(g, room, source, size)
    if length is None:
        g.code.set(0, most)
        return
    shorter, done = g.code.label(), g.code.label()
    if isinstance(length, tree.Integer):
        g.code.set(0, max(0, most - 2))
        return
    g.code.load(0, limit, 8)
    g.code.jump_if_constant("!=", 0, 0, shorter)
    g.code.set(0, 1)
    g.code.at(shorter)
    g.code.alu_constant("-", 0, 1)
    g.code.jump_if_constant("<=", 0, size, done)
    g.code.set(0, size)
    g.code.at(done)


def read_string(g: Generator, room: Place, address: Place, most: int) -> None:
    """Read up to `most` bytes of a string; r0 becomes its length with the NUL, or negative."""
    g.code.set(2, most)
    g.code.load(3, address, 8)
    g.code.address(1, room)
    g.code.call(READ_STRING)


def clear_behind(g: Generator, room: Place, most: int) -> None:
    """Zero what lies behind a string of length r0: equal strings must be equal keys.

    Always `most` bytes, so that the size is a constant; the room is twice as large for that.
    """
    good = g.code.label()
    g.code.jump_if_constant("<=", 0, most, good)
    g.code.set(0, 0)
    g.code.at(good)
    g.code.address(1, room)
    g.code.alu("+", 1, 0)
    g.code.set(2, most)
    g.code.call(memory.HELPER_ZERO)


def _check_buf(c: Checker, call: tree.Call) -> Type:
    most = max(4, c.config.number("max_strlen") - 4)
    kind = c.value(call.args[0])
    own = kind.size if isinstance(kind, Array | String) else 0
    if not own and not check_address(c, call, call.args[0]):
        return UNKNOWN
    if len(call.args) == 1:
        if own:
            return Buffer(min(own, most))
        return c.fail(call.at, "buf() expects a length argument for non-array type") if c.final else UNKNOWN
    length = call.args[1]
    c.integer(length, "buf()")
    if not isinstance(length, tree.Integer):
        return Buffer(min(own, most) if own else most)
    if length.value < 0:
        return c.fail(length.at, f"buf cannot use negative length ({length.value})")
    if length.value > most:
        c.warn(length.at, f"length param ({length.value}) is too long and will be shortened to {most} bytes")
    return Buffer(max(1, min(length.value, own or most, most)))


def _fill_buf(g: Generator, call: tree.Call, place: Place) -> None:
    assert isinstance(call.type, Buffer)
    size = call.type.capacity
    fits, empty = g.code.label(), g.code.label()
    source = call.args[0].type
    with g.storage.scope():
        address, limit = g.storage.take(8), g.storage.take(8)
        if source.word:
            g.word(call.args[0])
        else:
            g.code.address(0, g.place(call.args[0]))
        g.code.store(address, 0, 8)
        if len(call.args) == 2:
            g.word(call.args[1])
        else:
            g.code.set(0, size)
        g.code.jump_if_constant("<=", 0, size, fits)
        g.code.set(0, size)
        g.code.at(fits)
        g.code.store(limit, 0, 8)
        memory.zero(g, place, size + 4)
        g.code.load(2, limit, 8)
        g.code.store(place, 2, 4)
        g.code.jump_if_constant("==", 2, 0, empty)
        g.code.load(3, address, 8)
        g.code.address(1, place + 4)
        g.code.call(READ)
        complaints.check_read(g, call.at, "probe_read_user")
        g.code.jump_if_constant("==", 0, 0, empty)
        memory.zero(g, place + 4, size)
        g.code.at(empty)


def _check_memcmp(c: Checker, call: tree.Call) -> Type:
    kinds = [c.value(node) for node in call.args[:2]]
    count = c.literal(call.args[2], "memcmp()")
    if count < 0:
        c.fail(call.args[2].at, "memcmp() expects a non-negative count")
    for kind, node in zip(kinds, call.args, strict=False):
        if kind != UNKNOWN and not isinstance(kind, Pointer) and kind.size < count:
            c.fail(node.at, f"memcmp() can not compare {count} bytes of a {kind}")
    return INT64


def _compared(g: Generator, node: tree.Expr, count: int) -> Place:
    """Memory with the bytes of an argument of memcmp."""
    if isinstance(node.type, Pointer):
        room = g.storage.take_frame(max(8, count))
        g.word(node)
        g.code.move(3, 0)
        g.code.address(1, room)
        g.code.set(2, count)
        g.code.call(READ)
        complaints.check_read(g, node.at, "probe_read_user")
        return room
    if not node.type.word:
        return g.place(node)
    room = g.storage.take(8)
    g.word(node)
    g.code.store(room, 0, 8)
    return room


def _lower_memcmp(g: Generator, call: tree.Call) -> None:
    one, two, count = call.args
    assert isinstance(count, tree.Integer)
    if not count.value:
        g.code.set(0, 0)
        return
    with g.storage.scope():
        first, second = (_compared(g, node, count.value) for node in (one, two))
        g.code.address(1, first)
        g.code.address(2, second)
        g.code.set(3, count.value)
        g.code.call(COMPARE)


ROWS = (
    Function("str", 1, 2, _check_str, fill=_fill_str),
    Function("buf", 1, 2, _check_buf, fill=_fill_buf),
    Function("memcmp", 3, 3, _check_memcmp, _lower_memcmp),
)
