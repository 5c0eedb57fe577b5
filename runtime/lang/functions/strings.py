"""Functions on strings: length, search, comparison, concatenation, patterns.

A string ends at its first NUL or at the end of its memory. Arrays of `int8` and pointers to `int8` count as
strings; what a pointer names is read up to `max_strlen` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.lang import memory, tree
from runtime.lang.functions.row import Function
from runtime.lang.functions.text import clear_behind, read_string
from runtime.lang.types import BOOL, INT64, UINT64, UNKNOWN, Array, Int, Pointer, String, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

LENGTH, FIND, APPEND, GLOB = 100020, 100021, 100022, 100024  # helpers
JOINED = 1024  # bytes of what str_concat gives


def _is_text(kind: Type) -> bool:
    element = kind.element if isinstance(kind, Array) else kind.to if isinstance(kind, Pointer) else None
    return isinstance(kind, String) or (isinstance(element, Int) and element.bytes == 1)


def _check_text(c: Checker, call: tree.Call, node: tree.Expr) -> None:
    kind = c.value(node)
    if kind != UNKNOWN and not _is_text(kind):
        c.fail(node.at, f"{call.name}() only supports string arguments ({kind} provided)")


def _capacity(g: Generator, node: tree.Expr) -> int:
    """Bytes that the string of an argument has at most."""
    kind = node.type
    return g.config.number("max_strlen") if isinstance(kind, Pointer) else kind.size


def _operand(g: Generator, node: tree.Expr) -> Place:
    """Memory that holds the string of an argument."""
    if not isinstance(node.type, Pointer):
        return g.place(node)
    size = _capacity(g, node)
    address, room = g.storage.take(8), g.storage.take_frame(2 * size)
    g.word(node)
    g.code.store(address, 0, 8)
    read_string(g, room, address, size)
    clear_behind(g, room, size)
    return room


def _pair(g: Generator, call: tree.Call) -> None:
    """Load the first two arguments into r1 to r4: address and size each."""
    one, two = call.args[:2]
    first, second = _operand(g, one), _operand(g, two)
    g.code.address(1, first)
    g.code.set(2, _capacity(g, one))
    g.code.address(3, second)
    g.code.set(4, _capacity(g, two))


def _checked(result: Type, texts: int) -> Callable[[Checker, tree.Call], Type]:
    def check(c: Checker, call: tree.Call) -> Type:
        for node in call.args[:texts]:
            _check_text(c, call, node)
        return result

    return check


def _lower_strlen(g: Generator, call: tree.Call) -> None:
    with g.storage.scope():
        place = _operand(g, call.args[0])
        g.code.address(1, place)
        g.code.set(2, _capacity(g, call.args[0]))
        g.code.call(LENGTH)


def _lower_strcap(g: Generator, call: tree.Call) -> None:
    g.code.set(0, _capacity(g, call.args[0]))


def _lower_strstr(g: Generator, call: tree.Call) -> None:
    with g.storage.scope():
        _pair(g, call)
        g.code.call(FIND)


def _lower_strcontains(g: Generator, call: tree.Call) -> None:
    _lower_strstr(g, call)
    g.code.alu_constant("^", 0, -1)  # the sign bit: set where something was found
    g.code.alu_constant(">>", 0, 63)


def _lower_globmatch(g: Generator, call: tree.Call) -> None:
    with g.storage.scope():
        _pair(g, call)
        g.code.call(GLOB)


def _check_strncmp(c: Checker, call: tree.Call) -> Type:
    for node in call.args[:2]:
        _check_text(c, call, node)
    if c.literal(call.args[2], "strncmp()") < 0:
        c.fail(call.args[2].at, "strncmp() expects a non-negative length")
    return UINT64


def _lower_strncmp(g: Generator, call: tree.Call) -> None:
    one, two, count = call.args
    assert isinstance(count, tree.Integer)
    with g.storage.scope():
        _pair(g, call)
        g.code.set(2, min(count.value, _capacity(g, one)))
        g.code.set(4, min(count.value, _capacity(g, two)))
        g.code.call(memory.HELPER_COMPARE)


def _check_concat(c: Checker, call: tree.Call) -> Type:
    for node in call.args:
        _check_text(c, call, node)
    return String(JOINED)


def _fill_concat(g: Generator, call: tree.Call, place: Place) -> None:
    with g.storage.scope():
        # The arguments may be read from where the result goes.
        room = g.storage.take_frame(JOINED)
        memory.zero(g, room, JOINED)
        for node in call.args:
            with g.storage.scope():
                source = _operand(g, node)
                g.code.address(1, room)
                g.code.set(2, JOINED)
                g.code.address(3, source)
                g.code.set(4, _capacity(g, node))
                g.code.call(APPEND)
        memory.copy(g, place, room, JOINED)


ROWS = (
    Function("strlen", 1, 1, _checked(UINT64, 1), _lower_strlen),
    Function("strcap", 1, 1, _checked(INT64, 1), _lower_strcap),
    Function("strstr", 2, 2, _checked(INT64, 2), _lower_strstr),
    Function("strcontains", 2, 2, _checked(BOOL, 2), _lower_strcontains),
    Function("globmatch", 2, 2, _checked(BOOL, 2), _lower_globmatch),
    Function("strncmp", 3, 3, _check_strncmp, _lower_strncmp),
    Function("str_concat", 2, 2, _check_concat, fill=_fill_concat),
)
