"""ustack, dw_ustack, kstack: call stacks as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Function
from runtime.lang.types import UNKNOWN, Int, Stack, Type
from runtime.lang.ustack import DEFAULT_LIMIT, MODES, MOST, fill_empty_stack, fill_stack, warn_of_empty

if TYPE_CHECKING:
    from runtime.lang.checker import Checker


def _check(c: Checker, call: tree.Call) -> Type:
    mode, limit = c.config.text("stack_mode"), DEFAULT_LIMIT
    which = "kstack" if call.name == "kstack" else "ustack"
    provider = c.body.provider
    if not provider.has_registers and which == "ustack":
        return c.fail(call.at, f"{call.name} can not be used with {provider.name} probes")
    args = list(call.args)
    first = args[0] if args else None
    if isinstance(first, tree.Identifier) and first.name in MODES:
        mode = first.name
        args.pop(0)
    elif len(args) == 2:
        return c.fail(args[0].at, "Invalid stack mode", f"modes: {', '.join(MODES)}")
    if args:
        given = args[0]
        if not isinstance(c.expr(given), Int) or not isinstance(given, tree.Integer):
            return c.fail(given.at, f"{call.name}: invalid limit value") if c.final else UNKNOWN
        limit = given.value
    if not 0 < limit <= MOST:
        return c.fail(call.at, f"{call.name}([int limit]): limit shouldn't exceed {MOST}, {limit} given")
    if which == "kstack":
        warn_of_empty(c, call)
    return Stack(mode, limit, which)


ROWS = (
    Function("ustack", 0, 2, _check, fill=fill_stack),
    Function("dw_ustack", 0, 2, _check, fill=fill_stack),  # every stack of ours is unwound by tables
    Function("kstack", 0, 2, _check, fill=fill_empty_stack),
)
