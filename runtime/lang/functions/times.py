"""strftime: a moment as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Function
from runtime.lang.types import TIMESTAMP, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator


def _check_strftime(c: Checker, call: tree.Call) -> Type:
    c.text(call.args[0], "strftime()")
    c.integer(call.args[1], "strftime()")
    if isinstance(call.args[1], tree.Integer) and call.args[1].value < 0:
        return c.fail(call.args[1].at, "strftime() can not take negative values")
    if _clock(call.args[1]) == "monotonic":
        return c.fail(
            call.args[1].at, "strftime() can not take a monotonic timestamp", "use nsecs, or nsecs(tai)"
        )
    return TIMESTAMP


def _clock(node: tree.Expr) -> str:
    """Give the clock that an expression names, empty where it names none."""
    first = node.args[0] if isinstance(node, tree.Call) and node.name == "nsecs" and node.args else None
    return first.name if isinstance(first, tree.Identifier) else ""


def _fill_strftime(g: Generator, call: tree.Call, place: Place) -> None:
    text = call.args[0]
    assert isinstance(text, tree.String)
    number = g.output.pattern(text.value.decode("utf-8", "surrogateescape"))
    g.word(call.args[1])
    is_tai = _clock(call.args[1]) in ("tai", "sw_tai")
    g.code.store_constant(place, number, 4)
    g.code.store_constant(place + 4, int(is_tai), 4)
    g.code.store(place + 8, 0, 8)


ROWS = (Function("strftime", 2, 2, _check_strftime, fill=_fill_strftime),)
