"""Functions that change the traced process: signal, signal_thread, write_user; unwatch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import complaints, memory, records, tree
from runtime.lang.decode import UnwatchAction
from runtime.lang.functions.names import LAST_REAL_TIME, signal_names
from runtime.lang.functions.row import Function
from runtime.lang.functions.text import READ, check_address
from runtime.lang.layout import stored_size
from runtime.lang.suggest import near
from runtime.lang.types import BOOL, UINT64, UNKNOWN, VOID, Pointer, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

HELPERS = {"signal": 109, "signal_thread": 117}
WRITE_USER = 36  # helper
MOST = 4096  # bytes that one write_user changes


def _check_signal(c: Checker, call: tree.Call) -> Type:
    node = call.args[0]
    if not c.body.provider.arguments and not c.body.provider.registers:
        return c.fail(call.at, f"{call.name}() can not be used with {c.body.provider.name} probes")
    if isinstance(node, tree.String):
        c.expr(node)
        if not _number_of(node.value):
            names = [name.removeprefix("SIG") for name in signal_names().values()]
            shown = node.value.decode("utf-8", "replace")
            return c.fail(node.at, f"{shown} is not a valid signal", near(shown.removeprefix("SIG"), names))
        return VOID
    c.integer(node, f"{call.name}()")
    if isinstance(node, tree.Integer) and not 1 <= node.value <= LAST_REAL_TIME:
        return c.fail(node.at, f"{node.value} is not a valid signal, allowed range: [1,{LAST_REAL_TIME}]")
    return VOID


def _number_of(text: bytes) -> int:
    """Give the number of a signal by its name, with or without SIG; 0 for no such name."""
    wanted = "SIG" + text.decode("latin-1").removeprefix("SIG")
    return next((number for number, name in signal_names().items() if name == wanted), 0)


def _lower_signal(g: Generator, call: tree.Call) -> None:
    node = call.args[0]
    if isinstance(node, tree.String):
        g.code.set(1, _number_of(node.value))
    else:
        g.word(node)
        g.code.move(1, 0)
    g.code.call(HELPERS[call.name])
    complaints.complain_if_negative(g, call.at, "", "send_signal")


def _check_write(c: Checker, call: tree.Call) -> Type:
    check_address(c, call, call.args[0])
    kind = c.value(call.args[1])
    count = c.literal(call.args[2], "write_user()")
    if not 1 <= count <= MOST:
        c.fail(call.args[2].at, f"write_user() changes 1 to {MOST} bytes, not {count}")
    elif kind != UNKNOWN and not isinstance(kind, Pointer) and stored_size(kind) < count:
        c.fail(call.args[1].at, f"write_user() can not take {count} bytes of a {kind}")
    return BOOL


def _lower_write(g: Generator, call: tree.Call) -> None:
    to, source, count = call.args
    assert isinstance(count, tree.Integer)
    bad = g.code.label()
    with g.storage.scope():
        address = g.storage.take(8)
        g.word(to, UINT64)
        g.code.store(address, 0, 8)
        room = g.storage.take_frame(max(count.value, stored_size(source.type)))
        if isinstance(source.type, Pointer):
            g.word(source)
            g.code.move(3, 0)
            g.code.address(1, room)
            g.code.set(2, count.value)
            g.code.call(READ)
            g.code.jump_if_constant("!=", 0, 0, bad)
        else:
            memory.write_stored(g, source, room, source.type)
        g.code.load(1, address, 8)
        g.code.address(2, room)
        g.code.set(3, count.value)
        g.code.call(WRITE_USER)
        complaints.check_read(g, call.at, "probe_write_user")
        g.code.jump_if_constant("!=", 0, 0, bad)
        g.code.one_unless(bad)


def _check_unwatch(c: Checker, call: tree.Call) -> Type:
    check_address(c, call, call.args[0])
    return VOID


def _lower_unwatch(g: Generator, call: tree.Call) -> None:
    records.send(g, UnwatchAction(), [(call.args[0], UINT64)])


ROWS = (
    Function("unwatch", 1, 1, _check_unwatch, _lower_unwatch),
    *(Function(name, 1, 1, _check_signal, _lower_signal, unsafe=True) for name in HELPERS),
    Function("write_user", 3, 3, _check_write, _lower_write, unsafe=True, drop=_lower_write),
)
