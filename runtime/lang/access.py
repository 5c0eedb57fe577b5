"""Parts of values and what pointers point to: members, items, elements, dereferences, addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import fields, reach, tree
from runtime.lang.builtins import ENTRY_ARGUMENTS, argument_number, is_entry
from runtime.lang.c.contexts import KNOWN
from runtime.lang.c.types import FunctionType, Opaque, Struct
from runtime.lang.suggest import near
from runtime.lang.types import (
    INT8,
    NONE,
    UINT64,
    UNKNOWN,
    VOID,
    Aggregate,
    Array,
    Int,
    Pointer,
    String,
    Tuple,
    Type,
    settled,
)
from runtime.lang.variables import Variable

if TYPE_CHECKING:
    from runtime.lang.checker import Checker


NO_MEMORY = "Memory can not be read in GPU kernels: a wrong address would end the traced program"


def dereference(c: Checker, node: tree.Unary, kind: Type) -> Type:
    """Type `*value`."""
    if c.body.provider.device:
        return c.fail(node.at, NO_MEMORY)
    if isinstance(kind, Int):
        return settled(kind)
    if not isinstance(kind, Pointer):
        return c.fail(node.at, f"Can not dereference type '{kind}'. It is not a pointer.")
    return _pointee(c, node, f"Can not dereference type '{kind}'.")


def known_type(c: Checker, node: tree.Expr) -> Type:
    """The type of a value, a struct that is only declared there being looked for where it is defined."""
    kind = node.type
    struct = kind.to if isinstance(kind, Pointer) else kind
    if isinstance(struct, Struct) and not struct.is_defined and struct.name:
        found = KNOWN.get((struct.tag, struct.name)) or c.scope.tagged(struct.tag, struct.name, c.sources)
        if found is not None:
            node.type = Pointer(found) if isinstance(kind, Pointer) else found
    return node.type


def _pointee(c: Checker, node: tree.Unary | tree.Index, text: str) -> Type:
    kind = known_type(c, node.value)
    assert isinstance(kind, Pointer)
    to = kind.to
    if to == VOID or isinstance(to, FunctionType):
        return c.fail(node.at, f"{text} Its pointee has no value.", "cast it to a pointer of another type")
    if isinstance(to, Struct):
        return to if _is_defined(c, node, to) else UNKNOWN
    return NONE if isinstance(to, Opaque) else to


def _is_defined(c: Checker, node: tree.Expr, struct: Struct) -> bool:
    if struct.is_defined:
        return True
    c.fail(
        node.at,
        f"Unknown struct/union: '{struct}'",
        f"declare {struct} in the script, or use a binary with debug info",
    )
    return False


def address_of(c: Checker, node: tree.AddressOf) -> Type:
    """Type `&$x` or `&@m`."""
    kind = c.expr(node.target)
    if isinstance(kind, Aggregate) or kind in (NONE, VOID):
        return c.fail(node.at, f"Can not take the address of a value of type '{kind}'")
    return kind if kind == UNKNOWN else Pointer(kind)


def member(c: Checker, node: tree.Member) -> Type:
    """Type `value.name` or `value->name`."""
    if fields.is_args(node.value) or is_entry(node):
        return _entry(c, node) if is_entry(node) else fields.check_member(c, node)
    if c.value(node.value) == UNKNOWN:
        return UNKNOWN
    kind = known_type(c, node.value)
    if isinstance(kind, Tuple) and kind.names and not node.arrow:
        if node.name in kind.names:
            return kind.items[kind.names.index(node.name)]
        hint = near(node.name, kind.names)
        return c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'", hint)
    struct = kind.to if isinstance(kind, Pointer) else kind
    if isinstance(struct, Struct):
        return _field(c, node, struct)
    return c.fail(node.at, f"Can not access field '{node.name}' on expression of type '{kind}'")


def _field(c: Checker, node: tree.Member, struct: Struct) -> Type:
    is_args = isinstance(node.value, tree.Identifier) and node.value.name == "args"
    if node.arrow and isinstance(node.value.type, Struct) and not is_args:
        return c.fail(node.at, f"Can not dereference type '{struct}'. It is not a pointer.", "use . here")
    if not _is_defined(c, node, struct):
        return UNKNOWN
    field = struct.fields.get(node.name)
    if field is None:
        return c.fail(
            node.at,
            f"Struct/union of type '{struct}' does not contain a field named '{node.name}'",
            near(node.name, struct.fields),
        )
    return NONE if isinstance(field.type, Opaque) else field.type


def _entry(c: Checker, node: tree.Member) -> Type:
    """`entry.argN` of a return probe: an argument as it was when the call began."""
    if not c.body.provider.result:
        return c.fail(node.at, "entry can only be used with 'uretprobe' probes", "use arg0, arg1, …")
    if (argument_number(node.name) or 0) >= ENTRY_ARGUMENTS or argument_number(node.name) is None:
        return c.fail(node.at, f"entry has no '{node.name}'", f"it has arg0 to arg{ENTRY_ARGUMENTS - 1}")
    return UINT64


def item(c: Checker, node: tree.Item) -> Type:
    """Type `value.0`."""
    kind = c.value(node.value)
    if kind == UNKNOWN:
        return UNKNOWN
    if not isinstance(kind, Tuple):
        return c.fail(node.at, f"Can not access field '{node.index}' on expression of type '{kind}'")
    if node.index >= len(kind.items):
        count = len(kind.items)
        return c.fail(node.at, f"Invalid tuple index: {node.index}. Found {count} elements in tuple.")
    return kind.items[node.index]


def index(c: Checker, node: tree.Index) -> Type:
    """Type `value[index]`."""
    kind = c.value(node.value)
    c.integer(node.index, "index")
    if kind == UNKNOWN:
        return UNKNOWN
    if isinstance(kind, Pointer):
        return _pointee(c, node, f"Can not dereference type '{kind}'.")
    if isinstance(kind, String):
        return INT8
    if isinstance(kind, Array):
        return _element(c, node, kind)
    if isinstance(kind, Tuple):
        return _indexed_item(c, node, kind)
    return c.fail(
        node.at,
        f"The array index operator [] can only be used on arrays, pointers, and tuples, found {kind}.",
    )


def _element(c: Checker, node: tree.Index, kind: Array) -> Type:
    number = node.index.value if isinstance(node.index, tree.Integer) else 0
    # An array without a size is one at the end of a struct, as long as its writer made it.
    if number < 0 or (number >= kind.count > 0):
        return c.fail(node.at, f"the index {number} is out of bounds for array of size {kind.count}")
    return NONE if isinstance(kind.element, Opaque) else kind.element


def _indexed_item(c: Checker, node: tree.Index, kind: Tuple) -> Type:
    if not isinstance(node.index, tree.Integer):
        return c.fail(node.index.at, "a tuple can only be indexed by an integer literal")
    if not 0 <= node.index.value < len(kind.items):
        count = len(kind.items)
        return c.fail(node.at, f"Invalid tuple index: {node.index.value}. Found {count} elements in tuple.")
    return kind.items[node.index.value]


def keep(c: Checker, variable: Variable, value: tree.Expr) -> None:
    """Decide how a variable keeps what it is given: structs and arrays that lie elsewhere by pointer."""
    copied = isinstance(value.type, Struct | Array) and not reach.is_remote(value)
    context = reach.is_context(value)
    if (copied and not variable.copied) or (context and not variable.context):
        c.changed = True
    variable.copied |= copied
    variable.context |= context
