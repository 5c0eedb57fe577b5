"""Functions for CUDA kernels: emit, exit_thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import records, tree
from runtime.lang.decode import ValueDecoder
from runtime.lang.functions.output import ARGUMENTS, record_argument
from runtime.lang.functions.row import Function
from runtime.lang.types import UNKNOWN, VOID, Tuple, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

EXIT_THREAD = 507  # helper


def _check_emit(c: Checker, call: tree.Call) -> Type:
    for arg in call.args:
        c.value(arg)
    return VOID


def _lower_emit(g: Generator, call: tree.Call) -> None:
    """Send the values as one tuple, a single one as it is."""
    args = [record_argument(g, arg) for arg in call.args]
    if len(args) == 1:
        records.send(g, ValueDecoder(args[0][1], g.output.reading), args)
        return
    kind = Tuple(tuple(item for _, item in args))
    whole = tree.Tuple(call.at, [node for node, _ in args])
    whole.type = kind
    records.send(g, ValueDecoder(kind, g.output.reading), [(whole, kind)])


def _check_exit_thread(c: Checker, call: tree.Call) -> Type:
    if c.body.provider.name != "cuda":
        hint = "elsewhere other threads may wait for this one"
        c.fail(call.at, "exit_thread() can only be used in 'cuda' probes", hint)
        return UNKNOWN
    return VOID


def _lower_exit_thread(g: Generator, call: tree.Call) -> None:
    del call
    g.code.call(EXIT_THREAD)
    g.code.jump(g.end)


ROWS = (
    Function("emit", 1, ARGUMENTS, _check_emit, _lower_emit),
    Function("exit_thread", 0, 0, _check_exit_thread, _lower_exit_thread, unsafe=True),
)
