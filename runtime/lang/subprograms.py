"""Functions of a script: `fn name($a : type) : type { }`.

Each is typed once, with the types that are written, and its code stands where it is called: a program has no
frames to pay for, and `return` is a jump behind the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.lang import memory, tree
from runtime.lang.builtins import argument_number
from runtime.lang.casts import written_type
from runtime.lang.functions.row import arity_error
from runtime.lang.layout import stored_size
from runtime.lang.source import Source
from runtime.lang.types import UNKNOWN, VOID, Aggregate, Int, Type, join
from runtime.lang.variables import Variable

if TYPE_CHECKING:
    from runtime.errors import Problem
    from runtime.lang.checker import Checker
    from runtime.lang.code import Label
    from runtime.lang.generator import Generator
    from runtime.lang.variables import Place

PROBE_ONLY = frozenset(["args", "ctx", "retval", "func", "probe", "probetype", "elapsed_call", "entry"])
MOST = 1000  # calls that one program may hold, nested ones too


@dataclass(slots=True, eq=False)
class Subprogram:
    """One function; `parameters` and `result` are known after the first pass of typing."""

    node: tree.Function
    parameters: list[Variable]
    result: Type = UNKNOWN


@dataclass(frozen=True, slots=True)
class Returning:
    """Where a `return` inside a function's code goes: the label behind it, and memory for what is no word."""

    end: Label
    kind: Type
    place: Place | None


def collect(source: Source, definitions: list[tree.Function]) -> dict[str, Subprogram]:
    """Make the table of functions.

    Raises:
        Problem: a name is defined twice, or a function calls itself.
    """
    found: dict[str, Subprogram] = {}
    for node in definitions:
        if node.name in found:
            raise source.problem(node.at, f"Redefinition of function: {node.name}")
        variables = [Variable(name, node.at, assigned=True) for name, _ in node.args]
        found[node.name] = Subprogram(node, variables)
    for name in found:
        if problem := _recursion(source, found, name, [name]):
            raise problem
    return found


def _recursion(source: Source, table: dict[str, Subprogram], name: str, chain: list[str]) -> Problem | None:
    for call in _calls(table[name].node.body):
        if call.name in chain:
            text = f"Recursive function call detected. Call chain: {' > '.join([*chain, call.name])}"
            return source.problem(call.name_at, text)
        if call.name in table and (problem := _recursion(source, table, call.name, [*chain, call.name])):
            return problem
    return None


def _calls(node: tree.Node) -> list[tree.Call]:
    own = [node] if isinstance(node, tree.Call) else []
    return own + [call for child in tree.children(node) for call in _calls(child)]


# Typing


def check_body(c: Checker, function: Subprogram) -> None:
    """Type a function's body."""
    node = function.node
    kinds = [written_type(c, written) for _, written in node.args]
    function.result = written_type(c, node.result)
    if isinstance(function.result, Aggregate):
        c.fail(node.result.at, f"Invalid return type: {function.result}")
    for variable, kind in zip(function.parameters, kinds, strict=True):
        variable.type, variable.fixed = kind, True
    _refuse_probe_builtins(c, node.body)
    c.scopes = [{variable.name: variable for variable in function.parameters}]
    c.function = function
    c.block(node.body)
    if function.result != VOID and not _returns(node.body):
        c.warn(node.at, f"Not all code paths of function {node.name} return a value: it is zero then.")
    c.function = None


def _refuse_probe_builtins(c: Checker, node: tree.Node) -> None:
    name = node.name if isinstance(node, tree.Identifier | tree.Call) else ""
    if name in PROBE_ONLY or argument_number(name) is not None:
        c.fail(node.at, f"Builtin {name} not supported outside probe")
    for child in tree.children(node):
        _refuse_probe_builtins(c, child)


def _returns(node: tree.Node | None) -> bool:
    """Tell whether every way through a block ends in a return."""
    if isinstance(node, tree.Block):
        return any(map(_returns, node.body)) or _returns(node.value)
    if isinstance(node, tree.Do):
        return _returns(node.value)
    if isinstance(node, tree.If):
        return node.otherwise is not None and _returns(node.then) and _returns(node.otherwise)
    return isinstance(node, tree.Return)


def check_return(c: Checker, node: tree.Return) -> None:
    """Type a `return` inside a function."""
    assert c.function is not None
    wanted, name = c.function.result, c.function.node.name
    kind = c.value(node.value) if node.value is not None else VOID
    if UNKNOWN not in (kind, wanted) and not _passes(kind, wanted):
        c.fail(node.at, f"Function {name} is of type {wanted}, cannot return {kind}")


def _passes(kind: Type, wanted: Type) -> bool:
    if isinstance(kind, Int) and isinstance(wanted, Int):
        return True
    return kind == wanted or join(kind, wanted) == wanted


def check_call(c: Checker, node: tree.Call) -> Type:
    """Type a call of a function of the script."""
    function = c.functions[node.name]
    if arity := arity_error(node.name, len(node.args), len(function.parameters), len(function.parameters)):
        return c.fail(node.at, arity)
    for arg, variable in zip(node.args, function.parameters, strict=True):
        kind = c.value(arg)
        if UNKNOWN not in (kind, variable.type) and not _passes(kind, variable.type):
            c.fail(
                arg.at,
                f"Expected {variable.type} for argument {variable.name} of {node.name}(), got {kind}",
            )
    return function.result


# Code


def call(g: Generator, node: tree.Call, place: Place | None = None) -> None:
    """Put a function's code here: its value is in r0, or at `place` when it is no word.

    Raises:
        Problem: the program holds too many calls.
    """
    function = g.functions[node.name]
    g.inlined += 1
    if g.inlined > MOST:
        raise g.source.problem(node.at, f"functions are called at more than {MOST} places")
    with g.storage.scope():
        places = [g.storage.take(max(8, stored_size(v.type))) for v in function.parameters]
        for arg, variable, to in zip(node.args, function.parameters, places, strict=True):
            memory.write_stored(g, arg, to, variable.type)
        for variable, to in zip(function.parameters, places, strict=True):
            variable.place = to
        if place is not None and not _returns(function.node.body):
            memory.zero(g, place, function.result.size)
        returning = Returning(g.code.label(), function.result, place)
        loops, g.loops = g.loops, []
        g.returning.append(returning)
        g.block(function.node.body)
        g.returning.pop()
        g.loops = loops
        if function.result.word:
            g.code.set(0, 0)
        g.code.at(returning.end)


def leave(g: Generator, node: tree.Return) -> None:
    """Compile a `return` inside a function's code."""
    returning = g.returning[-1]
    if node.value is not None and returning.kind.word:
        g.word(node.value, returning.kind)
    elif node.value is not None and returning.place is not None:
        g.write(node.value, returning.place, returning.kind)
    elif node.value is not None:
        g.effect(node.value)
    g.code.jump(returning.end)
