"""Types for every expression of a script, by repeated passes until nothing widens any more.

A pass visits all probes in order; maps and variables keep what they have learned, so that an early use sees
a later assignment in the next pass. Errors and warnings are those of the last pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import Problem
from runtime.lang import casts, inference, operators, subprograms, tree
from runtime.lang.config import Config
from runtime.lang.conversion import read_type
from runtime.lang.functions import AGGREGATES
from runtime.lang.providers import Point, Provider
from runtime.lang.source import At, Source
from runtime.lang.subprograms import Subprogram
from runtime.lang.types import (
    BOOL,
    INT64,
    NONE,
    UNKNOWN,
    VOID,
    Aggregate,
    Int,
    Pointer,
    Tuple,
    Type,
    contains,
    join,
    join_ints,
    settled,
)
from runtime.lang.variables import MapFacts, Variable

AGGREGATE_TYPES = frozenset(f"{name}_t" for name in AGGREGATES)
PASSES = 20  # each widens something; types have far fewer steps


@dataclass(slots=True, eq=False)
class Body:
    """One program to be: the attach points of one provider that share a probe's block."""

    provider: Provider
    points: list[Point]
    probe: tree.Probe


@dataclass(slots=True)
class Checker:
    """State of typing one script."""

    source: Source
    config: Config
    unsafe: bool = False
    maps: dict[str, MapFacts] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    body: Body = field(init=False)
    changed: bool = False
    final: bool = False
    loops: int = 0
    scopes: list[dict[str, Variable]] = field(default_factory=list)
    declared: dict[int, Variable] = field(default_factory=dict)  # by identity of the declaring node
    functions: dict[str, Subprogram] = field(default_factory=dict)
    function: Subprogram | None = None  # the one whose body is being typed

    def check(self, bodies: list[Body]) -> None:
        """Type all programs; the trees and `maps` hold the result.

        Raises nothing: look at `errors`.
        """
        for _ in range(PASSES):
            self.changed = False
            self._visit(bodies)
            if not self.changed:
                break
        self.final = True
        self._visit(bodies)
        self._unassigned()

    def _visit(self, bodies: list[Body]) -> None:
        self.errors, self.warnings = [], []
        self.body = bodies[0]
        for function in self.functions.values():
            self.loops = 0
            subprograms.check_body(self, function)
        for body in bodies:
            self.body = body
            self.scopes = [{}]
            self.loops = 0
            if body.probe.predicate is not None:
                self.condition(body.probe.predicate)
            self.block(body.probe.body)

    def _unassigned(self) -> None:
        for facts in self.maps.values():
            if facts.declared and not facts.used:
                self.warn(facts.declared, f"Unused map: {facts.name}")
        for variable in self.declared.values():
            if not variable.assigned:
                self.warn(variable.declared, f"Variable {variable.name} was never assigned to.")

    def fail(self, at: At, text: str, hint: str = "") -> Type:
        """Record an error, the first of a place only; the type of what is wrong is unknown."""
        problem = self.source.problem(at, text, hint)
        if all(error.span != problem.span for error in self.errors):
            self.errors.append(problem)
        return UNKNOWN

    def warn(self, at: At, text: str, hint: str = "") -> None:
        """Record a warning."""
        self.warnings.append(self.source.problem(at, text, hint))

    # Expressions

    def expr(self, node: tree.Expr) -> Type:
        """Type an expression and remember it in the node."""
        node.type = inference.RULES[type(node)](self, node)
        return node.type

    def value(self, node: tree.Expr) -> Type:
        """Type an expression that is used as a value: aggregates read as integers."""
        kind = self.expr(node)
        if isinstance(kind, Aggregate):
            if kind.castable:
                return Int(8, kind.signed and kind.name != "count")
            return self.fail(node.at, f"Value '{kind}' can not be used in an expression")
        if kind in (NONE, VOID):
            return self.fail(node.at, f"Expression of type '{kind}' has no value")
        return kind

    def integer(self, node: tree.Expr, what: str) -> Type:
        """Type an argument that must be an integer."""
        kind = self.value(node)
        if kind != UNKNOWN and not isinstance(kind, Int) and kind != BOOL:
            return self.fail(node.at, f"{what} only supports int arguments ({_short(kind)} provided)")
        return kind

    def literal(self, node: tree.Expr, what: str) -> int:
        """Value of an argument that must be an integer literal; 0 if it is none."""
        self.expr(node)
        if isinstance(node, tree.Integer):
            return node.value
        self.fail(node.at, f"{what} expects an int literal ({_short(node.type)} provided)")
        return 0

    def text(self, node: tree.Expr, what: str) -> bytes | None:
        """Value of an argument that must be a string literal."""
        self.expr(node)
        if isinstance(node, tree.String):
            return node.value
        hint = ""
        if isinstance(node, tree.Integer) and node.text.startswith("$"):
            number = self.source.text[node.at[0] : node.at[1]]
            hint = f"Use str({number}) to treat {number} as a string"
        self.fail(node.at, f"{what} expects a string literal ({_short(node.type)} provided)", hint)
        return None

    def condition(self, node: tree.Expr) -> None:
        """Type what decides a branch."""
        kind = self.value(node)
        if kind not in (UNKNOWN, BOOL) and not isinstance(kind, Int | Pointer):
            self.fail(node.at, f"Invalid condition: {kind}")

    # Maps and variables

    def map(self, node: tree.MapAccess) -> MapFacts:
        """Facts of a map, made at the first use."""
        facts = self.maps.get(node.name)
        if facts is None:
            facts = self.maps[node.name] = MapFacts(node.name, node.name_at)
        facts.used = True
        return facts

    def keyed(self, node: tree.MapAccess, key: tree.Expr | None) -> MapFacts:
        """Facts of a map that is used with this key, or without one."""
        facts = self.map(node)
        if key is not None:
            self._key(facts, node, key)
        scalar = key is None
        if facts.scalar is None:
            facts.scalar = scalar
            self.changed = True
        elif facts.scalar != scalar:
            with_key = "with an explicit key (non-scalar map)"
            without = "without an explicit key (scalar map)"
            now, before = (without, with_key) if scalar else (with_key, without)
            self.fail(node.at, f"{node.name} used as a map {now}, previously used {before}")
        return facts

    def _key(self, facts: MapFacts, node: tree.MapAccess, key: tree.Expr) -> None:
        kind = self.expr(key)
        if kind in (NONE, VOID) or (isinstance(kind, Aggregate) and not kind.castable):
            self.fail(key.at, f"Value '{kind}' cannot be used as a map key.")
            return
        if isinstance(kind, Aggregate):
            kind = INT64
        joined = join(facts.key, kind)
        if joined is None:
            self.fail(
                node.at,
                f"Argument mismatch for {node.name}: trying to access with arguments: '{kind}' when map"
                f" expects arguments: '{facts.key}'",
            )
        elif joined != facts.key:
            facts.key = joined
            self.changed = True

    def give(self, node: tree.MapAccess, facts: MapFacts, kind: Type) -> None:
        """Widen a map's value type by something assigned to it."""
        joined = join(facts.value, kind)
        if joined is None:
            self.fail(
                node.at,
                f"Type mismatch for {node.name}: trying to assign value of type '{kind}' when map already has"
                f" a type '{facts.value}'",
            )
        elif joined != facts.value:
            facts.value = joined
            self.changed = True

    def find(self, name: str) -> Variable | None:
        """Look a scratch variable up, innermost block first."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    def declare(self, node: tree.Node, target: tree.Scratch) -> Variable:
        """Make a variable in the current block; the same one in every pass."""
        variable = self.declared.get(id(node))
        if variable is None:
            variable = self.declared[id(node)] = Variable(target.name, target.at)
            self.changed = True
        self.scopes[-1][target.name] = variable
        target.variable = variable
        return variable

    def widen(self, target: tree.Scratch, variable: Variable, kind: Type) -> None:
        """Widen a variable's type by something assigned to it."""
        target.variable = variable
        variable.assigned = True
        target.type = variable.type
        if kind == UNKNOWN:
            return
        joined = join(variable.type, kind)
        if joined is None or (variable.fixed and not _fits(variable.type, kind)):
            self.fail(
                target.at,
                f"Type mismatch for {target.name}: trying to assign value of type '{kind}' when variable"
                f" already has a type '{variable.type}'",
            )
        elif joined != variable.type and not variable.fixed:
            variable.type = joined
            self.changed = True
        target.type = variable.type

    # Statements

    def block(self, block: tree.Block) -> Type:
        """Type a block; its value's type."""
        self.scopes.append({})
        left = False
        for statement in block.body:
            rule: Callable[[Checker, Any], None] = STATEMENTS[type(statement)]
            rule(self, statement)
            if left:
                self.warn(statement.at, "Unreachable statement.")
            left = _leaves(statement)
        block.type = self.expr(block.value) if block.value is not None else NONE
        self.scopes.pop()
        return block.type

    def _let(self, node: tree.Let) -> None:
        kind = self._assignable(node.value) if node.value is not None else UNKNOWN
        earlier = self.find(node.target.name)
        if earlier is not None:
            self.fail(
                node.target.at,
                f"Variable {node.target.name} was already declared. Variable shadowing is not allowed.",
                f"this is the initial declaration: {self.source.span(earlier.declared)}",
            )
            return
        variable = self.declare(node, node.target)
        if node.written is not None:
            written = self._declared_type(node.written)
            if written != UNKNOWN:
                variable.type, variable.fixed, variable.assigned = written, True, True
        if node.value is not None:
            self.widen(node.target, variable, kind)
            self._narrowed(node.target, node.value, kind, variable.type)

    def _declared_type(self, written: tree.TypeSyntax) -> Type:
        if isinstance(written, tree.TypeName) and written.name.removeprefix("u") in AGGREGATE_TYPES:
            return self.fail(written.at, f"Invalid variable declaration type: {written.name}")
        return casts.written_type(self, written)

    def _assignable(self, node: tree.Expr) -> Type:
        kind = self.expr(node)
        if isinstance(kind, Aggregate) and kind.castable:
            return INT64
        if isinstance(kind, Aggregate):
            return self.fail(node.at, f"Value '{kind}' cannot be assigned to a scratch variable.")
        if kind in (NONE, VOID):
            return self.fail(node.at, "Invalid expression for assignment")
        return kind

    def _assign(self, node: tree.Assign) -> None:
        if node.target is None:
            self.expr(node.value)
        elif isinstance(node.target, tree.MapAccess):
            self._assign_map(node, node.target)
        else:
            self._assign_variable(node, node.target)

    def _assign_variable(self, node: tree.Assign, target: tree.Scratch) -> None:
        kind = self._assignable(node.value)
        variable = self.find(target.name)
        if variable is None:
            if node.op:
                self.fail(target.at, f"Undefined or undeclared variable: {target.name}")
                return
            variable = self.declare(node, target)
        if node.op:
            kind = operators.operator_type(self, node, node.op, settled(variable.type), kind)
            kind = INT64 if isinstance(kind, Int) and isinstance(variable.type, Int) else kind
            if isinstance(variable.type, Int) and not variable.fixed and not variable.type.signed:
                kind = Int(8, False)
        self.widen(target, variable, kind)
        if not node.op:
            self._narrowed(target, node.value, kind, variable.type)

    def _narrowed(
        self, target: tree.Scratch | tree.MapAccess, value: tree.Expr, have: Type, slot: Type
    ) -> None:
        """Refuse a literal that its slot cannot hold; warn where a value may not fit."""
        if not self.final or not isinstance(have, Int) or not isinstance(slot, Int):
            return
        if isinstance(value, tree.Integer):
            if slot.holds(value.value):
                return
            what = "variable" if isinstance(target, tree.Scratch) else "map"
            self.fail(
                target.at,
                f"Type mismatch for {target.name}: trying to assign value of type '{have}' when {what}"
                f" already has a type '{slot}'",
                f"{value.value} does not fit {slot}",
            )
        elif not contains(slot, have):
            self.warn(
                value.at,
                f"Expression of type: {have} being cast to type: {slot}. This may cause unexpected results.",
            )

    def _assign_map(self, node: tree.Assign, target: tree.MapAccess) -> None:
        value = node.value
        if isinstance(value, tree.Call) and value.name in AGGREGATES and not node.op:
            kind = AGGREGATES[value.name].check(self, value)
            value.type = kind
            facts = self.keyed(target, target.key)
            if kind != UNKNOWN:
                self.give(target, facts, kind)
            target.type = facts.value
            return
        kind = self.expr(value)
        facts = self.keyed(target, target.key)
        if isinstance(kind, Aggregate):
            self._copied(node, kind, facts)
            kind = INT64 if isinstance(facts.value, Int) else UNKNOWN
        if kind in (NONE, VOID):
            self.fail(value.at, "Invalid expression for assignment")
            kind = UNKNOWN
        if node.op and kind != UNKNOWN:
            before = settled(facts.value) if facts.value != UNKNOWN else INT64
            kind = operators.operator_type(self, node, node.op, before, kind)
            kind = join_ints(before, INT64) if isinstance(before, Int) and isinstance(kind, Int) else kind
        if kind != UNKNOWN:
            self.give(target, facts, kind)
            if not node.op:
                self._narrowed(target, value, kind, facts.value)
        target.type = facts.value

    def _copied(self, node: tree.Assign, kind: Aggregate, facts: MapFacts) -> None:
        if kind.castable and isinstance(facts.value, Int):
            return
        self.fail(
            node.value.at,
            f"Map value '{kind}' cannot be assigned from one map to another. The function that returns this"
            f" type must be called directly e.g. `{facts.name} = {kind.name}();`.",
            f"cast it to an integer: (int64){self.source.text[node.value.at[0] : node.value.at[1]]}"
            if kind.castable
            else "",
        )

    def _do(self, node: tree.Do) -> None:
        kind = self.expr(node.value)
        effect = isinstance(node.value, tree.Increment | tree.Block | tree.If | tree.Ternary)
        called = isinstance(node.value, tree.Call) and node.value.name in ("delete", "find")
        if kind not in (NONE, VOID, UNKNOWN) and not effect and not called:
            self.warn(node.at, "Return value discarded.")

    def _for(self, node: tree.For) -> None:
        if self.find(node.target.name) is not None:
            self.fail(node.target.at, f"Loop declaration shadows existing variable: {node.target.name}")
        kind: Type
        if isinstance(node.over, tree.Range):
            first = self.integer(node.over.first, "range")
            end = self.integer(node.over.end, "range")
            kind = INT64 if UNKNOWN in (first, end) else settled(join(first, end) or INT64)
            kind = Int(8, kind.signed) if isinstance(kind, Int) else INT64
        else:
            kind = self._over_map(node.over)
        self.scopes.append({})
        variable = self.declare(node, node.target)
        self.widen(node.target, variable, kind)
        self._loop(node.body)
        self.scopes.pop()

    def _over_map(self, over: tree.MapAccess) -> Type:
        facts = self.map(over)
        if over.key is not None:
            return self.fail(over.at, f"Loop expression does not support type: {self.expr(over)}")
        if facts.scalar:
            return self.fail(
                over.at, f"{over.name} has no explicit keys (scalar map), and cannot be used for iteration"
            )
        if UNKNOWN in (facts.key, facts.value):
            return self.fail(over.at, f"Undefined map: {over.name}")
        value = facts.value
        if isinstance(value, Aggregate):
            if not value.castable:
                return self.fail(over.at, f"Loop expression does not support type: {value}")
            value = read_type(value)
        over.type = value
        return Tuple((settled(facts.key), settled(value)))

    def _while(self, node: tree.While) -> None:
        self.warn(
            node.at,
            "While loops are deprecated and may be removed in the future.",
            "use for ($i : 0..10) { }",
        )
        self.condition(node.condition)
        self._loop(node.body)

    def _unroll(self, node: tree.Unroll) -> None:
        count = self.literal(node.count, "unroll()")
        if isinstance(node.count, tree.Integer) and not 1 <= count <= 100:
            self.fail(
                node.count.at, "unroll maximum value is 100" if count > 100 else "unroll minimum value is 1"
            )
        self._loop(node.body)

    def _loop(self, body: tree.Block) -> None:
        self.loops += 1
        self.block(body)
        self.loops -= 1

    def _leave(self, node: tree.Leave) -> None:
        if not self.loops:
            self.fail(node.at, f"'{node.word}' statement is not allowed in a probe")

    def _return(self, node: tree.Return) -> None:
        if self.function is not None:
            subprograms.check_return(self, node)
            return
        if node.value is not None:
            kind = self.value(node.value)
            if kind not in (UNKNOWN, BOOL) and not isinstance(kind, Int):
                self.fail(node.value.at, f"Probe return values can only be integers. Found {kind}")

    def _import(self, node: tree.Import) -> None:
        self.fail(node.at, "import is only allowed at the top of a script")


def _leaves(statement: tree.Statement) -> bool:
    """Tell whether what follows in the block is never reached."""
    if isinstance(statement, tree.Do) and isinstance(statement.value, tree.Call):
        return statement.value.name == "exit"
    return isinstance(statement, tree.Return | tree.Leave)


def _fits(have: Type, new: Type) -> bool:
    """Tell whether a value may go to a variable whose type was written; integers are looked at by value."""
    if {type(have), type(new)} <= {Int, type(BOOL)}:
        return True
    return join(have, new) == have


def _short(kind: Type) -> str:
    return str(kind).rstrip("0123456789") if isinstance(kind, Int) else str(kind).partition("[")[0]


STATEMENTS: dict[type[tree.Statement], Callable[[Checker, Any], None]] = {
    tree.Let: Checker._let,
    tree.Assign: Checker._assign,
    tree.Do: Checker._do,
    tree.For: Checker._for,
    tree.While: Checker._while,
    tree.Unroll: Checker._unroll,
    tree.Leave: Checker._leave,
    tree.Return: Checker._return,
    tree.Import: Checker._import,
}
