"""Types that only C has: structs, unions and enumerations.

A struct is known by its tag, name and where it was found; its body is filled in when it is first asked for,
so that types may refer to themselves and debug info is read only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.lang.types import INT8, JOINS, NONE, Array, Int, String, Type, join


@dataclass(frozen=True, slots=True)
class Field:
    """One named member, also one of an anonymous struct inside.

    `offset`: bytes from the start of the outer struct. Of a bit-field `bits` is the width and `bit` the
    distance in bits from the start of the outer struct; `bits` is 0 for all others.
    """

    name: str
    type: Type
    offset: int
    bit: int = 0
    bits: int = 0


class Body:
    """What is inside of a struct. Without `fields` it is only declared, and can only be pointed to."""

    def __init__(self, fill: Callable[[Body], None] | None = None) -> None:
        self._fill = fill
        self.size = 0
        self.align = 1
        self.fields: dict[str, Field] | None = None

    def known(self) -> Body:
        """Fill the body in if that was left for later."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def define(self, size: int, align: int, fields: list[Field]) -> None:
        """Say what the struct is; unnamed bit-fields are left out."""
        self.size, self.align = size, align
        self.fields = {item.name: item for item in fields if item.name}


@dataclass(frozen=True, slots=True)
class Struct(Type):
    """A struct or union (`tag`). `origin`: the file whose debug info defines it, empty for the script's."""

    tag: str
    name: str
    origin: str = ""
    body: Body = field(default_factory=Body, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes, 0 where only declared."""
        return self.body.known().size

    @property
    def align(self) -> int:
        """Alignment in bytes."""
        return self.body.known().align

    @property
    def is_defined(self) -> bool:
        """Whether its members are known."""
        return self.body.known().fields is not None

    @property
    def fields(self) -> Mapping[str, Field]:
        """Members by name, in order."""
        return self.body.known().fields or {}

    def __str__(self) -> str:
        return f"{self.tag} {self.name or '(anonymous)'}"


@dataclass(frozen=True, slots=True)
class Enum(Int):
    """An enumeration: an integer whose values have names. Arithmetic drops the names."""

    name: str = ""
    variants: tuple[tuple[str, int], ...] = field(default=(), compare=False, repr=False)

    @property
    def plain(self) -> Type:
        """The integer alone."""
        return Int(self.bytes, self.signed)

    def resized(self, size: int) -> Enum:
        """The same names for values of another size in bytes."""
        return Enum(size, self.signed, False, self.name, self.variants)

    def named(self, value: int) -> str:
        """Name of a value, empty where it has none."""
        return next((name for name, number in self.variants if number == value), "")

    def __str__(self) -> str:
        return f"enum {self.name}".rstrip()


def _join_enums(a: Enum, b: Enum) -> Type | None:
    if a.name == b.name and a.variants == b.variants:
        return a if a.bytes >= b.bytes else b
    return join(a.plain, b.plain)


JOINS[Enum] = _join_enums


@dataclass(frozen=True, slots=True)
class FunctionType(Type):
    """What a function pointer points to; it has no value."""

    def __str__(self) -> str:
        return "void ()"


def member_type(kind: Type) -> Type:
    """The type that a member has in the language: arrays of plain characters are strings."""
    if isinstance(kind, Array) and kind.element == INT8 and kind.count > 0:
        return String(kind.count)
    if isinstance(kind, Array):
        return Array(member_type(kind.element), kind.count)
    return kind


FUNCTION = FunctionType()
FLOATS = (("float", 4, 4), ("double", 8, 8), ("long double", 16, 16), ("__float128", 16, 16))


@dataclass(frozen=True, slots=True)
class Opaque(Type):
    """Memory of a known size that has no value in the language: floating point, vectors. Prints as null.

    `integer`: it is a wide integer.
    """

    bytes: int
    alignment: int
    integer: bool = False

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.bytes

    @property
    def align(self) -> int:
        """Alignment in memory."""
        return self.alignment

    def __str__(self) -> str:
        return str(NONE)
