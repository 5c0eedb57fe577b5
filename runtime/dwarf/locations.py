"""Where a parameter lies at a function's first instruction, as the compiler says.

The calling convention alone is not enough: optimised functions that nobody else calls get other registers,
and callers leave out what is not looked at. Source: DWARF 5, sections 2.5, 2.6 and 7.7.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from runtime.dwarf.forms import uleb, word
from runtime.dwarf.info import DebugInfo
from runtime.dwarf.units import LOW_PC, Entry, Unit

LOCATION, CONST_VALUE, LOCLISTS_BASE = 0x02, 0x1C, 0x8C
REG0, REG31, REGX = 0x50, 0x6F, 0x90
FBREG, BREG0, BREG31, CALL_FRAME_CFA, ADDR = 0x91, 0x70, 0x8F, 0x9C, 0x03
ENTRY_VALUE, GNU_ENTRY_VALUE, PIECE = 0xA3, 0xF3, 0x93
REGISTERS = (
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
MOST = 1 << 12  # entries of one list


class Where(Enum):
    """What is said of a place."""

    REGISTER = "register"
    MEMORY = "memory"  # on the stack, or where the function itself will put it
    CONSTANT = "constant"
    SPLIT = "split"  # in pieces
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Home:
    """A place; `register` by name, of what is split that of its first piece; `value` of a constant."""

    where: Where
    register: str = ""
    value: int = 0


def home_of(info: DebugInfo, function: Entry, parameter: Entry) -> Home:
    """Where a parameter is when its function begins."""
    constant = parameter.attributes.get(CONST_VALUE)
    if isinstance(constant, int):
        return Home(Where.CONSTANT, "", constant)
    place = parameter.attributes.get(LOCATION)
    if isinstance(place, bytes):
        return _meaning(place)
    if not isinstance(place, int):
        return Home(Where.NOWHERE)
    start = function.number(LOW_PC)
    for low, high, expression in _list(info, function.unit, place):
        # An empty range is what holds before anything of the function is done (location views).
        if low <= start < high or low == start == high:
            return _meaning(expression)
    return Home(Where.NOWHERE)


def _meaning(expression: bytes) -> Home:
    if not expression:
        return Home(Where.NOWHERE)
    code = expression[0]
    if code in (ENTRY_VALUE, GNU_ENTRY_VALUE):
        length, at = uleb(expression, 1)
        return _meaning(expression[at : at + length])
    number, behind = -1, 1
    if REG0 <= code <= REG31:
        number = code - REG0
    elif code == REGX:
        number, behind = uleb(expression, 1)
    if number >= 0:
        if number >= len(REGISTERS):
            return Home(Where.NOWHERE)
        is_split = expression[behind : behind + 1] == bytes([PIECE])
        return Home(Where.SPLIT if is_split else Where.REGISTER, REGISTERS[number])
    in_memory = code in (FBREG, CALL_FRAME_CFA, ADDR) or BREG0 <= code <= BREG31
    return Home(Where.MEMORY if in_memory else Where.SPLIT if code == PIECE else Where.NOWHERE)


def _list(info: DebugInfo, unit: Unit, place: int) -> Iterator[tuple[int, int, bytes]]:
    """Ranges and expressions of a location list."""
    base = unit.top.number(LOW_PC)
    if unit.version < 5:
        yield from _old_list(info.sections["loc"], place, base)
        return
    table = unit.top.number(LOCLISTS_BASE, 12)
    if place < table:  # an index
        place = table + word(info.sections["loclists"], table + place * unit.offset, unit.offset)
    yield from _new_list(info.sections["loclists"], unit, place, base)


def _old_list(data: bytes, at: int, base: int) -> Iterator[tuple[int, int, bytes]]:
    for _ in range(MOST):
        low, high = struct.unpack_from("<QQ", data, at)
        at += 16
        if low == (1 << 64) - 1:
            base = high
            continue
        if not low and not high:
            return
        length = word(data, at, 2)
        yield base + low, base + high, data[at + 2 : at + 2 + length]
        at += 2 + length


def _new_list(data: bytes, unit: Unit, at: int, base: int) -> Iterator[tuple[int, int, bytes]]:
    for _ in range(MOST):
        kind, at = data[at], at + 1
        if kind == 0:
            return
        if kind == 9:  # GNU: a pair of views, which say nothing of addresses
            _, at = uleb(data, at)
            _, at = uleb(data, at)
        elif kind == 6:
            base, at = word(data, at, 8), at + 8
        elif kind == 1:
            index, at = uleb(data, at)
            base = unit.indexed_address(index)
        else:
            low, high, at = _range(data, unit, at, kind, base)
            length, at = uleb(data, at)
            yield low, high, data[at : at + length]
            at += length


def _range(data: bytes, unit: Unit, at: int, kind: int, base: int) -> tuple[int, int, int]:
    """Ends of one entry's range, and where its expression's length begins."""
    if kind == 5:  # everywhere else
        return 0, 1 << 64, at
    if kind in (7, 8):
        low = word(data, at, 8)
        second, at = (word(data, at + 8, 8), at + 16) if kind == 7 else uleb(data, at + 8)
        return low, second if kind == 7 else low + second, at
    one, at = uleb(data, at)
    two, at = uleb(data, at)
    if kind == 4:
        return base + one, base + two, at
    low = unit.indexed_address(one)
    return low, unit.indexed_address(two) if kind == 2 else low + two, at
