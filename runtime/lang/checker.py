"""Types for every expression of a script, by repeated passes until nothing widens any more.

A pass visits all probes in order; maps and variables keep what they have learned, so that an early use sees
a later assignment in the next pass. Errors and warnings are those of the last pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import Problem
from runtime.lang import inference, rateguard, subprograms, tree
from runtime.lang.c.scope import Scope, TypeSource
from runtime.lang.config import Config
from runtime.lang.debug import Debug
from runtime.lang.fields import ContextField
from runtime.lang.providers import Point, Provider
from runtime.lang.source import At, Source
from runtime.lang.statements import STATEMENTS, leaves
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
    String,
    Type,
    join,
)
from runtime.lang.variables import MapFacts, Variable

PASSES = 20  # each widens something; types have far fewer steps


@dataclass(slots=True, eq=False)
class Body:
    """One program to be: the attach points of one provider that share a probe's block.

    `fields`: what `args` holds.
    """

    provider: Provider
    points: list[Point]
    probe: tree.Probe
    types: list[TypeSource] = field(default_factory=list)
    fields: dict[str, ContextField] | None = None


@dataclass(slots=True)
class Checker:
    """State of typing one script."""

    source: Source
    config: Config
    unsafe: bool = False
    scope: Scope = field(default_factory=Scope)
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
    debug: Debug | None = None

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
        for body in bodies:
            rateguard.check(self, body)

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
        span = self.source.span(at)
        if all(str(one) != text or one.span != span for one in self.warnings):
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
            if self.body.provider.device:
                return self.fail(node.at, ON_DEVICE.format(kind), "print it on the host: interval, END")
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
        if isinstance(node, tree.String):  # how long it may be is the function's to say
            node.type = String(len(node.value) + 1)
            return node.value
        self.expr(node)
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
        if joined is None and (different := _different_numbers(facts.value, kind)):
            self.fail(node.at, different)
        elif joined is None:
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
            STATEMENTS[type(statement)](self, statement)
            if left:
                self.warn(statement.at, "Unreachable statement.")
            left = leaves(statement)
        block.type = self.expr(block.value) if block.value is not None else NONE
        self.scopes.pop()
        return block.type

    @property
    def sources(self) -> list[TypeSource]:
        """Where types of the probe at hand come from that the script does not define."""
        return [*self.body.types, *self.scope.outer]


ON_DEVICE = "Value '{}' can not be read in GPU kernels, which only add to it"


def _fits(have: Type, new: Type) -> bool:
    """Tell whether a value may go to a variable whose type was written; integers are looked at by value."""
    if {type(have.plain), type(new.plain)} <= {Int, type(BOOL)}:
        return True
    return join(have, new) == have


def _short(kind: Type) -> str:
    return str(kind).rstrip("0123456789") if isinstance(kind, Int) else str(kind).partition("[")[0]


NUMBERS = {
    "hist": "bits",
    "lhist": "bounds",
    "tseries": "intervals or modes",
}  # aggregation → what its numbers are


def _different_numbers(have: Type, new: Type) -> str:
    """Say that one aggregation was called with other numbers, empty where that is not what is wrong."""
    if not isinstance(have, Aggregate) or not isinstance(new, Aggregate) or have.name != new.name:
        return ""
    return f"Different {NUMBERS[have.name]} in a single {have.name} unsupported"
