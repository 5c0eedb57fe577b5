"""The statements: what each asks of its parts. One function a construct, listed in `STATEMENTS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import access, casts, operators, subprograms, tree
from runtime.lang.conversion import read_type
from runtime.lang.functions import AGGREGATES, FUNCTIONS
from runtime.lang.types import (
    BOOL,
    INT64,
    NONE,
    UNKNOWN,
    VOID,
    Aggregate,
    Int,
    Tuple,
    Type,
    contains,
    join,
    join_ints,
    settled,
)
from runtime.lang.variables import MapFacts
from runtime.lang.widths import is_small

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

AGGREGATE_TYPES = frozenset(f"{name}_t" for name in AGGREGATES)
Rule = Callable[["Checker", Any], None]  # each row takes its own class of node


def _let(c: Checker, node: tree.Let) -> None:
    kind = _assignable(c, node.value) if node.value is not None else UNKNOWN
    earlier = c.find(node.target.name)
    if earlier is not None:
        c.fail(
            node.target.at,
            f"Variable {node.target.name} was already declared. Variable shadowing is not allowed.",
            f"this is the initial declaration: {c.source.span(earlier.declared)}",
        )
        return
    variable = c.declare(node, node.target)
    if node.written is not None:
        written = _declared_type(c, node.written)
        if written != UNKNOWN:
            variable.type, variable.fixed, variable.assigned = written, True, True
    if node.value is not None:
        c.widen(node.target, variable, kind)
        variable.wide |= not is_small(node.value)
        access.keep(c, variable, node.value)
        _narrowed(c, node.target, node.value, kind, variable.type)


def _declared_type(c: Checker, written: tree.TypeSyntax) -> Type:
    if isinstance(written, tree.TypeName) and written.name.removeprefix("u") in AGGREGATE_TYPES:
        return c.fail(written.at, f"Invalid variable declaration type: {written.name}")
    return casts.written_type(c, written)


def _assignable(c: Checker, node: tree.Expr) -> Type:
    kind = c.expr(node)
    if isinstance(kind, Aggregate) and kind.castable:
        return INT64
    if isinstance(kind, Aggregate):
        return c.fail(node.at, f"Value '{kind}' cannot be assigned to a scratch variable.")
    if kind in (NONE, VOID):
        return c.fail(node.at, "Invalid expression for assignment")
    return kind


def _assign(c: Checker, node: tree.Assign) -> None:
    if node.target is None:
        c.expr(node.value)
    elif isinstance(node.target, tree.MapAccess):
        _assign_map(c, node, node.target)
    else:
        _assign_variable(c, node, node.target)


def _assign_variable(c: Checker, node: tree.Assign, target: tree.Scratch) -> None:
    kind = _assignable(c, node.value)
    variable = c.find(target.name)
    if variable is None:
        if node.op:
            c.fail(target.at, f"Undefined or undeclared variable: {target.name}")
            return
        variable = c.declare(node, target)
    if node.op:
        kind = operators.operator_type(c, node, node.op, settled(variable.type), kind)
        kind = INT64 if isinstance(kind, Int) and isinstance(variable.type, Int) else kind
        if isinstance(variable.type, Int) and not variable.fixed and not variable.type.signed:
            kind = Int(8, False)
    c.widen(target, variable, kind)
    variable.wide |= not is_small(node.value)
    access.keep(c, variable, node.value)
    if not node.op:
        _narrowed(c, target, node.value, kind, variable.type)


def _narrowed(
    c: Checker, target: tree.Scratch | tree.MapAccess, value: tree.Expr, have: Type, slot: Type
) -> None:
    """Refuse a literal that its slot cannot hold; warn where a value may not fit."""
    if not c.final or not isinstance(have, Int) or not isinstance(slot, Int):
        return
    if isinstance(value, tree.Integer):
        if slot.holds(value.value):
            return
        what = "variable" if isinstance(target, tree.Scratch) else "map"
        c.fail(
            target.at,
            f"Type mismatch for {target.name}: trying to assign value of type '{have}' when {what}"
            f" already has a type '{slot}'",
            f"{value.value} does not fit {slot}",
        )
    elif not contains(slot, have):
        c.warn(
            value.at,
            f"Expression of type: {have} being cast to type: {slot}. This may cause unexpected results.",
        )


def _assign_map(c: Checker, node: tree.Assign, target: tree.MapAccess) -> None:
    value = node.value
    if isinstance(value, tree.Call) and value.name in AGGREGATES and not node.op:
        kind = AGGREGATES[value.name].check(c, value)
        value.type = kind
        facts = c.keyed(target, target.key)
        if kind != UNKNOWN:
            c.give(target, facts, kind)
        target.type = facts.value
        return
    kind = c.expr(value)
    facts = c.keyed(target, target.key)
    if isinstance(kind, Aggregate):
        _copied(c, node, kind, facts)
        kind = INT64 if isinstance(facts.value, Int) else UNKNOWN
    if kind in (NONE, VOID):
        c.fail(value.at, "Invalid expression for assignment")
        kind = UNKNOWN
    if node.op and kind != UNKNOWN:
        before = settled(facts.value) if facts.value != UNKNOWN else INT64
        kind = operators.operator_type(c, node, node.op, before, kind)
        kind = join_ints(before, INT64) if isinstance(before, Int) and isinstance(kind, Int) else kind
    if kind != UNKNOWN:
        c.give(target, facts, kind)
        if not node.op:
            _narrowed(c, target, value, kind, facts.value)
    target.type = facts.value


def _copied(c: Checker, node: tree.Assign, kind: Aggregate, facts: MapFacts) -> None:
    if kind.castable and isinstance(facts.value, Int):
        return
    c.fail(
        node.value.at,
        f"Map value '{kind}' cannot be assigned from one map to another. The function that returns this"
        f" type must be called directly e.g. `{facts.name} = {kind.name}();`.",
        f"cast it to an integer: (int64){c.source.text[node.value.at[0] : node.value.at[1]]}"
        if kind.castable
        else "",
    )


def _do(c: Checker, node: tree.Do) -> None:
    kind = c.expr(node.value)
    effect = isinstance(node.value, tree.Increment | tree.Block | tree.If | tree.Ternary)
    row = FUNCTIONS.get(node.value.name) if isinstance(node.value, tree.Call) else None
    called = row is not None and row.drop is not None
    if kind not in (NONE, VOID, UNKNOWN) and not effect and not called:
        c.warn(node.at, "Return value discarded.")


def _for(c: Checker, node: tree.For) -> None:
    if c.find(node.target.name) is not None:
        c.fail(node.target.at, f"Loop declaration shadows existing variable: {node.target.name}")
    kind: Type
    if isinstance(node.over, tree.Range):
        first = c.integer(node.over.first, "range")
        end = c.integer(node.over.end, "range")
        kind = INT64 if UNKNOWN in (first, end) else settled(join(first, end) or INT64)
        kind = Int(8, kind.signed) if isinstance(kind, Int) else INT64
    else:
        kind = _over_map(c, node.over)
    c.scopes.append({})
    variable = c.declare(node, node.target)
    c.widen(node.target, variable, kind)
    _loop(c, node.body)
    c.scopes.pop()


def _over_map(c: Checker, over: tree.MapAccess) -> Type:
    facts = c.map(over)
    if c.body.provider.device:
        return c.fail(over.at, "Maps can not be walked in GPU kernels", "walk it on the host: interval, END")
    if over.key is not None:
        return c.fail(over.at, f"Loop expression does not support type: {c.expr(over)}")
    if facts.scalar:
        return c.fail(
            over.at, f"{over.name} has no explicit keys (scalar map), and cannot be used for iteration"
        )
    if UNKNOWN in (facts.key, facts.value):
        return c.fail(over.at, f"Undefined map: {over.name}")
    value = facts.value
    if isinstance(value, Aggregate):
        if not value.castable:
            return c.fail(over.at, f"Loop expression does not support type: {value}")
        value = read_type(value)
    over.type = value
    return Tuple((settled(facts.key), settled(value)))


def _while(c: Checker, node: tree.While) -> None:
    c.warn(
        node.at,
        "While loops are deprecated and may be removed in the future.",
        "use for ($i : 0..10) { }",
    )
    c.condition(node.condition)
    _loop(c, node.body)


def _unroll(c: Checker, node: tree.Unroll) -> None:
    count = c.literal(node.count, "unroll()")
    if isinstance(node.count, tree.Integer) and not 1 <= count <= 100:
        c.fail(node.count.at, "unroll maximum value is 100" if count > 100 else "unroll minimum value is 1")
    _loop(c, node.body)


def _loop(c: Checker, body: tree.Block) -> None:
    c.loops += 1
    c.block(body)
    c.loops -= 1


def _leave(c: Checker, node: tree.Leave) -> None:
    if not c.loops:
        c.fail(node.at, f"'{node.word}' statement is not allowed in a probe")


def _return(c: Checker, node: tree.Return) -> None:
    if c.function is not None:
        subprograms.check_return(c, node)
        return
    if node.value is not None:
        kind = c.value(node.value)
        if kind not in (UNKNOWN, BOOL) and not isinstance(kind, Int):
            c.fail(node.value.at, f"Probe return values can only be integers. Found {kind}")


def _import(c: Checker, node: tree.Import) -> None:
    c.fail(node.at, "import is only allowed at the top of a script")


def leaves(statement: tree.Statement) -> bool:
    """Tell whether what follows in the block is never reached."""
    if isinstance(statement, tree.Do) and isinstance(statement.value, tree.Call):
        return statement.value.name == "exit"
    return isinstance(statement, tree.Return | tree.Leave)


STATEMENTS: dict[type[tree.Statement], Rule] = {
    tree.Let: _let,
    tree.Assign: _assign,
    tree.Do: _do,
    tree.For: _for,
    tree.While: _while,
    tree.Unroll: _unroll,
    tree.Leave: _leave,
    tree.Return: _return,
    tree.Import: _import,
}
