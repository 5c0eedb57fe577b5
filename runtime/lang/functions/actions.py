"""Functions that the tracer carries out: cat, system, join, debugf, assert, in the order of the ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import formats, records, tree
from runtime.lang.decode import HEADER, ExitAction, JoinDecoder
from runtime.lang.functions.output import ARGUMENTS, check_printf, record_argument, send_formatted
from runtime.lang.functions.row import Function
from runtime.lang.functions.text import READ, READ_STRING, check_address
from runtime.lang.lines import CommandDecoder, PrintfDecoder
from runtime.lang.types import INT64, UNKNOWN, VOID, Int, Pointer, String, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.code import Label
    from runtime.lang.generator import Generator

RING_OUTPUT, LENGTH, APPEND = 130, 100020, 100022  # helpers
STRINGS, STRING_BYTES = 16, 1024  # of join
DEBUG_ARGUMENTS = 3
DEBUG_CONVERSIONS = (b"d", b"u", b"x", b"p", b"s")


def _lower_command(g: Generator, call: tree.Call) -> None:
    send_formatted(g, call, CommandDecoder)


def _check_debugf(c: Checker, call: tree.Call) -> Type:
    kind = check_printf(c, call)
    text = call.args[0]
    if not isinstance(text, tree.String):
        return kind
    conversions = formats.parse(text.value).conversions
    wrong = next((one for one in conversions if one.conv not in DEBUG_CONVERSIONS), None)
    if wrong is not None:
        shown = wrong.text.decode("latin-1")
        return c.fail(
            call.at, f"debugf: {shown} is not one of its conversions: %d %u %x %p %s", "use printf()"
        )
    if len(conversions) > DEBUG_ARGUMENTS:
        return c.fail(call.at, f"debugf: cannot use more than {DEBUG_ARGUMENTS} conversion specifiers")
    return kind


def _check_assert(c: Checker, call: tree.Call) -> Type:
    c.condition(call.args[0])
    kind = c.value(call.args[1])
    if kind != UNKNOWN and not isinstance(kind, String):
        c.fail(call.args[1].at, f"assert() expects a string as its message ({kind} provided)")
    return VOID


def _lower_assert(g: Generator, call: tree.Call) -> None:
    holds = g.code.label()
    g.branch(call.args[0], holds, True)
    message = call.args[1]
    form = formats.parse(b"assert failed: %s")
    span = g.source.span(call.at)
    decoder = PrintfDecoder("errorf", form, [message.type], g.output.reading, span)
    records.send(g, decoder, [record_argument(g, message)])
    code = tree.Integer(call.at, 1)
    code.type = INT64
    records.send(g, ExitAction(), [(code, INT64)])
    g.code.jump(g.end)
    g.code.at(holds)


def _check_join(c: Checker, call: tree.Call) -> Type:
    if check_address(c, call, call.args[0]):
        kind = call.args[0].type
        if isinstance(kind, Pointer) and not isinstance(kind.to, Int | Pointer):
            c.fail(call.args[0].at, f"join() expects an array of strings ({kind} provided)")
    if len(call.args) == 2:
        c.text(call.args[1], "join()")
    return VOID


def _lower_join(g: Generator, call: tree.Call) -> None:
    """Read the strings one after the other into one record."""
    separator = b" "
    if len(call.args) == 2 and isinstance(call.args[1], tree.String):
        separator = call.args[1].value
    size = STRINGS * (STRING_BYTES + len(separator))
    with g.storage.scope():
        record = g.storage.take_frame(HEADER + size)
        piece, glue = g.storage.take_frame(STRING_BYTES), g.storage.take(len(separator) + 1)
        array, item = g.storage.take(8), g.storage.take(8)
        g.word(call.args[0])
        g.code.store(array, 0, 8)
        g.code.store_constant(record, g.output.event(JoinDecoder()), 8)
        g.code.store_constant(record + HEADER, 0, 1)
        for index, byte in enumerate(separator + b"\0"):
            g.code.store_constant(glue + index, byte, 1)
        end, nothing = g.code.label(), g.code.label()
        for number in range(STRINGS):
            _read_item(g, array, number, item, piece, end)
            if number:
                _append(g, record + HEADER, size, glue, len(separator) + 1)
            _append(g, record + HEADER, size, piece, STRING_BYTES)
        g.code.at(end)
        g.code.address(1, record + HEADER)
        g.code.set(2, size)
        g.code.call(LENGTH)
        g.code.jump_if_constant("s<", 0, 0, nothing)
        g.code.move(3, 0)
        g.code.alu_constant("+", 3, HEADER)
        g.code.map(1, records.RING)
        g.code.address(2, record)
        g.code.set(4, 0)
        g.code.call(RING_OUTPUT)
        g.code.at(nothing)


def _read_item(g: Generator, array: Place, number: int, item: Place, piece: Place, end: Label) -> None:
    """Read one string of the array; where it is empty or cannot be read, go to the end."""
    g.code.load(3, array, 8)
    g.code.alu_constant("+", 3, 8 * number)
    g.code.address(1, item)
    g.code.set(2, 8)
    g.code.call(READ)
    g.code.jump_if_constant("!=", 0, 0, end)
    g.code.load(3, item, 8)
    g.code.address(1, piece)
    g.code.set(2, STRING_BYTES)
    g.code.call(READ_STRING)
    g.code.jump_if_constant("s<=", 0, 1, end)


def _append(g: Generator, to: Place, size: int, source: Place, count: int) -> None:
    g.code.address(1, to)
    g.code.set(2, size)
    g.code.address(3, source)
    g.code.set(4, count)
    g.code.call(APPEND)


ROWS = (
    Function("cat", 1, ARGUMENTS + 1, check_printf, _lower_command),
    Function("system", 1, ARGUMENTS + 1, check_printf, _lower_command, unsafe=True),
    Function("debugf", 1, ARGUMENTS + 1, _check_debugf, send_formatted),
    Function("assert", 2, 2, _check_assert, _lower_assert),
    Function("join", 1, 2, _check_join, _lower_join),
)
