"""Written types, and what is asked of them: casts, sizeof, offsetof."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.lang import tree
from runtime.lang.c.contexts import KNOWN
from runtime.lang.c.types import Enum, Opaque, Struct
from runtime.lang.suggest import near
from runtime.lang.types import (
    BOOL,
    INET,
    MAC,
    NAMED_INTS,
    SYMBOL,
    TIMESTAMP,
    UINT64,
    UNKNOWN,
    USERNAME,
    Aggregate,
    Array,
    Bool,
    Buffer,
    Int,
    Named,
    Pointer,
    String,
    Tuple,
    Type,
    Username,
    settled,
)

if TYPE_CHECKING:
    from runtime.lang.checker import Checker

NAMED: dict[str, Type] = {
    "username_t": USERNAME, "inet": INET, "macaddr_t": MAC, "timestamp": TIMESTAMP, "usym_t": SYMBOL,
    **{f"{name}_t": Aggregate(name) for name in ("count", "sum", "min", "max", "avg", "stats")},
    **{f"u{name}_t": Aggregate(name, signed=False) for name in ("sum", "min", "max", "avg", "stats")},
    "hist_t": Aggregate("hist", True, (0,)), "lhist_t": Aggregate("lhist", True, (0, 1, 1)),
}  # fmt: skip
SIZED = {"string": String, "buffer": Buffer}
MOST = 1 << 20  # bytes of a sized type, elements of an array


def written_type(c: Checker, written: tree.TypeSyntax) -> Type:
    """The type that a type expression names; an array without a number has -1 elements."""
    if isinstance(written, tree.TypeOf):
        inner = written.inner
        return settled(c.value(inner)) if isinstance(inner, tree.Expr) else written_type(c, inner)
    suffixes = list(written.suffixes)
    kind: Type | None
    if written.name in SIZED and not written.tag:
        size = suffixes.pop(0) if suffixes and isinstance(suffixes[0], int) else c.config.number("max_strlen")
        kind = SIZED[written.name](size) if isinstance(size, int) and 0 < size <= MOST else None
    else:
        kind = _base(c, written)
        if kind == INET and suffixes and isinstance(suffixes[0], int):
            suffixes.pop(0)  # its size is that of the longest address, whatever is written
    if kind is None:
        return _unknown(c, written)
    for suffix in suffixes:
        if isinstance(suffix, int) and (suffix > MOST or (isinstance(kind, Array) and kind.count < 0)):
            return c.fail(written.at, f"an array cannot have {suffix} elements")
        kind = Pointer(kind) if suffix == "*" else Array(kind, int(suffix))
    return kind


def _base(c: Checker, written: tree.TypeName) -> Type | None:
    if written.tag:
        found = c.scope.tagged(written.tag, written.name, []) or KNOWN.get((written.tag, written.name))
        found = found or c.scope.tagged(written.tag, written.name, c.sources)
        if found is None and written.tag != "enum" and (written.tag, written.name) in c.scope.tags:
            return c.scope.struct(written.tag, written.name)
        return found
    return NAMED.get(written.name) or c.scope.named(written.name, c.sources)


def _unknown(c: Checker, written: tree.TypeName) -> Type:
    if written.tag in ("struct", "union"):
        name = f"{written.tag} {written.name}"
        known = [other for tag, other in c.scope.tags if tag == written.tag]
        hint = f"declare {name} in the script, or use a binary with debug info"
        return c.fail(written.at, f"Unknown struct/union: '{name}'", near(written.name, known) or hint)
    name = f"{written.tag} {written.name}".strip()
    known = [*NAMED_INTS, *c.scope.typedefs, *SIZED]
    return c.fail(written.at, f'Cannot resolve unknown type "{name}"', near(written.name, known))


# sizeof, offsetof


def _asked(c: Checker, inner: tree.Expr | tree.TypeSyntax) -> Type:
    return c.value(inner) if isinstance(inner, tree.Expr) else written_type(c, inner)


def size_of(c: Checker, node: tree.SizeOf) -> Type:
    """Type `sizeof(…)`."""
    kind = _asked(c, node.inner)
    if node.what == "typeinfo":
        return _type_info(c, node, kind)
    if isinstance(kind, Struct) and not kind.is_defined:
        return c.fail(node.at, f"Unknown struct/union: '{kind}'")
    node.value = kind.size
    return UINT64


def _type_info(c: Checker, node: tree.SizeOf, kind: Type) -> Type:
    """Type `typeinfo(…)`: what is known of a type, as a record of constants."""
    setting = c.config.text("unstable_typeinfo")
    if setting in ("error", "0", "false"):
        return c.fail(
            node.at, "typeinfo is an unstable feature", "set unstable_typeinfo = enable in the config block"
        )
    if setting == "warn":
        c.warn(node.at, "Script is using an unstable feature: typeinfo.")
    if kind == UNKNOWN:
        return UNKNOWN
    base = type(kind).__name__.lower() if not isinstance(kind, Tuple) or not kind.names else "record"
    names = ["btf_id", "base_type", "full_type"]
    texts = [tree.String(node.at, text.encode()) for text in (base, str(kind))]
    node.record = tree.Record(node.at, names, [tree.Integer(node.at, 0), *texts])
    return c.expr(node.record)


def offset_of(c: Checker, node: tree.OffsetOf) -> Type:
    """Type `offsetof(…)`."""
    kind = _asked(c, node.inner)
    node.value = 0
    for name in node.path:
        if kind == UNKNOWN:
            return UNKNOWN
        if isinstance(kind, Tuple) and name in kind.names:
            place = kind.names.index(name)
            node.value += kind.offsets[place]
            kind = kind.items[place]
        elif isinstance(kind, Struct) and name in kind.fields:
            node.value += kind.fields[name].offset
            kind = kind.fields[name].type
        else:
            return _no_field(c, node, kind, name)
    return UINT64


def _no_field(c: Checker, node: tree.OffsetOf, kind: Type, name: str) -> Type:
    if not isinstance(kind, Struct):
        return c.fail(node.at, f"Can not access field '{name}' on expression of type '{kind}'")
    if not kind.is_defined:
        return c.fail(node.at, f"Unknown struct/union: '{kind}'")
    text = f"Struct/union of type '{kind}' does not contain a field named '{name}'"
    return c.fail(node.at, text, near(name, kind.fields))


# Casts


def cast(c: Checker, node: tree.Cast) -> Type:
    """Type `(type)value`."""
    source = c.expr(node.value)
    target = written_type(c, node.written)
    if UNKNOWN in (source, target):
        return target if not _is_open(target) else UNKNOWN
    target = _counted(node, source, target)
    if isinstance(source, Aggregate) and source.castable:
        fits = isinstance(target, Int) or target == BOOL
    else:
        fits = _may_cast(node, source, target)
    if not fits:
        return c.fail(node.at, f'Cannot cast from "{source}" to "{target}"', _why(source, target))
    if isinstance(target, Enum) and isinstance(node.value, tree.Integer):
        return _variant(c, node, node.value.value, target)
    if source == target and not isinstance(node.value, tree.Integer):
        c.warn(node.at, f"Unnecessary cast: expression is already of type {target}")
    return target


def _variant(c: Checker, node: tree.Cast, value: int, target: Enum) -> Type:
    if target.named(value):
        return target
    names = ", ".join(f"{name} = {number}" for name, number in target.variants[:8])
    return c.fail(
        node.at, f"Enum: {target.name} doesn't contain a variant value of {value}", f"it has {names}"
    )


def _is_open(kind: Type) -> bool:
    return isinstance(kind, Array) and kind.count < 0


def _counted(node: tree.Cast, source: Type, target: Type) -> Type:
    """Count the elements of `(int8[])value` by the size of the value."""
    if not isinstance(target, Array) or not _is_open(target):
        return target
    size = max(1, target.element.size)
    whole = max(source.size, size) if isinstance(node.value, tree.Integer) else source.size
    return Array(target.element, whole // size) if whole % size == 0 else target


def _to_number(source: Type, target: Type) -> bool:
    if isinstance(source, Array) and isinstance(target, Int):
        return isinstance(source.element, Int | Bool) and source.size == target.size
    return isinstance(source, Int | Pointer | Bool)


# What a type can be made of; all others only of themselves, arrays by a rule of their own.
SOURCES: dict[type[Type], Callable[[Any, Any], bool]] = {
    String: lambda source, target: isinstance(source, String) and source.capacity <= target.capacity,
    Username: lambda source, _: isinstance(source, Int),
    Bool: lambda source, _: isinstance(source, Int | Pointer | String | Bool),
    Int: _to_number,
    Enum: _to_number,
    Pointer: _to_number,
}
NEVER = Struct | Opaque | Named


def _may_cast(node: tree.Cast, source: Type, target: Type) -> bool:
    if isinstance(source, NEVER) or isinstance(target, NEVER):
        return False
    if isinstance(target, Array):
        return _may_be_array(node, source, target)
    accepts = SOURCES.get(type(target))
    return accepts(source, target) if accepts else source == target


def _may_be_array(node: tree.Cast, source: Type, target: Array) -> bool:
    if not isinstance(target.element, Int) and target.element != BOOL:
        return source == target
    if isinstance(source, String):
        return target.element.size == 1 and target.element != BOOL and target.size == source.size
    if not isinstance(source, Int):
        return source == target
    if isinstance(node.value, tree.Integer):
        return target.size in (1, 2, 4, 8) and source.size <= target.size
    return source.size == target.size


def _why(source: Type, target: Type) -> str:
    if isinstance(source, String) and not isinstance(target, Array):
        return ""
    if isinstance(source, Array | String) and isinstance(target, Int | Array) and source.size != target.size:
        return f"they have {source.size} and {target.size} bytes"
    if isinstance(source, Int) and isinstance(target, Array) and target.count >= 0:
        return f"they have {source.size} and {target.size} bytes"
    return ""
