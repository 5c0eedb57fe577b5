"""Functions that change what a function or a system call does: override before it, setret at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.functions.row import Function
from runtime.lang.types import UINT64, VOID, Int, Pointer, Type
from runtime.types import ContextKind

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator
    from runtime.lang.providers import Provider

SET_RETVAL = 187  # helper: the value goes to a word of the thunk, which acts on it when the program is done
PLACES = {"override": "uprobe", "setret": "uretprobe"}
CALLS = {
    "override": (ContextKind.SYS_ENTER, ContextKind.RAW_SYS_ENTER),
    "setret": (ContextKind.SYS_EXIT, ContextKind.RAW_SYS_EXIT),
}


def _check(c: Checker, call: tree.Call) -> Type:
    kind = c.value(call.args[0])
    if not isinstance(kind, Int | Pointer) and c.final:
        c.fail(
            call.args[0].at,
            f"{call.name}() only supports integer and pointer arguments ({kind} provided)",
        )
    if not _fits(call.name, c.body.provider):
        other = next((name for name in PLACES if _fits(name, c.body.provider)), "")
        hint = f"at a {c.body.provider.name}: {other}()" if other else ""
        side = "beginning" if call.name == "override" else "end"
        places = f"{PLACES[call.name]} probes and at the {side} of system calls"
        c.fail(call.at, f"{call.name}() can only be used with {places}", hint)
    return VOID


def _fits(name: str, provider: Provider) -> bool:
    return provider.name == PLACES[name] or provider.context in CALLS[name]


def _lower(g: Generator, call: tree.Call) -> None:
    g.word(call.args[0], UINT64)
    g.code.move(1, 0)
    g.code.call(SET_RETVAL)


ROWS = tuple(Function(name, 1, 1, _check, _lower, unsafe=True) for name in PLACES)
