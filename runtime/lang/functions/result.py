"""Functions that change what a probed function does: override at its entry, setret at its return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Function
from runtime.lang.types import UINT64, VOID, Int, Pointer, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

SET_RETVAL = 187  # helper: the value goes to a word of the thunk, which acts on it when the program is done
PLACES = {"override": "uprobe", "setret": "uretprobe"}


def _check(c: Checker, call: tree.Call) -> Type:
    kind = c.value(call.args[0])
    if not isinstance(kind, Int | Pointer) and c.final:
        c.fail(
            call.args[0].at,
            f"{call.name}() only supports integer and pointer arguments ({kind} provided)",
        )
    provider = PLACES[call.name]
    if c.body.provider.name != provider:
        other = next((name for name, place in PLACES.items() if place == c.body.provider.name), "")
        hint = f"at a {c.body.provider.name}: {other}()" if other else ""
        c.fail(call.at, f"{call.name}() can only be used with {provider} probes", hint)
    return VOID


def _lower(g: Generator, call: tree.Call) -> None:
    g.word(call.args[0], UINT64)
    g.code.move(1, 0)
    g.code.call(SET_RETVAL)


ROWS = tuple(Function(name, 1, 1, _check, _lower, unsafe=True) for name in PLACES)
