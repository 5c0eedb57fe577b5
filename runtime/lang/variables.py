"""What the checker learns about scratch variables and maps, and the generator uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.lang.c.types import Struct
from runtime.lang.source import At
from runtime.lang.types import UNKNOWN, Array, Pointer, Type


@dataclass(frozen=True, slots=True)
class Place:
    """Memory at a constant distance from a register (10: stack, 7: frame, 8, 9: passing pointers)."""

    base: int
    offset: int

    def __add__(self, distance: int) -> Place:
        return Place(self.base, self.offset + distance)


@dataclass(slots=True, eq=False)
class Variable:
    """One scratch variable of one probe. `fixed`: its type was written in a `let`.

    A struct or array is kept as a pointer to where it lies, unless it was made here (`copied`). `context`: it
    is the pointer to the program's context. `wide`: it was given a number that may need more than 32 bits.
    """

    name: str
    declared: At
    type: Type = UNKNOWN
    fixed: bool = False
    assigned: bool = False
    copied: bool = False
    context: bool = False
    wide: bool = False
    place: Place | None = None

    @property
    def held(self) -> Type:
        """The type of what is kept in the variable's place."""
        by_pointer = isinstance(self.type, Struct | Array) and not self.copied
        return Pointer(self.type) if by_pointer else self.type


@dataclass(slots=True, eq=False)
class MapFacts:
    """One map of the script: the least upper bound of all its uses.

    `scalar`: used without a key (None: not known yet). `kind` and `entries` come from a declaration.
    """

    name: str
    first: At
    scalar: bool | None = None
    key: Type = UNKNOWN
    value: Type = UNKNOWN
    kind: str = ""
    entries: int = 0
    declared: At | None = None
    used: bool = field(default=False)
