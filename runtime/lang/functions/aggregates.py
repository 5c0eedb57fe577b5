"""Aggregations: the type of `@m = count()` and its sisters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.lang import device, tree
from runtime.lang.functions.row import Aggregation, arity_error
from runtime.lang.series import MODES
from runtime.lang.source import At
from runtime.lang.types import BOOL, UNKNOWN, Aggregate, Int, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

BUCKETS = 1000  # of lhist
INTERVALS = 1_000_000  # of tseries


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
    if not _arity(c, call, 3, 4) or device.check_function(c, call) is not None:
        return UNKNOWN
    unstable(c, call.name_at, "tseries")
    interval, count = (c.literal(arg, "tseries()") for arg in call.args[1:3])
    mode = _mode(c, call.args[3]) if len(call.args) == 4 else 0
    is_signed = _signed(c, call)
    if is_signed is None or mode < 0 or not all(isinstance(arg, tree.Integer) for arg in call.args[1:3]):
        return UNKNOWN
    if interval < 1:
        return c.fail(call.args[1].at, f"tseries() interval_ns must be >= 1 ({interval} provided)")
    if count < 1:
        return c.fail(call.args[2].at, f"tseries() num_intervals must be >= 1 ({count} provided)")
    if count > INTERVALS:
        return c.fail(call.args[2].at, f"tseries() num_intervals must be <= {INTERVALS} ({count} provided)")
    return Aggregate("tseries", is_signed, (interval, count, mode))


def _mode(c: Checker, node: tree.Expr) -> int:
    """Number of a way to put the values of one interval together, -1 for no such way."""
    text = c.text(node, "tseries()")
    if text is None:
        return -1
    name = text.decode("utf-8", "replace")
    if name in MODES[1:]:
        return MODES.index(name)
    known = ", ".join(MODES[1:])
    c.fail(
        node.at, f'tseries() expects one of the following aggregation functions: {known} ("{name}" provided)'
    )
    return -1


def unstable(c: Checker, at: At, feature: str) -> None:
    """Warn of a feature that may change, or refuse it, as the configuration says."""
    key = f"unstable_{feature}"
    wanted = c.config.text(key)
    if wanted in ("error", "0", "false"):
        c.fail(at, f"{feature} feature is not enabled by default", f"config = {{ {key} = enable }}")
    text = (
        f"Script is using an unstable feature: {feature}. To prevent this warning you must explicitly enable"
        f" the unstable feature in the config e.g. {key}=enable"
    )
    if wanted == "warn" and all(str(warning) != text for warning in c.warnings):
        c.warn(at, text)


ROWS = (
    Aggregation("count", _count),
    *(Aggregation(name, _number(name)) for name in ("sum", "min", "max", "avg", "stats")),
    Aggregation("hist", _hist),
    Aggregation("lhist", _lhist),
    Aggregation("tseries", _tseries),
)
