"""The syntax tree of the whole language; one class a construct, in the order of the grammar.

Nodes are mutable: folding replaces children, typing fills `type`. `at` is a range of source offsets.
`fields_of` lets passes walk and rewrite any node without knowing its class.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.lang.source import At
from runtime.lang.types import UNKNOWN, Type
from runtime.lang.variables import Variable


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Node:
    """Anything with a place."""

    at: At


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Expr(Node):
    """Anything with a value; `type` is filled by the checker."""

    type: Type = field(init=False, default=UNKNOWN, repr=False)


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Integer(Expr):
    """An integer literal, negative after folding; `text` is how it was written when that matters."""

    value: int
    text: str = ""
    named: Type | None = None  # of an enumerator


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class String(Expr):
    """A string literal: its bytes without the final NUL."""

    value: bytes


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Boolean(Expr):
    """`true` or `false`."""

    value: bool


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Scratch(Expr):
    """A scratch variable `$name`; `variable` is what it stands for, once typed."""

    name: str
    variable: Variable | None = field(init=False, default=None, repr=False)


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class MapAccess(Expr):
    """`@name` or `@name[key]`; several keys are one tuple."""

    name: str
    key: Expr | None
    name_at: At


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Parameter(Expr):
    """Positional parameter `$N`; 0 is `$#`."""

    index: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Identifier(Expr):
    """A bare word: builtin, enum constant, macro parameter or zero-argument macro."""

    name: str
    known: Integer | None = field(init=False, default=None, repr=False)  # an enumerator of debug info


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Call(Expr):
    """`name(args)`."""

    name: str
    args: list[Expr]
    name_at: At


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class TypeName(Node):
    """A written type: `tag` is struct, union, enum or empty; suffixes are "*" or an array size (-1: `[]`)."""

    tag: str
    name: str
    suffixes: list[str | int]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class TypeOf(Node):
    """`typeof(…)`, a type taken from an expression or a type name."""

    inner: Expr | TypeName | TypeOf


TypeSyntax = TypeName | TypeOf


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class TypeArgument(Expr):
    """A `typeof(…)` given as an argument of a call."""

    written: TypeOf


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Tuple(Expr):
    """`(a, b)`; `()` and `(a,)` too."""

    items: list[Expr]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Record(Expr):
    """`(name=value, …)`."""

    names: list[str]
    items: list[Expr]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Cast(Expr):
    """`(type)value`."""

    written: TypeSyntax
    value: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class SizeOf(Expr):
    """`sizeof(…)` or, by `what`, `typeinfo(…)`."""

    what: str
    inner: Expr | TypeSyntax
    value: int = 0  # filled by the checker
    record: Record | None = field(init=False, default=None)  # of typeinfo, filled by the checker


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class OffsetOf(Expr):
    """`offsetof(type, a.b)`."""

    inner: Expr | TypeSyntax
    path: list[str]
    value: int = 0  # filled by the checker


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Comptime(Expr):
    """`comptime value`; `known` is the literal that it comes to, once typed."""

    value: Expr
    known: Expr | None = field(init=False, default=None)


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Unary(Expr):
    """`- ! ~ *` before a value."""

    op: str
    value: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Binary(Expr):
    """`left op right`."""

    op: str
    left: Expr
    right: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Ternary(Expr):
    """`condition ? then : otherwise`; `then` is None in `a ?: b`."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Increment(Expr):
    """`++` or `--` before (`prefix`) or behind a variable or map."""

    op: str
    target: Scratch | MapAccess
    prefix: bool


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class AddressOf(Expr):
    """`&$x` or `&@m`."""

    target: Scratch | MapAccess


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Member(Expr):
    """`value.name` or `value->name`."""

    value: Expr
    name: str
    arrow: bool


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Item(Expr):
    """`value.0`."""

    value: Expr
    index: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Index(Expr):
    """`value[index]`."""

    value: Expr
    index: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Block(Expr):
    """`{ … }`; `value` is the trailing expression."""

    body: list[Statement]
    value: Expr | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class If(Expr):
    """`if … { } else { }`; the value is that of the taken block.

    `decided`: what a `comptime` condition came to; the other branch was never typed.
    """

    condition: Expr
    then: Block
    otherwise: Expr | None
    decided: bool | None = field(init=False, default=None)

    @property
    def only(self) -> Expr | None:
        """The branch that a decided condition leaves, None where it leaves nothing."""
        return self.then if self.decided else self.otherwise


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Statement(Node):
    """Anything that is done for its effect."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Let(Statement):
    """`let $x[: type] [= value];`."""

    target: Scratch
    written: TypeSyntax | None
    value: Expr | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Assign(Statement):
    """`target op value;`, `op` without the final `=`; target None is `_ = value`."""

    target: Scratch | MapAccess | None
    op: str
    value: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Do(Statement):
    """An expression as a statement."""

    value: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Range(Node):
    """`first..end`."""

    first: Expr
    end: Expr


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class For(Statement):
    """`for $x : @map | a..b { }`."""

    target: Scratch
    over: MapAccess | Range
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class While(Statement):
    """`while (condition) { }`."""

    condition: Expr
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Unroll(Statement):
    """`unroll(count) { }`."""

    count: Expr
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Leave(Statement):
    """`break` or `continue`."""

    word: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Return(Statement):
    """`return [value];`."""

    value: Expr | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Import(Statement):
    """`import "path";`."""

    path: bytes


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Definition(Node):
    """C text before the probes: a preprocessor line or a struct, union or enum."""

    text: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Setting(Node):
    """`key = value` of the config block."""

    key: str
    value: str | int | bool
    value_at: At


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class MapDeclaration(Node):
    """`let @name = kind(entries);`."""

    name: str
    kind: str
    kind_at: At
    entries: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Macro(Node):
    """`macro name(args) { }`; a parameter keeps its `$` or `@`."""

    name: str
    parameters: list[str]
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Function(Node):
    """`fn name($a : type) : type { }`."""

    name: str
    args: list[tuple[str, TypeSyntax]]
    result: TypeSyntax
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class AttachPoint(Node):
    """Raw text of one attach point, before it is split."""

    text: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Probe(Node):
    """Attach points, predicate and body."""

    points: list[AttachPoint]
    predicate: Expr | None
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Script(Node):
    """Everything at the top level, by kind, in source order."""

    definitions: list[Definition]
    config: list[Setting]
    imports: list[Import]
    maps: list[MapDeclaration]
    macros: list[Macro]
    functions: list[Function]
    probes: list[Probe]


Kind = TypeVar("Kind", bound="Node")
PLACES = ("at", "name_at", "value_at", "kind_at")  # attributes that are places
_FIELDS: dict[type, tuple[str, ...]] = {}


def fields_of(node: Node) -> tuple[str, ...]:
    """Names of the attributes that may hold child nodes or lists of them."""
    kind = type(node)
    if kind not in _FIELDS:
        skipped = {*PLACES, "type", "variable", "name"}
        _FIELDS[kind] = tuple(f.name for f in dataclasses.fields(node) if f.name not in skipped)
    return _FIELDS[kind]


def children(node: Node) -> Iterator[Node]:
    """Direct children, in source order."""
    for name in fields_of(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Node):
                    yield item


def clone(node: Kind, place: Callable[[At], At]) -> Kind:
    """Copy a node and all below it; `place` gives the places of the copy."""
    copied = copy.copy(node)
    for name in PLACES:
        if hasattr(node, name):
            setattr(copied, name, place(getattr(node, name)))
    for name in fields_of(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            setattr(copied, name, clone(value, place))
        elif isinstance(value, list):
            setattr(copied, name, [clone(item, place) if isinstance(item, Node) else item for item in value])
    return copied


def rewrite(node: Node, change: Callable[[Node], Node]) -> Node:
    """Apply `change` to every node below and then to the node itself; results replace the originals."""
    for name in fields_of(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            new = rewrite(value, change)
            if new is not value:
                setattr(node, name, new)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Node):
                    value[index] = rewrite(item, change)
    return change(node)
