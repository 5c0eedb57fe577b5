"""Functions that read and change data: str, strlen, strncmp, buf, reg, usym, bswap, strftime, ntop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import memory, tree
from runtime.lang.builtins import finish_symbol
from runtime.lang.functions.row import Function
from runtime.lang.suggest import near
from runtime.lang.types import (
    BOOL,
    INET,
    SYMBOL,
    TIMESTAMP,
    UINT64,
    UNKNOWN,
    Buffer,
    Int,
    Pointer,
    String,
    Type,
)
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

READ, READ_STRING = 112, 114  # helpers
REGISTERS = {
    "r15": 0, "r14": 8, "r13": 16, "r12": 24, "bp": 32, "bx": 40, "r11": 48, "r10": 56, "r9": 64, "r8": 72,
    "ax": 80, "cx": 88, "dx": 96, "si": 104, "di": 112, "orig_ax": 120, "ip": 128, "pc": 128, "cs": 136,
    "flags": 144, "sp": 152, "ss": 160,
}  # fmt: skip
IPV4 = 2  # AF_INET


def _check_address(c: Checker, call: tree.Call, node: tree.Expr) -> bool:
    kind = c.value(node)
    if kind == UNKNOWN or isinstance(kind, Int | Pointer):
        return True
    c.fail(node.at, f"{call.name}() expects an integer or a pointer type as first argument ({kind} provided)")
    return False


def _check_str(c: Checker, call: tree.Call) -> Type:
    most = c.config.number("max_strlen")
    size = most
    if isinstance(c.value(call.args[0]), String):
        return call.args[0].type
    if not _check_address(c, call, call.args[0]):
        return UNKNOWN
    if len(call.args) == 2:
        kind = c.integer(call.args[1], "str()")
        length = call.args[1]
        if isinstance(length, tree.Integer) and kind != UNKNOWN:
            if length.value < 0:
                return c.fail(length.at, "str cannot use negative length (" + str(length.value) + ")")
            if length.value > most:
                c.warn(
                    length.at,
                    f"length param ({length.value}) is too long and will be shortened to {most} bytes",
                )
            size = min(length.value, most) + 1
    return String(max(1, size))


def _fill_str(g: Generator, call: tree.Call, place: Place) -> None:
    assert isinstance(call.type, String)
    if isinstance(call.args[0].type, String):
        g.write(call.args[0], place, call.type)
        return
    size = call.type.capacity
    length = call.args[1] if len(call.args) == 2 else None
    # Without a limit one byte more than the type holds: a string without NUL in its type is one that was cut.
    most = size + 1 if length is None else size
    with g.storage.scope():
        address, limit, room = g.storage.take(8), g.storage.take(8), g.storage.take_frame(2 * most)
        g.word(call.args[0])
        g.code.store(address, 0, 8)
        if length is not None and not isinstance(length, tree.Integer):
            g.word(length)
            g.code.store(limit, 0, 8)
        _read_string(g, room, address, limit, most, length)
        _clear_behind(g, room, most)
        memory.copy(g, place, room, size)


def _read_string(
    g: Generator, room: Place, address: Place, limit: Place, most: int, length: tree.Expr | None
) -> None:
    """Read a string; r0 becomes its length with the NUL, or negative."""
    fits, empty = g.code.label(), g.code.label()
    g.code.set(0, 0)
    if isinstance(length, tree.Integer) and most == 1:
        return
    if length is None:
        g.code.set(2, most)
    elif isinstance(length, tree.Integer):
        g.code.set(2, most - 1)
    else:
        g.code.load(2, limit, 8)
        g.code.jump_if_constant("==", 2, 0, empty)
        g.code.jump_if_constant("<=", 2, most, fits)
        g.code.set(2, most)
        g.code.at(fits)
    g.code.load(3, address, 8)
    g.code.address(1, room)
    g.code.call(READ_STRING)
    g.code.at(empty)


def _clear_behind(g: Generator, room: Place, most: int) -> None:
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


def _check_strlen(c: Checker, call: tree.Call) -> Type:
    kind = c.value(call.args[0])
    if kind != UNKNOWN and not isinstance(kind, String):
        return c.fail(call.args[0].at, f"strlen() expects a string ({kind} provided)")
    return UINT64


def _lower_strlen(g: Generator, call: tree.Call) -> None:
    kind = call.args[0].type
    assert isinstance(kind, String)
    again, done = g.code.label(), g.code.label()
    with g.storage.scope():
        place = g.place(call.args[0])
        g.code.set(0, 0)
        g.code.at(again)
        g.code.jump_if_constant(">=", 0, kind.capacity, done)
        g.code.address(1, place)
        g.code.alu("+", 1, 0)
        g.code.load(2, Place(1, 0), 1)
        g.code.jump_if_constant("==", 2, 0, done)
        g.code.alu_constant("+", 0, 1)
        g.code.jump(again)
        g.code.at(done)


def _check_strncmp(c: Checker, call: tree.Call) -> Type:
    for arg in call.args[:2]:
        kind = c.value(arg)
        if kind != UNKNOWN and not isinstance(kind, String):
            c.fail(arg.at, f"strncmp() only supports string arguments ({kind} provided)")
    if c.literal(call.args[2], "strncmp()") < 0:
        c.fail(call.args[2].at, "strncmp() expects a non-negative length")
    return UINT64


def _lower_strncmp(g: Generator, call: tree.Call) -> None:
    one, two, count = call.args
    assert isinstance(count, tree.Integer)
    assert isinstance(one.type, String)
    assert isinstance(two.type, String)
    with g.storage.scope():
        first, second = g.place(one), g.place(two)
        g.code.address(1, first)
        g.code.set(2, min(count.value, one.type.capacity))
        g.code.address(3, second)
        g.code.set(4, min(count.value, two.type.capacity))
        g.code.call(memory.HELPER_COMPARE)


def _check_buf(c: Checker, call: tree.Call) -> Type:
    if not _check_address(c, call, call.args[0]):
        return UNKNOWN
    if len(call.args) == 1:
        return c.fail(call.at, "buf() expects a length argument for non-array type")
    c.integer(call.args[1], "buf()")
    most = max(4, c.config.number("max_strlen") - 4)
    length = call.args[1]
    if isinstance(length, tree.Integer):
        if length.value < 0:
            return c.fail(length.at, f"buf cannot use negative length ({length.value})")
        if length.value > most:
            c.warn(
                length.at, f"length param ({length.value}) is too long and will be shortened to {most} bytes"
            )
        return Buffer(max(1, min(length.value, most)))
    return Buffer(most)


def _fill_buf(g: Generator, call: tree.Call, place: Place) -> None:
    assert isinstance(call.type, Buffer)
    size = call.type.capacity
    fits, empty = g.code.label(), g.code.label()
    with g.storage.scope():
        address, limit = g.storage.take(8), g.storage.take(8)
        g.word(call.args[0])
        g.code.store(address, 0, 8)
        g.word(call.args[1])
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
        g.code.jump_if_constant("==", 0, 0, empty)
        memory.zero(g, place + 4, size)
        g.code.at(empty)


def _check_reg(c: Checker, call: tree.Call) -> Type:
    name = c.text(call.args[0], "reg()")
    if not c.body.provider.registers:
        return c.fail(call.at, f'reg can not be used with "{c.body.provider.name}" probes')
    if name is not None and name.decode("latin-1") not in REGISTERS:
        shown = name.decode("utf-8", "replace")
        c.fail(
            call.args[0].at,
            f"'{shown}' is not a valid register on this architecture (x86_64)",
            near(shown, REGISTERS),
        )
    return UINT64


def _lower_reg(g: Generator, call: tree.Call) -> None:
    name = call.args[0]
    assert isinstance(name, tree.String)
    g.code.load(0, g.context(REGISTERS[name.value.decode("latin-1")]), 8)


def _check_usym(c: Checker, call: tree.Call) -> Type:
    return SYMBOL if _check_address(c, call, call.args[0]) else UNKNOWN


def _fill_usym(g: Generator, call: tree.Call, place: Place) -> None:
    g.word(call.args[0])
    finish_symbol(g, place)


def _check_same(c: Checker, call: tree.Call) -> Type:
    return c.value(call.args[0])


def _lower_same(g: Generator, call: tree.Call) -> None:
    g.word(call.args[0])


def _check_bswap(c: Checker, call: tree.Call) -> Type:
    kind = c.integer(call.args[0], "bswap()")
    return Int(kind.bytes, False) if isinstance(kind, Int) else UNKNOWN


def _lower_bswap(g: Generator, call: tree.Call) -> None:
    kind = call.type
    g.word(call.args[0], kind)
    if kind.size > 1:
        g.code.swap(0, 8 * kind.size)


def _check_strftime(c: Checker, call: tree.Call) -> Type:
    c.text(call.args[0], "strftime()")
    c.integer(call.args[1], "strftime()")
    if isinstance(call.args[1], tree.Integer) and call.args[1].value < 0:
        return c.fail(call.args[1].at, "strftime() can not take negative values")
    return TIMESTAMP


def _fill_strftime(g: Generator, call: tree.Call, place: Place) -> None:
    text = call.args[0]
    assert isinstance(text, tree.String)
    g.output.formats.append(text.value.decode("utf-8", "surrogateescape"))
    number = len(g.output.formats) - 1
    g.word(call.args[1])
    g.code.store_constant(place, number, 8)
    g.code.store(place + 8, 0, 8)


def _check_ntop(c: Checker, call: tree.Call) -> Type:
    kind = c.value(call.args[-1])
    if len(call.args) == 2 and c.literal(call.args[0], "ntop()") != IPV4:
        return c.fail(call.args[0].at, "ntop() serves IPv4 integers only (address family 2)")
    if kind != UNKNOWN and not isinstance(kind, Int):
        return c.fail(call.args[-1].at, f"ntop() expects an integer ({kind} provided)")
    return INET


def _fill_ntop(g: Generator, call: tree.Call, place: Place) -> None:
    g.word(call.args[-1])
    g.code.store_constant(place, IPV4, 8)
    g.code.alu_constant("<<", 0, 32)
    g.code.alu_constant(">>", 0, 32)
    g.code.store(place + 8, 0, 8)
    g.code.store_constant(place + 16, 0, 8)


def _check_is_err(c: Checker, call: tree.Call) -> Type:
    c.value(call.args[0])
    return BOOL


def _lower_is_err(g: Generator, call: tree.Call) -> None:
    yes, done = g.code.label(), g.code.label()
    g.word(call.args[0])
    g.code.alu_constant("+", 0, 4095)
    g.code.jump_if_constant("<", 0, 4095, yes)
    g.code.set(0, 0)
    g.code.jump(done)
    g.code.at(yes)
    g.code.set(0, 1)
    g.code.at(done)


ROWS = (
    Function("str", 1, 2, _check_str, fill=_fill_str),
    Function("strlen", 1, 1, _check_strlen, _lower_strlen),
    Function("strncmp", 3, 3, _check_strncmp, _lower_strncmp),
    Function("buf", 1, 2, _check_buf, fill=_fill_buf),
    Function("reg", 1, 1, _check_reg, _lower_reg),
    Function("usym", 1, 1, _check_usym, fill=_fill_usym),
    Function("uptr", 1, 1, _check_same, _lower_same),
    Function("kptr", 1, 1, _check_same, _lower_same),
    Function("bswap", 1, 1, _check_bswap, _lower_bswap),
    Function("strftime", 2, 2, _check_strftime, fill=_fill_strftime),
    Function("ntop", 1, 2, _check_ntop, fill=_fill_ntop),
    Function("is_err", 1, 1, _check_is_err, _lower_is_err),
)
