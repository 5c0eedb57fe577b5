"""Written types, and what is asked of them: casts, sizeof, offsetof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.suggest import near
from runtime.lang.types import (
    BOOL,
    NAMED_INTS,
    UINT64,
    UNKNOWN,
    USERNAME,
    Aggregate,
    Array,
    Buffer,
    Int,
    Pointer,
    String,
    Tuple,
    Type,
    settled,
)

if TYPE_CHECKING:
    from runtime.lang.checker import Checker


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


def size_of(c: Checker, node: tree.SizeOf) -> Type:
    """Type `sizeof(…)`."""
    kind = c.value(node.inner) if isinstance(node.inner, tree.Expr) else written_type(c, node.inner)
    if node.what == "typeinfo":
        return _type_info(c, node, kind)
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
    inner = c.value(node.inner) if isinstance(node.inner, tree.Expr) else written_type(c, node.inner)
    if isinstance(inner, Tuple) and len(node.path) == 1 and node.path[0] in inner.names:
        return UINT64
    return c.fail(node.at, f"Can not access field '{node.path[0]}' on expression of type '{inner}'")


def cast(c: Checker, node: tree.Cast) -> Type:
    """Type `(type)value`."""
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
