"""Addresses: uaddr of a program's data, container_of of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.c.types import Struct
from runtime.lang.casts import written_type
from runtime.lang.functions.row import Function
from runtime.lang.types import UNKNOWN, Int, Pointer, Type

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

SYMBOL_ADDRESS = 100030  # helper
WORDS = (1, 2, 4)  # sizes of data that is read as an integer of its own size; all other as 64 bits


def _check_uaddr(c: Checker, call: tree.Call) -> Type:
    name = c.text(call.args[0], "uaddr()")
    if not c.body.provider.registers:
        return c.fail(call.at, f"uaddr() can not be used with {c.body.provider.name} probes")
    if name is None:
        return UNKNOWN
    size = 8
    if c.debug is not None:
        try:
            size = c.debug.data(c.body.points[0].parts, name.decode("utf-8", "replace"))
        except Problem as problem:
            return c.fail(call.args[0].at, str(problem), problem.hint)
    return Pointer(Int(size if size in WORDS else 8, True))


def _lower_uaddr(g: Generator, call: tree.Call) -> None:
    name = call.args[0]
    assert isinstance(name, tree.String)
    parts = g.body.points[0].parts
    place = (parts[0] if len(parts) > 1 else "*", name.value.decode("utf-8", "replace"))
    if place not in g.output.addresses:
        g.output.addresses.append(place)
    g.code.set(1, g.output.addresses.index(place) + 1)
    g.code.call(SYMBOL_ADDRESS)


def _path_of(node: tree.Expr) -> list[str]:
    """Names of a member written `a` or `a.b`; empty for anything else."""
    if isinstance(node, tree.Identifier):
        return [node.name]
    if isinstance(node, tree.Member) and not node.arrow and (before := _path_of(node.value)):
        return [*before, node.name]
    return []


def _check_container(c: Checker, call: tree.Call) -> Type:
    pointer, written, member = call.args
    kind = c.value(pointer)
    if kind != UNKNOWN and not isinstance(kind, Pointer | Int):
        return c.fail(pointer.at, f"container_of() expects a pointer ({kind} provided)")
    path = _path_of(member)
    if not isinstance(written, tree.TypeArgument) or not path:
        return c.fail(
            call.at,
            "container_of() expects a pointer, a type and a member",
            "container_of($p, typeof(struct S), member)",
        )
    if c.expr(tree.OffsetOf(call.at, written.written, path)) == UNKNOWN:
        return UNKNOWN
    return Pointer(written_type(c, written.written))


def _lower_container(g: Generator, call: tree.Call) -> None:
    assert isinstance(call.type, Pointer)
    g.word(call.args[0])
    g.code.alu_constant("-", 0, _distance(call.type.to, _path_of(call.args[2])))


def _distance(kind: Type, path: list[str]) -> int:
    distance = 0
    for name in path:
        assert isinstance(kind, Struct)
        distance += kind.fields[name].offset
        kind = kind.fields[name].type
    return distance


ROWS = (
    Function("uaddr", 1, 1, _check_uaddr, _lower_uaddr),
    Function("container_of", 3, 3, _check_container, _lower_container),
)
