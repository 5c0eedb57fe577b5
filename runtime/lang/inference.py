"""The type of each kind of expression, and the checks that go with it.

One function a construct, listed in `RULES`; operators have a table of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import tree
from runtime.lang.builtins import BUILTINS, ENTRY_ARGUMENTS, argument_number, is_entry
from runtime.lang.functions import AGGREGATES, FUNCTIONS, NOT_SERVED
from runtime.lang.functions.row import arity_error
from runtime.lang.suggest import near
from runtime.lang.types import (
    BOOL,
    COMPARISONS,
    INT64,
    NAMED_INTS,
    NONE,
    UINT64,
    UNKNOWN,
    USERNAME,
    VOID,
    Aggregate,
    Array,
    Buffer,
    Int,
    Pointer,
    ProbeName,
    Stack,
    String,
    Symbol,
    Tuple,
    Type,
    is_signed,
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
    if variable.type == UNKNOWN and c.final:
        return c.fail(node.at, f"Could not resolve the type of this variable: {node.name}")
    return settled(variable.type)


def _map(c: Checker, node: tree.MapAccess) -> Type:
    facts = c.keyed(node, node.key)
    if facts.value == UNKNOWN and c.final:
        return c.fail(node.at, f"Undefined map: {node.name}")
    return settled(facts.value)


def _identifier(c: Checker, node: tree.Identifier) -> Type:
    builtin = BUILTINS.get(node.name)
    number = argument_number(node.name)
    if builtin is not None:
        return builtin.check(c, node)
    if number is not None:
        return _argument(c, node, number)
    if node.name.startswith("sarg"):
        return c.fail(node.at, f"{node.name} is deleted", 'read the stack: *(uint64*)(reg("sp") + 8)')
    return c.fail(node.at, f"Unknown identifier: '{node.name}'", near(node.name, BUILTINS))


def _argument(c: Checker, node: tree.Identifier, number: int) -> Type:
    provider = c.body.provider
    if not provider.arguments:
        return c.fail(
            node.at, f"The {node.name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes"
        )
    if number >= len(provider.arguments):
        stack = 'stack arguments: *(uint64*)(reg("sp") + 8)'
        hint = "a marker has at most 12 arguments" if provider.name == "usdt" else stack
        return c.fail(node.at, f"x86_64 doesn't support {node.name}", hint)
    return UINT64


def _call(c: Checker, node: tree.Call) -> Type:
    if node.name in AGGREGATES:
        return c.fail(node.at, f"{node.name}() must be assigned directly to a map")
    function = FUNCTIONS.get(node.name)
    if function is None:
        return _builtin_call(c, node)
    if function.unsafe and not c.unsafe:
        return c.fail(
            node.name_at, f"{node.name}() is an unsafe function being used in safe mode", "add --unsafe"
        )
    if arity := arity_error(node.name, len(node.args), function.least, function.most):
        return c.fail(node.at, arity)
    return function.check(c, node)


def _builtin_call(c: Checker, node: tree.Call) -> Type:
    builtin = BUILTINS.get(node.name)
    if builtin is None and node.name in NOT_SERVED:
        return c.fail(node.name_at, f"{node.name}() is not served")
    if builtin is None:
        names = [*FUNCTIONS, *AGGREGATES, *BUILTINS]
        return c.fail(node.name_at, f"Unknown function: {node.name}", near(node.name, names, "{}()"))
    if node.args and not builtin.modes:
        return c.fail(node.at, f"{node.name}() requires 0 arguments ({len(node.args)} provided)")
    if node.args:
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


def _cast(c: Checker, node: tree.Cast) -> Type:
    source = c.expr(node.value)
    target = written_type(c, node.written)
    if UNKNOWN in (source, target):
        return target
    if isinstance(source, Aggregate) and source.castable:
        return (
            target
            if isinstance(target, Int)
            else c.fail(node.at, f'Cannot cast from "{source}" to "{target}"')
        )
    if not _may_cast(source, target):
        return c.fail(node.at, f'Cannot cast from "{source}" to "{target}"')
    if source == target and not isinstance(node.value, tree.Integer):
        c.warn(node.at, f"Unnecessary cast: expression is already of type {target}")
    return target


def _may_cast(source: Type, target: Type) -> bool:
    if isinstance(target, String):
        return isinstance(source, String) and source.capacity <= target.capacity
    if target == USERNAME:
        return isinstance(source, Int)
    if target == BOOL:
        return isinstance(source, Int | Pointer | String) or source == BOOL
    if isinstance(target, Int | Pointer):
        return isinstance(source, Int | Pointer) or source == BOOL
    return source == target


def written_type(c: Checker, written: tree.TypeSyntax) -> Type:
    """The type that a type expression names."""
    if isinstance(written, tree.TypeOf):
        inner = written.inner
        return settled(c.value(inner)) if isinstance(inner, tree.Expr) else written_type(c, inner)
    if written.tag:
        return c.fail(written.at, f"Unknown struct/union: '{written.tag} {written.name}'")
    kind: Type | None = NAMED_INTS.get(written.name)
    suffixes = list(written.suffixes)
    if written.name in ("string", "buffer"):
        size = suffixes.pop(0) if suffixes and isinstance(suffixes[0], int) else c.config.number("max_strlen")
        size = size if isinstance(size, int) and 0 < size <= 1 << 20 else 0
        kind = (String(size) if written.name == "string" else Buffer(size)) if size else None
    kind = {"username_t": USERNAME}.get(written.name, kind)
    if kind is None:
        return c.fail(
            written.at, f'Cannot resolve unknown type "{written.name}"', near(written.name, NAMED_INTS)
        )
    for suffix in suffixes:
        kind = Pointer(kind) if suffix == "*" else Array(kind, int(suffix))
    return kind


def _size_of(c: Checker, node: tree.SizeOf) -> Type:
    if node.what == "typeinfo":
        return c.fail(node.at, "typeinfo is not served")
    kind = c.value(node.inner) if isinstance(node.inner, tree.Expr) else written_type(c, node.inner)
    node.value = kind.size
    return UINT64


def _offset_of(c: Checker, node: tree.OffsetOf) -> Type:
    inner = c.value(node.inner) if isinstance(node.inner, tree.Expr) else written_type(c, node.inner)
    if isinstance(inner, Tuple) and len(node.path) == 1 and node.path[0] in inner.names:
        return UINT64
    return c.fail(node.at, f"Can not access field '{node.path[0]}' on expression of type '{inner}'")


def _comptime(c: Checker, node: tree.Comptime) -> Type:
    if not isinstance(node.value, tree.Integer | tree.String | tree.Boolean):
        return c.fail(node.at, "Unable to resolve comptime expression")
    return c.expr(node.value)


def _unary(c: Checker, node: tree.Unary) -> Type:
    kind = c.value(node.value)
    if kind == UNKNOWN:
        return UNKNOWN
    if node.op == "*":
        return _dereference(c, node, kind)
    if node.op == "!" and (isinstance(kind, Int | Pointer) or kind == BOOL):
        return BOOL
    if isinstance(kind, Int) and node.op in "-~":
        return Int(8, kind.signed)
    return c.fail(node.at, f"The {node.op} operator can not be used on expressions of type '{kind}'")


def _dereference(c: Checker, node: tree.Unary, kind: Type) -> Type:
    if isinstance(kind, Int):
        return settled(kind)
    if isinstance(kind, Pointer) and kind.to.word:
        return kind.to
    why = "Its pointee has no value." if isinstance(kind, Pointer) else "It is not a pointer."
    return c.fail(node.at, f"Can not dereference type '{kind}'. {why}")


def _binary(c: Checker, node: tree.Binary) -> Type:
    left, right = c.value(node.left), c.value(node.right)
    return operator_type(c, node, node.op, left, right)


def operator_type(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    """Result of a binary operator, also of one in a compound assignment."""
    if UNKNOWN in (left, right):
        return BOOL if op in COMPARISONS or op in ("&&", "||") else UNKNOWN
    left, right = (Int(1, True, True) if kind == BOOL else kind for kind in (left, right))
    if op in ("&&", "||"):
        return _logical(c, node, op, left, right)
    if op in COMPARISONS:
        return _comparison(c, node, op, left, right)
    return _combined(c, node, op, left, right)


def _combined(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    if isinstance(left, Int) and isinstance(right, Int):
        return _arithmetic(c, node, op, left, right)
    if isinstance(left, Pointer) and isinstance(right, Int) and op in "+-":
        return left
    if isinstance(right, Pointer) and isinstance(left, Int) and op == "+":
        return right
    return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")


def _arithmetic(c: Checker, node: tree.Node, op: str, left: Int, right: Int) -> Type:
    if op in ("<<", ">>"):
        return Int(8, left.signed)
    signed = is_signed(left, right)
    if op in "/%" and signed and not (left.flexible and right.flexible):
        c.warn(
            node.at,
            f"signed operands for '{op}' can lead to undefined behavior (cast to unsigned to silence"
            " warning)",
        )
    return Int(8, signed or op == "-")


def _logical(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    if isinstance(left, Int | Pointer) and isinstance(right, Int | Pointer):
        return BOOL
    return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")


def _comparison(c: Checker, node: tree.Node, op: str, left: Type, right: Type) -> Type:
    numbers = isinstance(left, Int | Pointer) and isinstance(right, Int | Pointer)
    same = type(left) is type(right) and join(left, right) is not None
    if numbers:
        if isinstance(left, Pointer) and isinstance(right, Pointer) and join(left, right) is None:
            c.warn(node.at, f"comparison of distinct pointer types: {left}, {right}")
        return BOOL
    if isinstance(left, ProbeName) or isinstance(right, ProbeName):
        return c.fail(node.at, "the probe's name is known only when printed; it can not be compared")
    if same and op in ("==", "!=") and isinstance(left, String | Tuple | Buffer | Symbol | Stack):
        return BOOL
    if same and isinstance(left, String):
        return c.fail(node.at, f"The {op} operator can not be used on expressions of types {left}, {right}")
    return c.fail(node.at, f"Type mismatch for '{op}': comparing {left} with {right}")


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


def _if(c: Checker, node: tree.If) -> Type:
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


def _address_of(c: Checker, node: tree.AddressOf) -> Type:
    return c.fail(node.at, "taking an address with & is not served")


def _member(c: Checker, node: tree.Member) -> Type:
    if isinstance(node.value, tree.Identifier) and node.value.name == "args":
        return c.fail(
            node.at, "args needs the function's debug info, which is not read here", "use arg0, arg1, …"
        )
    if is_entry(node):
        return _entry(c, node)
    kind = c.value(node.value)
    if isinstance(kind, Tuple) and kind.names and not node.arrow:
        if node.name in kind.names:
            return kind.items[kind.names.index(node.name)]
        hint = near(node.name, kind.names)
        return c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'", hint)
    return (
        kind
        if kind == UNKNOWN
        else c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'")
    )


def _entry(c: Checker, node: tree.Member) -> Type:
    """`entry.argN` of a return probe: an argument as it was when the call began."""
    if not c.body.provider.result:
        return c.fail(node.at, "entry can only be used with 'uretprobe' probes", "use arg0, arg1, …")
    if (argument_number(node.name) or 0) >= ENTRY_ARGUMENTS or argument_number(node.name) is None:
        return c.fail(node.at, f"entry has no '{node.name}'", f"it has arg0 to arg{ENTRY_ARGUMENTS - 1}")
    return UINT64


def _item(c: Checker, node: tree.Item) -> Type:
    kind = c.value(node.value)
    if kind == UNKNOWN:
        return UNKNOWN
    if not isinstance(kind, Tuple):
        return c.fail(node.at, f"Can not access field '{node.index}' on expression of type '{kind}'")
    if node.index >= len(kind.items):
        count = len(kind.items)
        return c.fail(node.at, f"Invalid tuple index: {node.index}. Found {count} elements in tuple.")
    return kind.items[node.index]


def _index(c: Checker, node: tree.Index) -> Type:
    kind = c.value(node.value)
    c.integer(node.index, "index")
    if kind == UNKNOWN:
        return UNKNOWN
    if isinstance(kind, Pointer) and kind.to.word:
        return kind.to
    if isinstance(kind, String):
        return Int(1, True)
    return c.fail(
        node.at,
        f"The array index operator [] can only be used on arrays, pointers, and tuples, found {kind}.",
    )


def _block(c: Checker, node: tree.Block) -> Type:
    return c.block(node)


RULES: dict[type[tree.Expr], Rule] = {
    tree.Integer: lambda _, node: literal_type(node.value),
    tree.String: lambda _, node: String(len(node.value) + 1),
    tree.Boolean: lambda _c, _n: BOOL,
    tree.Scratch: _scratch,
    tree.MapAccess: _map,
    tree.Identifier: _identifier,
    tree.Call: _call,
    tree.TypeArgument: lambda c, node: c.fail(node.at, "a type is not expected here"),
    tree.Tuple: _tuple,
    tree.Record: _record,
    tree.Cast: _cast,
    tree.SizeOf: _size_of,
    tree.OffsetOf: _offset_of,
    tree.Comptime: _comptime,
    tree.Unary: _unary,
    tree.Binary: _binary,
    tree.Ternary: _ternary,
    tree.Increment: _increment,
    tree.AddressOf: _address_of,
    tree.Member: _member,
    tree.Item: _item,
    tree.Index: _index,
    tree.Block: _block,
    tree.If: _if,
}
