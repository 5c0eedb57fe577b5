"""What the checker learns about scratch variables and maps, and the generator uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.lang.source import At
from runtime.lang.types import UNKNOWN, Type


@dataclass(frozen=True, slots=True)
class Place:
    """Memory at a constant distance from a register (10: stack, 7: frame, 8, 9: passing pointers)."""

    base: int
    offset: int

    def __add__(self, distance: int) -> Place:
        return Place(self.base, self.offset + distance)


@dataclass(slots=True, eq=False)
class Variable:
    """One scratch variable of one probe. `fixed`: its type was written in a `let`."""

    name: str
    declared: At
    type: Type = UNKNOWN
    fixed: bool = False
    assigned: bool = False
    place: Place | None = None


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
