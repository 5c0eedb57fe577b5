"""`args`: what a probe was given, as fields that lie in its program's context.

The fields of one program are `Body.fields`, by name, in their order. `args.name` and `args->name` are one
thing; `args` alone is a record of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.suggest import near
from runtime.lang.types import Tuple, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

COMMON = "common_"
HINTS = {  # by a word of the reason
    "stack": 'read it by hand: reg("sp") + 8 is the first argument on the stack',
    "struct": "its parts may be in arg0, arg1, …",
}
NOT_HERE = (
    "The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes"
    " ({} used here)"
)


@dataclass(frozen=True, slots=True)
class ContextField:
    """One field: where it lies in the context, and its type there. `why`: it cannot be read, and why not."""

    offset: int
    type: Type
    why: str = ""


def is_args(node: tree.Node) -> bool:
    """Tell whether an expression is `args` itself."""
    return isinstance(node, tree.Identifier) and node.name == "args"


def uses_args(node: tree.Node) -> bool:
    """Tell whether any part of a tree is `args`."""
    return is_args(node) or any(uses_args(child) for child in tree.children(node))


def check_member(c: Checker, node: tree.Member) -> Type:
    """Type `args.name`."""
    fields = c.body.fields
    if fields is None:
        return check_whole(c, node.value)
    if node.name in fields:
        field = fields[node.name]
        if field.why:
            hint = next((hint for word, hint in HINTS.items() if word in field.why), "")
            return c.fail(node.at, f"parameter {node.name} cannot be read: it {field.why}", hint)
        return field.type
    if c.body.provider.registers:
        hint = near(node.name, fields) or (f"it has {', '.join(fields)}" if fields else "it has none")
        return c.fail(node.at, f"Can't find function parameter {node.name}", hint)
    if node.name.startswith(COMMON):
        return c.fail(node.at, "BPF does not support accessing common tracepoint fields")
    point = c.body.points[0]
    owner = "struct " + "_".join(("", point.provider.name, *point.parts))
    hint = near(node.name, fields) or f"it has {', '.join(fields)}"
    return c.fail(
        node.at, f"Struct/union of type '{owner}' does not contain a field named '{node.name}'", hint
    )


def check_whole(c: Checker, node: tree.Expr) -> Type:
    """Type `args` alone."""
    if c.body.fields is None:
        return c.fail(node.at, NOT_HERE.format(c.body.provider.name))
    fields = _readable(c.body.fields)
    return Tuple(tuple(f.type for f in fields.values()), tuple(fields))


def _readable(fields: dict[str, ContextField]) -> dict[str, ContextField]:
    return {name: field for name, field in fields.items() if not field.why}


def place_of(g: Generator, node: tree.Member) -> Place:
    """Memory of a field."""
    assert g.body.fields is not None
    return g.context(g.body.fields[node.name].offset)


def write_whole(g: Generator, place: Place, kind: Tuple) -> None:
    """Write all fields as a record."""
    from runtime.lang import memory  # a cycle of names: it dispatches to here

    fields = _readable(g.body.fields or {})
    memory.gaps(g, place, kind)
    for field, offset in zip(fields.values(), kind.offsets, strict=True):
        memory.copy(g, place + offset, g.context(field.offset), field.type.size)
