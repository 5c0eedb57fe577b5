"""Types of BTF as types of the language: the kernel's own, or those of the file that BPFTRACE_BTF names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.btf.types import BOOL as BOOL_ENCODING
from runtime.btf.types import MODIFIERS, SIGNED, Btf, Kind
from runtime.btf.types import Type as BtfType
from runtime.errors import ObjectProblem
from runtime.lang.c.types import FUNCTION, Body, Enum, Field, Opaque, Struct, member_type
from runtime.lang.types import BOOL, INT8, VOID, Array, Int, Pointer, Type

KINDS = {
    "struct": (Kind.STRUCT,),
    "union": (Kind.UNION,),
    "enum": (Kind.ENUM, Kind.ENUM64),
}
MAX_DEPTH = 64  # pointers, arrays and qualifiers that are followed
MAX_BYTES = 256 << 20


class BtfTypes:
    """The types of one BTF file, which is read when the first is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = False
        self._btf: Btf | None = None
        self._types: dict[int, Type] = {}
        self._constants: dict[str, tuple[int, Enum]] | None = None

    @property
    def btf(self) -> Btf | None:
        """What the file holds, None where it cannot be read."""
        if not self._read:
            self._read = True
            try:
                if self.path.stat().st_size <= MAX_BYTES:
                    self._btf = Btf(self.path.read_bytes(), str(self.path))
            except (OSError, ObjectProblem):
                self._btf = None
        return self._btf

    def tagged(self, tag: str, name: str) -> Type | None:
        """A struct, union or enum."""
        return self._find(name, *KINDS[tag])

    def typedef(self, name: str) -> Type | None:
        """What a name of a type stands for."""
        return self._find(name, Kind.TYPEDEF, Kind.INT)

    def _find(self, name: str, *kinds: Kind) -> Type | None:
        if self.btf is None:
            return None
        try:
            found = self.btf.find(name, *kinds)
            return self.of(found.id) if found is not None else None
        except ObjectProblem:
            return None

    def constant(self, name: str) -> tuple[int, Enum] | None:
        """An enumerator."""
        if self._constants is None:
            self._constants = {}
            for found in self.btf.all_types(*KINDS["enum"]) if self.btf is not None else ():
                kind = self.of(found.id)
                if isinstance(kind, Enum):
                    for variant, value in kind.variants:
                        self._constants.setdefault(variant, (value, kind))
        return self._constants.get(name)

    def of(self, number: int, depth: int = 0) -> Type:
        """The type with a number.

        Raises:
            ObjectProblem: the file is damaged.
        """
        found = self._types.get(number)
        if found is None:
            assert self.btf is not None
            entry = self.btf.type(number)
            make = MAKERS.get(entry.kind)
            found = make(self, entry, depth) if make and depth < MAX_DEPTH else VOID
            self._types[number] = found
        return found

    def _same(self, entry: BtfType, depth: int) -> Type:
        return self.of(entry.to, depth + 1)

    def _pointer(self, entry: BtfType, depth: int) -> Type:
        return Pointer(self.of(entry.to, depth + 1))

    def _array(self, entry: BtfType, depth: int) -> Type:
        return Array(self.of(entry.to, depth + 1), entry.elements)

    def _int(self, entry: BtfType, depth: int) -> Type:
        del depth
        if entry.name == "char":
            return INT8
        if entry.encoding & BOOL_ENCODING:
            return BOOL
        if entry.size not in (1, 2, 4, 8):
            return Opaque(entry.size, min(max(1, entry.size), 16), True)
        return Int(entry.size, bool(entry.encoding & SIGNED))

    def _enum(self, entry: BtfType, depth: int) -> Type:
        del depth
        variants = tuple((member.name, member.value) for member in entry.members)
        signed = any(value < 0 for _, value in variants)
        return Enum(entry.size if entry.size in (1, 2, 4, 8) else 4, signed, False, entry.name, variants)

    def _struct(self, entry: BtfType, depth: int) -> Type:
        del depth
        tag = "union" if entry.kind is Kind.UNION else "struct"
        origin = str(self.path) if entry.name else f"{self.path}@{entry.id}"
        return Struct(tag, entry.name, origin, Body(lambda body: self._fill(entry, body)))

    def _declared(self, entry: BtfType, depth: int) -> Type:
        del depth
        return Struct("union" if entry.flag else "struct", entry.name, str(self.path))

    def _fill(self, entry: BtfType, body: Body) -> None:
        fields: list[Field] = []
        align = 1
        for member in entry.members:
            kind = self.of(member.type)
            align = max(align, kind.align)
            if not member.name and isinstance(kind, Struct):
                at = member.offset
                fields += [
                    Field(i.name, i.type, i.offset + at // 8, i.bit + at, i.bits)
                    for i in kind.fields.values()
                ]
            elif member.bits:
                fields.append(Field(member.name, kind, member.offset // 8, member.offset, member.bits))
            else:
                fields.append(Field(member.name, member_type(kind), member.offset // 8))
        packed = any(item.offset % max(1, item.type.align) for item in fields if not item.bits)
        body.define(entry.size, 1 if packed else align, fields)


MAKERS: dict[Kind, Callable[[BtfTypes, BtfType, int], Type]] = {
    **dict.fromkeys(MODIFIERS, BtfTypes._same),
    **dict.fromkeys((Kind.STRUCT, Kind.UNION), BtfTypes._struct),
    **dict.fromkeys((Kind.ENUM, Kind.ENUM64), BtfTypes._enum),
    Kind.FWD: BtfTypes._declared,
    Kind.PTR: BtfTypes._pointer,
    Kind.ARRAY: BtfTypes._array,
    Kind.INT: BtfTypes._int,
    Kind.FLOAT: lambda _types, entry, _depth: Opaque(entry.size, min(max(1, entry.size), 16)),
    Kind.FUNC_PROTO: lambda _types, _entry, _depth: FUNCTION,
}
