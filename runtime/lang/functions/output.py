"""Functions that print: printf and its sisters, print, time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import formats, mapcode, records, tree
from runtime.lang.decode import MapAction, TimeDecoder, ValueDecoder
from runtime.lang.functions.row import Function
from runtime.lang.lines import PrintfDecoder
from runtime.lang.types import NONE, UNKNOWN, VOID, Aggregate, Int, Type
from runtime.lang.widths import is_small

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

TIME_FORMAT = "%H:%M:%S\n"
TIME_BYTES = 63
ARGUMENTS = 127


def check_printf(c: Checker, call: tree.Call) -> Type:
    """Check a call whose first argument is a format for the others."""
    text = c.text(call.args[0], f"{call.name}()")
    kinds = [_printable(c, arg) for arg in call.args[1:]]
    if text is None or UNKNOWN in kinds:
        return VOID
    if wrong := formats.unsupported(text):
        c.fail(call.at, f"{call.name}: unsupported format specifier: {wrong}")
        return VOID
    parsed = formats.parse(text)
    if error := formats.mismatch(call.name, parsed, kinds):
        c.fail(call.at, error)
        return VOID
    for conversion, kind, arg in zip(parsed.conversions, kinds, call.args[1:], strict=True):
        if conversion.narrows and isinstance(kind, Int) and kind.bytes == 8 and not is_small(arg):
            shown = conversion.text.decode("ascii", "replace")
            wide = shown[:-1] + "ll" + shown[-1]
            c.warn(
                arg.at, f"{shown} prints only the low 32 bits of this {kind}", f"use {wide} for all 64 bits"
            )
    return VOID


def _printable(c: Checker, node: tree.Expr) -> Type:
    return c.value(node)


def record_argument(g: Generator, node: tree.Expr) -> tuple[tree.Expr, Type]:
    """Give an argument with the type it has in the record."""
    kind = node.type
    if isinstance(kind, Aggregate) and isinstance(node, tree.MapAccess):
        kind = mapcode.value_type(g.shape(node.name))
    return node, kind


def send_formatted(g: Generator, call: tree.Call, decoder: type[PrintfDecoder] = PrintfDecoder) -> None:
    """Send the arguments of a call whose first one is a format."""
    text = call.args[0]
    assert isinstance(text, tree.String)
    args = [record_argument(g, arg) for arg in call.args[1:]]
    parsed, kinds = formats.parse(text.value), [kind for _, kind in args]
    records.send(g, decoder(call.name, parsed, kinds, g.output.reading, g.source.span(call.at)), args)


def _check_print(c: Checker, call: tree.Call) -> Type:
    first = call.args[0]
    limits = [c.literal(arg, "print()") for arg in call.args[1:]]
    if any(limit < 0 for limit in limits):
        c.fail(call.at, "print() expects non-negative top and div")
    if isinstance(first, tree.MapAccess) and first.key is None:
        facts = c.map(first)
        if facts.value == UNKNOWN and c.final:
            c.fail(first.at, f"Undefined map: {first.name}")
        if c.loops:
            c.warn(
                call.at,
                "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior."
                " The map will likely be updated before the runtime can 'print' it.",
            )
        return VOID
    if limits:
        c.fail(call.at, "Non-map print() only takes 1 argument, " + f"{len(call.args)} found")
    kind = c.value(first) if c.body.provider.device else c.expr(first)
    if isinstance(kind, Aggregate) and kind.name in ("hist", "lhist", "tseries"):
        c.fail(
            first.at,
            f"Map type {kind} cannot print the value of individual keys. You must print the whole map.",
        )
    elif kind in (NONE, VOID):
        c.fail(first.at, f"print() cannot print an expression of type '{kind}'")
    return VOID


def _lower_print(g: Generator, call: tree.Call) -> None:
    first = call.args[0]
    if isinstance(first, tree.MapAccess) and first.key is None:
        numbers = [arg.value for arg in call.args[1:] if isinstance(arg, tree.Integer)]
        top, div = (*numbers, 0, 0)[:2]
        records.send(g, MapAction("print", first.name, top, div), [])
        return
    kind = first.type
    if not isinstance(kind, Aggregate) or kind.castable:
        first, kind = record_argument(g, first)
    records.send(g, ValueDecoder(kind, g.output.reading), [(first, kind)])


def _check_time(c: Checker, call: tree.Call) -> Type:
    if call.args:
        text = c.text(call.args[0], "time()")
        if text is not None and len(text) > TIME_BYTES:
            c.fail(call.args[0].at, f"time() format is too long (over {TIME_BYTES} bytes)")
    return VOID


def _lower_time(g: Generator, call: tree.Call) -> None:
    text = TIME_FORMAT
    if call.args and isinstance(call.args[0], tree.String):
        text = call.args[0].value.decode("utf-8", "surrogateescape")
    records.send(g, TimeDecoder(text), [])


ROWS = (
    *(
        Function(name, 1, ARGUMENTS + 1, check_printf, send_formatted)
        for name in ("printf", "errorf", "warnf")
    ),
    Function("print", 1, 3, _check_print, _lower_print),
    Function("time", 0, 1, _check_time, _lower_time),
)
