"""BTF types: reading the format, sizes, names. Types are decoded when asked for.

Format: linux/btf.h. Type id 0 is void; ids count from 1 in file order. Bit offsets of members count from the
start of the struct, little endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from runtime.errors import ObjectProblem

MAGIC = 0xEB9F
MAX_TYPES = 1 << 20
MAX_DEPTH = 64  # typedefs, qualifiers and nesting that are followed
MAX_SIZE = 1 << 31


class Kind(IntEnum):
    """Kinds of types, by their numbers in linux/btf.h."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# Bytes behind the 12-byte head: fixed, and for each of `vlen` elements.
_TAIL = {
    Kind.INT: (4, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.ENUM64: (0, 12),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.DECL_TAG: (4, 0),
}
MODIFIERS = frozenset((Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG))
_SIZED = frozenset((Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.DATASEC, Kind.FLOAT))
COMPOSITE = frozenset((Kind.STRUCT, Kind.UNION))
SIGNED, CHAR, BOOL = 1, 2, 4  # encoding of INT


class Member(NamedTuple):
    """A member of a struct or union (`offset` in bits), a parameter, an enumerator, a variable of a section.

    `bits`: width of a bit field, 0 for ordinary members. `value`: of an enumerator, or the size in a section.
    """

    name: str
    type: int
    offset: int = 0
    bits: int = 0
    value: int = 0


class Type(NamedTuple):
    """One decoded type. `size` in bytes where the kind has one, `to` the type that it refers to.

    `encoding`, `bit_offset`, `bits`: INT. `elements`: of an ARRAY. `linkage`: VAR and FUNC.
    """

    id: int
    kind: Kind
    name: str
    flag: bool
    size: int = 0
    to: int = 0
    members: tuple[Member, ...] = ()
    encoding: int = 0
    bit_offset: int = 0
    bits: int = 0
    elements: int = 0
    linkage: int = 0


_VOID = Type(0, Kind.VOID, "void", False)
_HEAD = struct.Struct("<III")


class Btf:
    """The types of one object. Bad references show up as `ObjectProblem` when they are followed."""

    def __init__(self, data: bytes, file: str = "") -> None:
        """Check the header and find where each type starts.

        Raises:
            ObjectProblem: not BTF, or a type runs past the end.
        """
        self.file = file
        self._data = data
        if len(data) < 24:
            raise self.problem("is shorter than a BTF header", 0)
        magic, version, _, head = struct.unpack_from("<HBBI", data)
        if magic != MAGIC or version != 1:
            raise self.problem("is not BTF of version 1", 0)
        type_off, type_len, text_off, text_len = struct.unpack_from("<IIII", data, 8)
        if head < 24 or head + max(type_off + type_len, text_off + text_len) > len(data):
            raise self.problem("header names parts past its end", 8)
        self._text = data[head + text_off : head + text_off + text_len]
        self._at = self._scan(head + type_off, head + type_off + type_len)
        self._types: dict[int, Type] = {0: _VOID}
        self._names: dict[str, list[int]] | None = None

    def problem(self, text: str, offset: int = -1) -> ObjectProblem:
        """An error about this BTF."""
        return ObjectProblem(text, file=self.file, section=".BTF", offset=offset)

    def __len__(self) -> int:
        return len(self._at)

    def _scan(self, at: int, end: int) -> list[int]:
        """Offset of each type; index 0 is void and has none."""
        out = [0]
        data, unpack, tails = self._data, _HEAD.unpack_from, {int(kind): tail for kind, tail in _TAIL.items()}
        while at < end:
            if at + 12 > end:
                raise self.problem("type runs past the end", at)
            _, info, _ = unpack(data, at)
            kind = info >> 24 & 31
            if not 1 <= kind <= Kind.ENUM64:
                raise self.problem(f"type {len(out)} has the unknown kind {kind}", at)
            out.append(at)
            fixed, each = tails.get(kind, (0, 0))
            at += 12 + fixed + each * (info & 0xFFFF)
            if len(out) > MAX_TYPES:
                raise self.problem(f"has more than {MAX_TYPES} types", at)
        if at != end:
            raise self.problem("type runs past the end", at)
        return out

    def string(self, offset: int) -> str:
        """The string at an offset of the string part.

        Raises:
            ObjectProblem: the offset is past the end.
        """
        if offset >= len(self._text):
            if offset == 0:
                return ""
            raise self.problem(f"string offset {offset} is past the end")
        end = self._text.find(b"\0", offset)
        return self._text[offset : end if end >= 0 else len(self._text)].decode("utf-8", "replace")

    def type(self, number: int) -> Type:
        """Decode one type.

        Raises:
            ObjectProblem: there is no such type.
        """
        found = self._types.get(number)
        if found is None:
            if not 0 < number < len(self._at):
                raise self.problem(f"there is no type {number}")
            found = self._types[number] = self._decode(number)
        return found

    def _decode(self, number: int) -> Type:
        at = self._at[number]
        name_off, info, third = _HEAD.unpack_from(self._data, at)
        kind, flag, vlen = Kind(info >> 24 & 31), bool(info >> 31), info & 0xFFFF
        base = Type(number, kind, self.string(name_off), flag)
        at += 12
        if kind is Kind.INT:
            (word,) = struct.unpack_from("<I", self._data, at)
            return base._replace(
                size=third, encoding=word >> 24 & 15, bit_offset=word >> 16 & 255, bits=word & 255
            )
        if kind is Kind.ARRAY:
            to, _, count = struct.unpack_from("<III", self._data, at)
            return base._replace(to=to, elements=count)
        if kind is Kind.FUNC_PROTO:
            return base._replace(to=third, members=self._members(kind, at, vlen, flag))
        if kind in _SIZED:
            members = self._members(kind, at, vlen, flag) if kind in _MEMBER else ()
            return base._replace(size=third, members=members)
        if kind is Kind.VAR:
            return base._replace(to=third, linkage=struct.unpack_from("<I", self._data, at)[0])
        return base._replace(to=0 if kind is Kind.FWD else third, linkage=vlen if kind is Kind.FUNC else 0)

    def _members(self, kind: Kind, at: int, vlen: int, flag: bool) -> tuple[Member, ...]:
        build, each = _MEMBER[kind], _TAIL[kind][1]
        return tuple(build(self, start, flag) for start in range(at, at + each * vlen, each))

    def place_variables(self, number: int, size: int, places: dict[str, int]) -> None:
        """Fill in offsets (bytes) of the variables of a DATASEC and its size, which the compiler leaves open.

        Raises:
            ObjectProblem: a variable lies outside of the section.
        """
        section = self.type(number)
        members = []
        for member in section.members:
            offset = places.get(self.type(member.type).name, member.offset // 8)
            if offset + member.value > size:
                raise self.problem(f"a variable of {section.name} lies outside of it")
            members.append(member._replace(offset=8 * offset))
        self._types[number] = section._replace(size=size, members=tuple(members))

    # --- questions

    def resolve(self, number: int) -> Type:
        """The type behind typedefs and qualifiers.

        Raises:
            ObjectProblem: they go in a circle.
        """
        found = self.type(number)
        for _ in range(MAX_DEPTH):
            if found.kind not in MODIFIERS:
                return found
            found = self.type(found.to)
        raise self.problem(f"type {number} refers to itself")

    def size_of(self, number: int) -> int:
        """Bytes of a value of the type.

        Raises:
            ObjectProblem: the type has no size, is too large, or is circular.
        """
        count = 1
        found = self.resolve(number)
        for _ in range(MAX_DEPTH):
            if found.kind is not Kind.ARRAY:
                break
            count *= found.elements
            found = self.resolve(found.to)
        size = 8 if found.kind is Kind.PTR else found.size
        if found.kind in (
            Kind.VOID,
            Kind.FWD,
            Kind.FUNC,
            Kind.FUNC_PROTO,
            Kind.ARRAY,
            Kind.DECL_TAG,
            Kind.VAR,
        ):
            raise self.problem(f"type {number} ('{found.name}') has no size")
        if count * size >= MAX_SIZE:
            raise self.problem(f"type {number} has {count * size} bytes, which is too large")
        return count * size

    def named(self, name: str) -> list[int]:
        """Ids of all types with a name."""
        if self._names is None:
            self._names = {}
            for number in range(1, len(self._at)):
                (offset,) = struct.unpack_from("<I", self._data, self._at[number])
                if offset:
                    self._names.setdefault(self.string(offset), []).append(number)
        return self._names.get(name, [])

    def find(self, name: str, *kinds: Kind) -> Type | None:
        """The first type with a name and one of the kinds."""
        for number in self.named(name):
            found = self.type(number)
            if found.kind in kinds:
                return found
        return None

    def all_types(self, *kinds: Kind) -> list[Type]:
        """All types of some kinds, in file order."""
        wanted = {int(kind) for kind in kinds}
        at, head = self._at, _HEAD.unpack_from
        found = [n for n in range(1, len(at)) if head(self._data, at[n])[1] >> 24 & 31 in wanted]
        return [self.type(number) for number in found]


def _field(btf: Btf, at: int, flag: bool) -> Member:
    name, to, offset = _HEAD.unpack_from(btf._data, at)
    if flag:
        return Member(btf.string(name), to, offset & 0xFFFFFF, offset >> 24)
    return Member(btf.string(name), to, offset)


def _enumerator(btf: Btf, at: int, flag: bool) -> Member:
    name, value = struct.unpack_from("<Ii" if flag else "<II", btf._data, at)
    if not flag and value >= 1 << 31:  # C enums with negative values were unsigned in early BTF
        value -= 1 << 32
    return Member(btf.string(name), 0, value=value)


def _enumerator64(btf: Btf, at: int, flag: bool) -> Member:
    name, low, high = _HEAD.unpack_from(btf._data, at)
    value = low | high << 32
    return Member(btf.string(name), 0, value=value - (1 << 64) if flag and value >> 63 else value)


def _parameter(btf: Btf, at: int, flag: bool) -> Member:
    del flag
    name, to = struct.unpack_from("<II", btf._data, at)
    return Member(btf.string(name), to)


def _variable(btf: Btf, at: int, flag: bool) -> Member:
    del flag
    to, offset, size = _HEAD.unpack_from(btf._data, at)
    return Member("", to, 8 * offset, 0, size)


_MEMBER = {
    Kind.STRUCT: _field,
    Kind.UNION: _field,
    Kind.ENUM: _enumerator,
    Kind.ENUM64: _enumerator64,
    Kind.FUNC_PROTO: _parameter,
    Kind.DATASEC: _variable,
}
