"""Aggregations: the type of `@m = count()` and its sisters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Aggregation, arity_error
from runtime.lang.types import BOOL, UNKNOWN, Aggregate, Int, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

BUCKETS = 1000  # of lhist


def _arity(c: Checker, call: tree.Call, least: int, most: int) -> bool:
    error = arity_error(call.name, len(call.args), least, most)
    if error:
        c.fail(call.at, error)
    return not error


def _count(c: Checker, call: tree.Call) -> Type:
    return Aggregate("count") if _arity(c, call, 0, 0) else UNKNOWN


def _signed(c: Checker, call: tree.Call) -> bool | None:
    """Sign of the argument; None when it is not (yet) an integer."""
    kind = c.value(call.args[0])
    if kind == UNKNOWN:
        return None
    if not isinstance(kind, Int) and kind != BOOL:
        c.fail(call.args[0].at, f"{call.name}() only supports integer arguments ({kind} provided)")
        return None
    return kind.signed if isinstance(kind, Int) else False


def _number(name: str) -> Callable[[Checker, tree.Call], Type]:
    def check(c: Checker, call: tree.Call) -> Type:
        if not _arity(c, call, 1, 1):
            return UNKNOWN
        signed = _signed(c, call)
        return UNKNOWN if signed is None else Aggregate(name, signed)

    return check


def _hist(c: Checker, call: tree.Call) -> Type:
    if not _arity(c, call, 1, 2):
        return UNKNOWN
    bits = c.literal(call.args[1], "hist()") if len(call.args) == 2 else 0
    if not 0 <= bits <= 5:
        return c.fail(call.args[1].at, f"hist: bits {bits} must be 0..5")
    return UNKNOWN if _signed(c, call) is None else Aggregate("hist", True, (bits,))


def _lhist(c: Checker, call: tree.Call) -> Type:
    if not _arity(c, call, 4, 4):
        return UNKNOWN
    low, high, step = (c.literal(arg, "lhist()") for arg in call.args[1:])
    if _signed(c, call) is None or not all(isinstance(arg, tree.Integer) for arg in call.args[1:]):
        return UNKNOWN
    if error := _range_error(low, high, step):
        return c.fail(call.at, error)
    return Aggregate("lhist", True, (low, high, step))


def _range_error(low: int, high: int, step: int) -> str:
    needed = (high - low) // max(1, step)
    rules = (
        (low < 0 or high < 0, "lhist() min and max must be non-negative"),
        (step < 1, f"lhist() step must be >= 1 ({step} provided)"),
        (low > high, f"lhist() min must be less than max (provided min {low} and max {high})"),
        (needed > BUCKETS, f"lhist() too many buckets, must be <= {BUCKETS} (would need {needed})"),
        (step > high - low, f"lhist() step must be smaller than max - min (provided step {step})"),
    )
    return next((text for wrong, text in rules if wrong), "")


def _tseries(c: Checker, call: tree.Call) -> Type:
    return c.fail(call.name_at, "tseries() is not served", "print a count from an interval probe")


ROWS = (
    Aggregation("count", _count),
    *(Aggregation(name, _number(name)) for name in ("sum", "min", "max", "avg", "stats")),
    Aggregation("hist", _hist),
    Aggregation("lhist", _lhist),
    Aggregation("tseries", _tseries),
)
