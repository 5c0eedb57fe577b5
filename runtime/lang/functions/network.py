"""Network addresses: ntop, pton, macaddr."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from runtime.lang import memory, tree
from runtime.lang.functions.row import Function
from runtime.lang.functions.text import READ
from runtime.lang.types import INET, MAC, UINT8, UNKNOWN, Array, Buffer, Int, Pointer, String, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator

FAMILIES = {2: 4, 10: 16}  # AF_INET, AF_INET6 → bytes of an address
BYTES_OF = {size: family for family, size in FAMILIES.items()}
MAC_BYTES = 6


def _bytes_of(kind: Type) -> int:
    """Bytes of an address that a type holds or points to; 0 where it is none."""
    if isinstance(kind, Pointer):
        kind = kind.to
    if isinstance(kind, Int):
        return 4
    if isinstance(kind, String | Array):
        return kind.size
    return kind.capacity if isinstance(kind, Buffer) else 0


def _check_ntop(c: Checker, call: tree.Call) -> Type:
    value = call.args[-1]
    kind = c.value(value)
    if len(call.args) == 2:
        c.integer(call.args[0], "ntop()")
    if kind == UNKNOWN:
        return UNKNOWN
    size = _bytes_of(kind)
    if isinstance(kind, Pointer) and len(call.args) == 2:
        return INET
    if not size or (size not in BYTES_OF and not isinstance(kind, Pointer)):
        return c.fail(
            value.at, f"ntop() expects an integer or array argument of 4 or 16 bytes ({kind} provided)"
        )
    return INET


def _fill_ntop(g: Generator, call: tree.Call, place: Place) -> None:
    value = call.args[-1]
    kind = value.type
    size = _bytes_of(kind)
    size = size if size in BYTES_OF else 4
    given = call.args[0] if len(call.args) == 2 else None
    if isinstance(given, tree.Integer) and given.value in FAMILIES:
        size = FAMILIES[given.value]
    with g.storage.scope():
        family = g.storage.take(8)
        if given is None:
            g.code.set(0, BYTES_OF[size])
        else:
            g.word(given)
            size = size if isinstance(given, tree.Integer) else max(size, _room(kind))
        g.code.store(family, 0, 8)
        memory.zero(g, place + 8, 16)
        _put_address(g, value, place + 8, size)
        g.code.load(0, family, 8)
        g.code.store(place, 0, 8)


def _room(kind: Type) -> int:
    return 16 if isinstance(kind, Pointer) else min(16, kind.size)


def _put_address(g: Generator, value: tree.Expr, place: Place, size: int) -> None:
    kind = value.type
    if isinstance(kind, Pointer):
        g.word(value)
        g.code.move(3, 0)
        g.code.address(1, place)
        g.code.set(2, size)
        g.code.call(READ)
    elif kind.word:
        g.word(value)
        g.code.store(place, 0, 4)
    else:
        source = g.place(value)
        skip = 4 if isinstance(kind, Buffer) else 0
        memory.copy(g, place, source + skip, min(size, kind.size - skip))


def _check_pton(c: Checker, call: tree.Call) -> Type:
    text = c.text(call.args[0], "pton()")
    if text is None:
        return UNKNOWN
    packed = _packed(text)
    if not packed:
        shown = text.decode("utf-8", "replace")
        family = "IPv6" if ":" in shown else "IPv4"
        return c.fail(call.args[0].at, f"pton() expects a valid {family} address, got {shown}")
    return Array(UINT8, len(packed))


def _packed(text: bytes) -> bytes:
    try:
        name = text.decode("ascii")
        return socket.inet_pton(socket.AF_INET6 if ":" in name else socket.AF_INET, name)
    except (OSError, ValueError):
        return b""


def _fill_pton(g: Generator, call: tree.Call, place: Place) -> None:
    text = call.args[0]
    assert isinstance(text, tree.String)
    memory.constant(g, place, _packed(text.value))


def _check_macaddr(c: Checker, call: tree.Call) -> Type:
    node = call.args[0]
    kind = c.value(node)
    if kind == UNKNOWN:
        return UNKNOWN
    if isinstance(kind, Pointer | Int):
        return MAC
    if isinstance(kind, String | Array | Buffer) and _bytes_of(kind) >= MAC_BYTES:
        return MAC
    return c.fail(node.at, f"macaddr() argument must be a pointer or 6 bytes ({kind} provided)")


def _fill_macaddr(g: Generator, call: tree.Call, place: Place) -> None:
    node = call.args[0]
    memory.zero(g, place, MAC_BYTES)
    if node.type.word:
        g.word(node)
        g.code.move(3, 0)
        g.code.address(1, place)
        g.code.set(2, MAC_BYTES)
        g.code.call(READ)
        return
    with g.storage.scope():
        source = g.place(node)
        skip = 4 if isinstance(node.type, Buffer) else 0
        memory.copy(g, place, source + skip, MAC_BYTES)


ROWS = (
    Function("ntop", 1, 2, _check_ntop, fill=_fill_ntop),
    Function("pton", 1, 1, _check_pton, fill=_fill_pton),
    Function("macaddr", 1, 1, _check_macaddr, fill=_fill_macaddr),
)
