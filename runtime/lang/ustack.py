"""The call stack of the thread as a value: its type and the bytecode that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.lang.types import Stack, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

GET_STACK, PID_TGID = 67, 14  # helpers
USER_STACK = 0x100  # flag of get_stack
MODES = ("bpftrace", "perf", "raw", "build_id")
DEFAULT_LIMIT, MOST = 127, 1024
HEAD = 16


def default_stack(c: Any) -> Type:  # noqa: ANN401  # the checker's class would be a cycle
    """Return the type of a bare `ustack`."""
    return Stack(c.config.text("stack_mode"), DEFAULT_LIMIT)


def fill_stack(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    """Write the stack: process, number of addresses, addresses."""
    kind = node.type
    assert isinstance(kind, Stack)
    g.code.move(1, g.context().base)
    g.code.address(2, place + HEAD)
    g.code.set(3, 8 * kind.limit)
    g.code.set(4, USER_STACK)
    g.code.call(GET_STACK)
    g.code.alu_constant(">>", 0, 3)  # bytes to addresses; the decoder bounds what is absurd
    g.code.store(place + 8, 0, 8)
    g.code.call(PID_TGID)
    g.code.alu_constant(">>", 0, 32)
    g.code.store(place, 0, 8)
