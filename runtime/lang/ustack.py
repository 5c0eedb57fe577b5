"""The call stack of the thread as a value: its type and the bytecode that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.lang import complaints, memory, tree
from runtime.lang.types import Stack, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

GET_STACK, PID_TGID = 67, 14  # helpers
USER_STACK = 0x100  # flag of get_stack
MODES = ("bpftrace", "perf", "raw", "build_id")
DEFAULT_LIMIT, MOST = 127, 1024
HEAD = 16
EMPTY = "kstack is always empty: the kernel's stack is not visible from user space"


def full_stack(c: Any, node: tree.Node) -> Type:  # noqa: ANN401  # the checker's class would be a cycle
    """Return the type of a bare `ustack`."""
    del node
    return Stack(c.config.text("stack_mode"), DEFAULT_LIMIT)


def empty_stack(c: Any, node: tree.Node) -> Type:  # noqa: ANN401  # the checker's class would be a cycle
    """Return the type of a bare `kstack`."""
    warn_of_empty(c, node)
    return Stack(c.config.text("stack_mode"), DEFAULT_LIMIT, "kstack")


def warn_of_empty(c: Any, node: tree.Node) -> None:  # noqa: ANN401  # the checker's class would be a cycle
    """Say once that there is no kernel stack here."""
    if all(str(warning) != EMPTY for warning in c.warnings):
        c.warn(node.at, EMPTY, "use ustack")


def fill_stack(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    """Write the stack: process, number of addresses, addresses."""
    kind = node.type
    assert isinstance(kind, Stack)
    g.code.move(1, g.context().base)
    g.code.address(2, place + HEAD)
    g.code.set(3, 8 * kind.limit)
    g.code.set(4, USER_STACK)
    g.code.call(GET_STACK)
    good = g.code.label()
    g.code.jump_if_constant("s>=", 0, 0, good)
    complaints.complain(g, node.at, complaints.NO_STACK)
    g.code.set(0, 0)
    g.code.at(good)
    g.code.alu_constant(">>", 0, 3)  # bytes to addresses; the decoder bounds what is absurd
    g.code.store(place + 8, 0, 8)
    g.code.call(PID_TGID)
    g.code.alu_constant(">>", 0, 32)
    g.code.store(place, 0, 8)


def fill_empty_stack(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    """Write a stack without frames: that of the kernel, which nobody sees from user space."""
    memory.zero(g, place, node.type.size)
