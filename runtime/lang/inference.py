"""The type of each kind of expression, and the checks that go with it.

One function a construct, listed in `RULES`; operators, casts and accesses have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import access, casts, comptime, device, fields, operators, subprograms, tree
from runtime.lang.builtins import argument_number
from runtime.lang.functions import AGGREGATES, FUNCTIONS, NOT_SERVED
from runtime.lang.functions.row import Function, arity_error
from runtime.lang.suggest import near
from runtime.lang.types import (
    BOOL,
    INT64,
    NONE,
    UINT64,
    UNKNOWN,
    VOID,
    Aggregate,
    Int,
    Pointer,
    String,
    Tuple,
    Type,
    join,
    literal_type,
    settled,
)

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

Rule = Callable[["Checker", Any], Type]  # each row takes its own class of node


def _scratch(c: Checker, node: tree.Scratch) -> Type:
    variable = c.find(node.name)
    if variable is None:
        return c.fail(node.at, f"Undefined or undeclared variable: {node.name}")
    node.variable = variable
    if variable.type == UNKNOWN and c.final and not c.errors:  # else what it was given is wrong already
        return c.fail(node.at, f"Could not resolve the type of this variable: {node.name}")
    return settled(variable.type)


def _map(c: Checker, node: tree.MapAccess) -> Type:
    facts = c.keyed(node, node.key)
    if facts.value == UNKNOWN and c.final:
        return c.fail(node.at, f"Undefined map: {node.name}")
    return settled(facts.value)


def _identifier(c: Checker, node: tree.Identifier) -> Type:
    builtin = device.find(c.body.provider, node.name)
    number = argument_number(node.name)
    if fields.is_args(node):
        return fields.check_whole(c, node)
    if builtin is not None:
        return builtin.check(c, node)
    if number is not None:
        return _argument(c, node, number)
    if node.name.startswith("sarg"):
        return c.fail(node.at, f"{node.name} is deleted", 'read the stack: *(uint64*)(reg("sp") + 8)')
    if (constant := c.scope.constant(node.name, c.sources)) is not None:
        node.known = tree.Integer(node.at, constant[0], named=constant[1].resized(8))
        return c.expr(node.known)
    known = [*device.names(c.body.provider), *c.scope.constants, *c.scope.macros]
    hint = device.elsewhere(node.name) or near(node.name, known)
    return c.fail(node.at, f"Unknown identifier: '{node.name}'", hint)


def _argument(c: Checker, node: tree.Identifier, number: int) -> Type:
    provider = c.body.provider
    if not provider.arguments:
        return c.fail(
            node.at, f"The {node.name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes"
        )
    if number >= len(provider.arguments) and provider.device:
        return c.fail(node.at, f"{node.name} is not kept", f"arg0 to arg{len(provider.arguments) - 1} are")
    if number >= len(provider.arguments):
        stack = 'stack arguments: *(uint64*)(reg("sp") + 8)'
        hint = "a marker has at most 12 arguments" if provider.name == "usdt" else stack
        return c.fail(node.at, f"x86_64 doesn't support {node.name}", hint)
    return UINT64


def _call(c: Checker, node: tree.Call) -> Type:
    if node.name in AGGREGATES:
        return c.fail(node.at, f"{node.name}() must be assigned directly to a map")
    if node.name in c.functions:
        return subprograms.check_call(c, node)
    function = FUNCTIONS.get(node.name)
    if function is None:
        return _builtin_call(c, node)
    return _function(c, node, function)


def _function(c: Checker, node: tree.Call, function: Function) -> Type:
    if (refused := device.check_function(c, node)) is not None:
        return refused
    if function.unsafe and not c.unsafe:
        return c.fail(
            node.name_at, f"{node.name}() is an unsafe function being used in safe mode", "add --unsafe"
        )
    if arity := arity_error(node.name, len(node.args), function.least, function.most):
        return c.fail(node.at, arity)
    return function.check(c, node)


def _builtin_call(c: Checker, node: tree.Call) -> Type:
    builtin = device.find(c.body.provider, node.name)
    if builtin is None and node.name in NOT_SERVED:
        return c.fail(node.name_at, f"{node.name}() is not served", NOT_SERVED[node.name])
    if builtin is None:
        names = [*FUNCTIONS, *AGGREGATES, *device.names(c.body.provider)]
        hint = "a C macro with parameters is not expanded: write macro NAME(…) { … }"
        if node.name not in c.scope.parametric:
            hint = near(node.name, names, "{}()")
        return c.fail(node.name_at, f"Unknown function: '{node.name}'", hint)
    if arity := arity_error(node.name, len(node.args), 0, int(bool(builtin.modes or builtin.takes))):
        return c.fail(node.at, arity)
    if builtin.takes:
        for arg in node.args:
            c.integer(arg, f"{node.name}()")
    elif node.args:
        mode = node.args[0]
        if len(node.args) > 1 or not isinstance(mode, tree.Identifier) or mode.name not in builtin.modes:
            return c.fail(node.at, f"{node.name}() expects one of {', '.join(builtin.modes)}")
    return builtin.check(c, node)


def _tuple(c: Checker, node: tree.Tuple) -> Type:
    items = tuple(_item_type(c, item) for item in node.items)
    return UNKNOWN if UNKNOWN in items else Tuple(items)


def _record(c: Checker, node: tree.Record) -> Type:
    items = tuple(_item_type(c, item) for item in node.items)
    return UNKNOWN if UNKNOWN in items else Tuple(items, tuple(node.names))


def _item_type(c: Checker, item: tree.Expr) -> Type:
    return c.value(item)


def _comptime(c: Checker, node: tree.Comptime) -> Type:
    kind = c.expr(node.value)
    value = comptime.evaluate(c, node.value)
    if value is None:
        return c.fail(node.at, "Unable to resolve comptime expression") if c.final else kind
    node.known = comptime.literal(node, value)
    return c.expr(node.known)


def _ternary(c: Checker, node: tree.Ternary) -> Type:
    c.condition(node.condition)
    then = c.expr(node.then) if node.then is not None else node.condition.type
    otherwise = c.expr(node.otherwise)
    return _branches(c, node, then, otherwise)


def _branches(c: Checker, node: tree.Expr, then: Type, otherwise: Type) -> Type:
    then, otherwise = (_read(kind) for kind in (then, otherwise))
    joined = join(then, otherwise)
    if joined is None and not {then, otherwise} <= {NONE, VOID}:
        return c.fail(
            node.at,
            f"Branches must return the same type or compatible types: have '{then}' and '{otherwise}'",
        )
    return joined if joined is not None else NONE


def _read(kind: Type) -> Type:
    return INT64 if isinstance(kind, Aggregate) and kind.castable else kind


def _decided(c: Checker, node: tree.If) -> Type:
    """Type the branch that a `comptime` condition takes; the other one may make no sense here."""
    assert isinstance(node.condition, tree.Comptime)
    c.condition(node.condition)
    literal = node.condition.known
    if not isinstance(literal, tree.Integer | tree.Boolean):
        return UNKNOWN
    node.decided = bool(literal.value)
    return c.expr(node.only) if node.only is not None else NONE


def _if(c: Checker, node: tree.If) -> Type:
    if isinstance(node.condition, tree.Comptime):
        return _decided(c, node)
    c.condition(node.condition)
    then = c.block(node.then)
    otherwise = c.expr(node.otherwise) if node.otherwise is not None else NONE
    if NONE in (then, otherwise) or VOID in (then, otherwise):
        return NONE
    return _branches(c, node, then, otherwise)


def _increment(c: Checker, node: tree.Increment) -> Type:
    target = node.target
    if isinstance(target, tree.MapAccess):
        facts = c.keyed(target, target.key)
        c.give(target, facts, Int(8, facts.value.signed if isinstance(facts.value, Int) else True))
        target.type = facts.value
        return facts.value
    variable = c.find(target.name)
    if variable is None:
        return c.fail(target.at, f"Undefined or undeclared variable: {target.name}")
    kind = variable.type
    if isinstance(kind, Int):
        c.widen(target, variable, kind if variable.fixed else Int(8, kind.signed))
    elif isinstance(kind, Pointer):
        c.widen(target, variable, kind)
    elif kind != UNKNOWN:
        return c.fail(node.at, f"The {node.op} operator can not be used on expressions of type '{kind}'")
    return variable.type


def _block(c: Checker, node: tree.Block) -> Type:
    return c.block(node)


def _string(c: Checker, node: tree.String) -> Type:
    most = c.config.number("max_strlen") - 1
    if len(node.value) > most:
        shown = node.value.decode("utf-8", "replace")
        return c.fail(node.at, f"String is too long (over {most} bytes): {shown}", "raise max_strlen")
    return String(len(node.value) + 1)


RULES: dict[type[tree.Expr], Rule] = {
    tree.Integer: lambda _, node: node.named or literal_type(node.value),
    tree.String: _string,
    tree.Boolean: lambda _c, _n: BOOL,
    tree.Scratch: _scratch,
    tree.MapAccess: _map,
    tree.Identifier: _identifier,
    tree.Call: _call,
    tree.TypeArgument: lambda c, node: c.fail(node.at, "a type is not expected here"),
    tree.Tuple: _tuple,
    tree.Record: _record,
    tree.Cast: casts.cast,
    tree.SizeOf: casts.size_of,
    tree.OffsetOf: casts.offset_of,
    tree.Comptime: _comptime,
    tree.Unary: operators.unary,
    tree.Binary: operators.binary,
    tree.Ternary: _ternary,
    tree.Increment: _increment,
    tree.AddressOf: access.address_of,
    tree.Member: access.member,
    tree.Item: access.item,
    tree.Index: access.index,
    tree.Block: _block,
    tree.If: _if,
}
