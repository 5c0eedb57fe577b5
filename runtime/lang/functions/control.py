"""Functions that end or check: exit, fail, static_assert, assert-like tests on types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.lang import formats, records, tree
from runtime.lang.decode import ExitAction
from runtime.lang.functions.output import check_printf
from runtime.lang.functions.row import Function
from runtime.lang.types import BOOL, INT64, VOID, Array, Int, Pointer, String, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator


def _check_exit(c: Checker, call: tree.Call) -> Type:
    for arg in call.args:
        c.integer(arg, "exit()")
    return VOID


def _lower_exit(g: Generator, call: tree.Call) -> None:
    records.send(g, ExitAction(), [(arg, INT64) for arg in call.args])
    g.code.jump(g.end)


def _check_fail(c: Checker, call: tree.Call) -> Type:
    kind = check_printf(c, call)
    for arg in call.args[1:]:
        if not isinstance(arg, tree.Integer | tree.String | tree.Boolean):
            return c.fail(arg.at, "fail() expects literals: it is evaluated when compiling")
    if isinstance(call.args[0], tree.String) and c.final and _fits(call):
        c.fail(call.at, _formatted(call.args[0].value, call.args[1:]).decode("utf-8", "replace"))
    return kind


def _fits(call: tree.Call) -> bool:
    text = call.args[0]
    assert isinstance(text, tree.String)
    parsed = formats.parse(text.value)
    return not formats.mismatch(call.name, parsed, [arg.type for arg in call.args[1:]])


def _formatted(text: bytes, args: list[tree.Expr]) -> bytes:
    """Format literals; the checks have passed."""
    parsed = formats.parse(text)
    pieces = [parsed.texts[0]]
    for conversion, arg, after in zip(parsed.conversions, args, parsed.texts[1:], strict=True):
        assert isinstance(arg, tree.Integer | tree.String | tree.Boolean)
        pieces += [formats.formatter(conversion)(arg.value), after]
    return b"".join(pieces)


def _check_static_assert(c: Checker, call: tree.Call) -> Type:
    c.expr(call.args[0])
    text = c.text(call.args[1], "static_assert()")
    held = call.args[0]
    if not isinstance(held, tree.Boolean | tree.Integer):
        return c.fail(held.at, "static_assert() expects a condition that is known when compiling")
    if not held.value and text is not None:
        c.fail(call.at, "static assertion failed: " + text.decode("utf-8", "replace"))
    return VOID


def _check_type_test(c: Checker, call: tree.Call) -> Type:
    c.value(call.args[0])
    return BOOL


def _lower_type_test(g: Generator, call: tree.Call) -> None:
    g.code.set(0, int(type_test(call)))


def type_test(call: tree.Call) -> bool:
    """Give the answer of a test on an argument's type."""
    return TYPE_TESTS[call.name](call.args[0].type, call.args[0])


TYPE_TESTS: dict[str, Callable[[Type, tree.Expr], bool]] = {
    "is_ptr": lambda kind, _: isinstance(kind, Pointer),
    "is_str": lambda kind, _: isinstance(kind, String),
    "is_array": lambda kind, _: isinstance(kind, Array),
    "is_integer": lambda kind, _: isinstance(kind, Int),
    "is_unsigned_integer": lambda kind, _: isinstance(kind, Int) and not kind.signed,
    "is_literal": lambda _, node: isinstance(node, tree.Integer | tree.String | tree.Boolean),
}


def _check_kfunc(c: Checker, call: tree.Call) -> Type:
    c.text(call.args[0], f"{call.name}()")  # with a literal it is false already
    return BOOL


ROWS = (
    *(Function(name, 1, 1, _check_kfunc) for name in ("kfunc_exist", "kfunc_allowed")),
    Function("exit", 0, 1, _check_exit, _lower_exit),
    Function("fail", 1, 127, _check_fail),
    Function("static_assert", 2, 2, _check_static_assert),
    *(Function(name, 1, 1, _check_type_test, _lower_type_test) for name in TYPE_TESTS),
)
