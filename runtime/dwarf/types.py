"""Types of debug info as types of the language; a struct's members are read when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from runtime.dwarf import forms
from runtime.dwarf.info import (
    ARRAY,
    BASE_TYPE,
    CLASS,
    DECLARATION,
    ENUMERATION,
    ENUMERATOR,
    POINTER,
    STRUCTURE,
    TYPEDEF,
    UNION,
    DebugInfo,
    debug_info,
)
from runtime.dwarf.units import Entry
from runtime.lang.c.types import FUNCTION, Body, Enum, Field, Opaque, Struct, member_type
from runtime.lang.code import signed64
from runtime.lang.types import BOOL, VOID, Array, Int, Pointer, Type

# Attributes
BYTE_SIZE, BIT_OFFSET, BIT_SIZE, CONST_VALUE, UPPER_BOUND, COUNT = 0xB, 0xC, 0xD, 0x1C, 0x2F, 0x37
MEMBER_LOCATION, ENCODING, TYPE, DATA_BIT_OFFSET, ALIGNMENT, EXTERNAL = 0x38, 0x3E, 0x49, 0x6B, 0x88, 0x3F
GNU_VECTOR = 0x2107
# Tags
MEMBER, REFERENCE, SUBROUTINE, INHERITANCE, MEMBER_POINTER = 0xD, 0x10, 0x15, 0x1C, 0x1F
CONST, VOLATILE, RESTRICT, ATOMIC, RVALUE, SUBRANGE, UNSPECIFIED = 0x26, 0x35, 0x37, 0x47, 0x42, 0x21, 0x3B
NAMED_BY = {
    "struct": frozenset((STRUCTURE, CLASS)),
    "union": frozenset((UNION,)),
    "enum": frozenset((ENUMERATION,)),
}
FLOAT_ENCODINGS = frozenset((3, 4, 0xF, 0x80))  # complex, float, decimal
SIGNED_ENCODINGS = frozenset((5, 6, 0xD))
PLUS_UCONST = 0x23
MAX_DEPTH = 64  # typedefs and qualifiers that are followed
WIDEST = 16  # alignment that no member asks for more than


class DwarfTypes:
    """The types of one file; what scripts ask for by name."""

    def __init__(self, info: DebugInfo) -> None:
        self.info = info
        self._types: dict[int, Type] = {}
        self._tagged: dict[tuple[str, str], Type | None] = {}
        self._typedefs: dict[str, Type | None] = {}

    # By name

    def tagged(self, tag: str, name: str) -> Type | None:
        """A struct, union or enum."""
        if (tag, name) not in self._tagged:
            entry = self.info.named(name, NAMED_BY[tag])
            self._tagged[tag, name] = self._checked(entry)
        return self._tagged[tag, name]

    def typedef(self, name: str) -> Type | None:
        """What a name of a type stands for; also a class without its keyword."""
        if name not in self._typedefs:
            tags = frozenset((TYPEDEF, BASE_TYPE, CLASS))
            entry = self.info.named(name, tags)
            self._typedefs[name] = self._checked(entry)
        return self._typedefs[name]

    def constant(self, name: str) -> tuple[int, Enum] | None:
        """An enumerator."""
        for entry in self.info.enumerations_with(name):
            kind = self._checked(entry)
            if isinstance(kind, Enum):
                value = next((number for variant, number in kind.variants if variant == name), None)
                if value is not None:
                    return value, kind
        return None

    # By entry

    def _checked(self, entry: Entry | None) -> Type | None:
        return self.info.guarded(partial(self.of, entry)) if entry is not None else None

    def of(self, entry: Entry | None, depth: int = 0) -> Type:
        """The type that an entry describes; `void` for none."""
        if entry is None or depth > MAX_DEPTH:
            return VOID
        found = self._types.get(entry.at)
        if found is None:
            make = MAKERS.get(entry.tag)
            found = make(self, entry, depth) if make else Opaque(entry.number(BYTE_SIZE), 1)
            self._types[entry.at] = found
        return found

    def target(self, entry: Entry) -> Entry | None:
        """The entry that an entry's type attribute names."""
        at = entry.number(TYPE, -1)
        return self.info.entry_at(at) if at >= 0 else None

    def _same(self, entry: Entry, depth: int) -> Type:
        return self.of(self.target(entry), depth + 1)

    def _pointer(self, entry: Entry, depth: int) -> Type:
        target = self.target(entry)
        return Pointer(self.of(target, depth + 1))

    def _base(self, entry: Entry, depth: int) -> Type:
        del depth
        size, encoding = entry.number(BYTE_SIZE), entry.number(ENCODING)
        if encoding == 2 and size == 1:
            return BOOL
        if encoding in FLOAT_ENCODINGS or size not in (1, 2, 4, 8):
            return Opaque(size, min(max(1, size), WIDEST), encoding not in FLOAT_ENCODINGS)
        return Int(size, encoding in SIGNED_ENCODINGS)

    def _array(self, entry: Entry, depth: int) -> Type:
        kind = self._same(entry, depth)
        counts = [_count(child) for child in entry.unit.children(entry) if child.tag == SUBRANGE]
        if entry.number(GNU_VECTOR):
            size = entry.number(BYTE_SIZE) or kind.size * (counts[0] if counts else 1)
            return Opaque(size, min(max(1, size), 64))
        for count in reversed(counts or [0]):
            kind = Array(kind, count)
        return kind

    def _enum(self, entry: Entry, depth: int) -> Type:
        base = self._same(entry, depth)
        size = entry.number(BYTE_SIZE) or base.size or 4
        variants = [
            (child.text(), _signed(child.attributes.get(CONST_VALUE), size))
            for child in entry.unit.children(entry)
            if child.tag == ENUMERATOR
        ]
        signed = any(value < 0 for _, value in variants)
        if not signed:
            variants = [(name, value & (1 << 8 * size) - 1) for name, value in variants]
        return Enum(size if size in (1, 2, 4, 8) else 4, signed, False, entry.text(), tuple(variants))

    def _struct(self, entry: Entry, depth: int) -> Type:
        del depth
        tag = "union" if entry.tag == UNION else "struct"
        name = entry.text()
        fill = self._fill_elsewhere if entry.number(DECLARATION) else self._fill
        body = Body(lambda body: self.info.guarded(partial(fill, entry, body)))
        origin = self.info.path if name else f"{self.info.path}@{entry.at}"
        return Struct(tag, name, origin, body)

    def _fill_elsewhere(self, entry: Entry, body: Body) -> None:
        """Fill in what is only declared here from where it is defined."""
        found = self.tagged("union" if entry.tag == UNION else "struct", entry.text())
        if isinstance(found, Struct) and found.is_defined and found.body is not body:
            body.define(found.size, found.align, list(found.fields.values()))

    def _fill(self, entry: Entry, body: Body) -> None:
        fields: list[Field] = []
        align = 1
        for child in entry.unit.children(entry):
            if child.tag not in (MEMBER, INHERITANCE) or child.number(DECLARATION) or child.number(EXTERNAL):
                continue
            kind = self.of(self.target(child))
            align = max(align, min(kind.align, WIDEST))
            fields += self._member(child, kind)
        size = entry.number(BYTE_SIZE)
        packed = any(item.offset % max(1, item.type.align) for item in fields if not item.bits)
        body.define(size, entry.number(ALIGNMENT) or (1 if packed else align), fields)

    def _member(self, entry: Entry, kind: Type) -> list[Field]:
        """One member; those of a base class and of an anonymous struct one by one."""
        at = _location(entry.attributes.get(MEMBER_LOCATION, 0))
        name = entry.text()
        if not name or entry.tag == INHERITANCE:
            inner = kind.fields.values() if isinstance(kind, Struct) else ()
            return [Field(i.name, i.type, i.offset + at, i.bit + 8 * at, i.bits) for i in inner]
        bits = entry.number(BIT_SIZE)
        if not bits:
            return [Field(name, member_type(kind), at)]
        if DATA_BIT_OFFSET in entry.attributes:
            bit = 8 * at + entry.number(DATA_BIT_OFFSET)
        else:  # DWARF 3 counts from the most significant bit of the unit
            unit = 8 * (entry.number(BYTE_SIZE) or kind.size)
            bit = 8 * at + unit - signed64(entry.number(BIT_OFFSET)) - bits
        return [Field(name, kind, bit // 8, bit, bits)]


MAKERS: dict[int, Callable[[DwarfTypes, Entry, int], Type]] = {
    **dict.fromkeys((TYPEDEF, CONST, VOLATILE, RESTRICT, ATOMIC), DwarfTypes._same),
    **dict.fromkeys((POINTER, REFERENCE, RVALUE), DwarfTypes._pointer),
    **dict.fromkeys((STRUCTURE, CLASS, UNION), DwarfTypes._struct),
    BASE_TYPE: DwarfTypes._base,
    ARRAY: DwarfTypes._array,
    ENUMERATION: DwarfTypes._enum,
    SUBROUTINE: lambda _types, _entry, _depth: FUNCTION,
    UNSPECIFIED: lambda _types, _entry, _depth: VOID,
    MEMBER_POINTER: lambda _types, entry, _depth: Opaque(entry.number(BYTE_SIZE, 8), 8),
}


def _count(entry: Entry) -> int:
    count = entry.attributes.get(COUNT)
    if isinstance(count, int):
        return count
    upper = entry.attributes.get(UPPER_BOUND)
    # An array without a size is said in two ways: without a bound, or with -1.
    return upper + 1 if isinstance(upper, int) and 0 <= upper < (1 << 32) - 1 else 0


def _location(value: int | bytes | str) -> int:
    """Distance in bytes: a number, or an expression that adds one."""
    if isinstance(value, bytes):
        return forms.uleb(value, 1)[0] if len(value) > 1 and value[0] == PLUS_UCONST else 0
    return value if isinstance(value, int) else 0


def _signed(value: int | bytes | str | None, size: int) -> int:
    """Read an enumerator's value; compilers write negative ones in forms without a sign."""
    if isinstance(value, bytes):
        value = int.from_bytes(value, "little", signed=True)
    number = value if isinstance(value, int) else 0
    if number >= 1 << (8 * size):
        number &= (1 << 8 * size) - 1
    return number


@lru_cache(maxsize=64)
def types_of(path: str) -> DwarfTypes | None:
    """The types of a program or library, None where it has no debug info.

    Raises:
        ObjectProblem: it is no program.
    """
    info = debug_info(path)
    return DwarfTypes(info) if info is not None else None
