"""Attribute values: their forms, how many bytes each takes, what it says.

Source: DWARF 5, sections 7.5.5 and 7.5.6; GNU extensions of binutils' dwarf2.h.
"""

from __future__ import annotations

from dataclasses import dataclass

# Forms by number.
ADDR, BLOCK2, BLOCK4, DATA2, DATA4, DATA8, STRING, BLOCK, BLOCK1, DATA1 = 1, 3, 4, 5, 6, 7, 8, 9, 0xA, 0xB
FLAG, SDATA, STRP, UDATA, REF_ADDR, REF1, REF2, REF4, REF8, REF_UDATA = range(0xC, 0x16)
INDIRECT, SEC_OFFSET, EXPRLOC, FLAG_PRESENT, STRX, ADDRX, REF_SUP4, STRP_SUP, DATA16, LINE_STRP = range(
    0x16, 0x20
)
REF_SIG8, IMPLICIT_CONST, LOCLISTX, RNGLISTX, REF_SUP8 = range(0x20, 0x25)
STRX1, STRX2, STRX3, STRX4, ADDRX1, ADDRX2, ADDRX3, ADDRX4 = range(0x25, 0x2D)
GNU_ADDR_INDEX, GNU_STR_INDEX, GNU_REF_ALT, GNU_STRP_ALT = 0x1F01, 0x1F02, 0x1F20, 0x1F21

SIBLING = 1  # attribute
FIXED = {
    DATA1: 1, DATA2: 2, DATA4: 4, DATA8: 8, DATA16: 16, FLAG: 1, FLAG_PRESENT: 0, IMPLICIT_CONST: 0,
    REF1: 1, REF2: 2, REF4: 4, REF8: 8, REF_SIG8: 8, REF_SUP4: 4, REF_SUP8: 8,
    STRX1: 1, STRX2: 2, STRX3: 3, STRX4: 4, ADDRX1: 1, ADDRX2: 2, ADDRX3: 3, ADDRX4: 4,
}  # fmt: skip
BY_OFFSET = frozenset((STRP, REF_ADDR, SEC_OFFSET, STRP_SUP, LINE_STRP, GNU_REF_ALT, GNU_STRP_ALT))
LEB = frozenset((SDATA, UDATA, REF_UDATA, STRX, ADDRX, LOCLISTX, RNGLISTX, GNU_ADDR_INDEX, GNU_STR_INDEX))
LOCAL_REFS = frozenset((REF1, REF2, REF4, REF8, REF_UDATA))
STRING_INDEXES = frozenset((STRX, STRX1, STRX2, STRX3, STRX4, GNU_STR_INDEX))
ADDRESS_INDEXES = frozenset((ADDRX, ADDRX1, ADDRX2, ADDRX3, ADDRX4, GNU_ADDR_INDEX))
ELSEWHERE = frozenset(
    (REF_SUP4, REF_SUP8, STRP_SUP, GNU_REF_ALT, GNU_STRP_ALT)
)  # in a file that several share


class Damaged(Exception):
    """The data contradicts itself; becomes an `ObjectProblem` where the file's name is known."""


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number: value and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 70:
            raise Damaged("a number without end")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """Read a signed LEB128 number: value and the place behind it."""
    start = at
    value, at = uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at


def text_at(data: bytes, at: int) -> str:
    """Read a string that ends with NUL."""
    end = data.find(b"\0", at)
    return data[at : end if end >= 0 else len(data)].decode("utf-8", "replace") if 0 <= at < len(data) else ""


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """What the entries with one code look like. `parts`: attribute, form, implicit value.

    `size`: bytes of all values where that is constant, else -1. `sibling`: where the reference to what
    follows stands behind the code, -1 where there is none or it is not known; and its bytes.
    """

    tag: int
    children: bool
    parts: tuple[tuple[int, int, int], ...]
    size: int
    sibling: tuple[int, int] = (-1, 0)


def abbreviations(data: bytes, at: int, address: int, offset: int) -> dict[int, Abbreviation]:
    """Read a table; `address`, `offset`: bytes of an address and of an offset in the unit."""
    table: dict[int, Abbreviation] = {}
    while True:
        code, at = uleb(data, at)
        if code == 0:
            return table
        tag, at = uleb(data, at)
        children = data[at] != 0
        at += 1
        parts: list[tuple[int, int, int]] = []
        while True:
            name, at = uleb(data, at)
            form, at = uleb(data, at)
            implicit = 0
            if form == IMPLICIT_CONST:
                implicit, at = sleb(data, at)
            if name == 0 and form == 0:
                break
            parts.append((name, form, implicit))
        sizes = [fixed_size(form, address, offset) for _, form, _ in parts]
        size = -1 if -1 in sizes else sum(sizes)
        table[code] = Abbreviation(tag, children, tuple(parts), size, _sibling(parts, sizes))


def _sibling(parts: list[tuple[int, int, int]], sizes: list[int]) -> tuple[int, int]:
    for index, (name, form, _) in enumerate(parts):
        if name == SIBLING and form in (REF1, REF2, REF4, REF8) and -1 not in sizes[:index]:
            return sum(sizes[:index]), sizes[index]
    return -1, 0


def fixed_size(form: int, address: int, offset: int) -> int:
    """Bytes of a value, -1 where the data itself says it."""
    if form == ADDR:
        return address
    return offset if form in BY_OFFSET else FIXED.get(form, -1)


def skip(data: bytes, at: int, form: int, address: int, offset: int) -> int:
    """Return the place behind a value."""
    size = fixed_size(form, address, offset)
    if size >= 0:
        return at + size
    if form in LEB:
        while data[at] >= 0x80:
            at += 1
        return at + 1
    if form == STRING:
        return data.index(b"\0", at) + 1
    if form == INDIRECT:
        inner, at = uleb(data, at)
        return skip(data, at, inner, address, offset)
    length, at = block_length(data, at, form)
    return at + length


def block_length(data: bytes, at: int, form: int) -> tuple[int, int]:
    """Length of a block and where it begins."""
    if form in (BLOCK, EXPRLOC):
        return uleb(data, at)
    size = {BLOCK1: 1, BLOCK2: 2, BLOCK4: 4}.get(form)
    if size is None:
        raise Damaged(f"unknown form {form:#x}")
    return int.from_bytes(data[at : at + size], "little"), at + size


def word(data: bytes, at: int, size: int) -> int:
    """Read an unsigned number of some bytes."""
    if at < 0 or at + size > len(data):
        raise Damaged("a value behind the end")
    return int.from_bytes(data[at : at + size], "little")
