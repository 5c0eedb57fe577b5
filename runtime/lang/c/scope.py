"""What names of C mean: tags, typedefs, enumerators, macros, and a place to ask for all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from runtime.lang.c.types import FLOATS, Body, Enum, Opaque, Struct
from runtime.lang.types import NAMED_INTS, Type

FLOATING: dict[str, Type] = {name: Opaque(size, align) for name, size, align in FLOATS}


class TypeSource(Protocol):
    """Where types come from that the script does not define: debug info, BTF."""

    def tagged(self, tag: str, name: str) -> Type | None:
        """A struct, union or enum by its name, None where there is none."""

    def typedef(self, name: str) -> Type | None:
        """What a name of a type stands for."""

    def constant(self, name: str) -> tuple[int, Enum] | None:
        """An enumerator."""


@dataclass(slots=True)
class Scope:
    """All names of a script's C part. `outer` is asked for what is not here, in order."""

    outer: list[TypeSource] = field(default_factory=list)
    tags: dict[tuple[str, str], Struct | Enum] = field(default_factory=dict)
    typedefs: dict[str, tuple[Type, int]] = field(
        default_factory=dict
    )  # with its alignment, 0: the type's own
    constants: dict[str, tuple[int, Enum]] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)  # without parameters
    parametric: frozenset[str] = frozenset()  # macros with parameters

    def struct(self, tag: str, name: str) -> Struct:
        """The struct of a name, declared here if it is new: whoever defines it fills it in."""
        found = self.tags.get((tag, name))
        if not isinstance(found, Struct):
            found = Struct(tag, name, "", Body(lambda body: self._borrow(tag, name, body)))
            self.tags[tag, name] = found
        return found

    def _borrow(self, tag: str, name: str, body: Body) -> None:
        for source in self.outer:
            found = source.tagged(tag, name)
            if isinstance(found, Struct) and found.is_defined:
                body.define(found.size, found.align, list(found.fields.values()))
                return

    def tagged(self, tag: str, name: str, sources: list[TypeSource] | None = None) -> Type | None:
        """A struct, union or enum: ours, else of the sources."""
        mine = self.tags.get((tag, name))
        if isinstance(mine, Enum) or (isinstance(mine, Struct) and mine.is_defined):
            return mine
        for source in self.outer if sources is None else sources:
            if (found := source.tagged(tag, name)) is not None:
                return found
        return None

    def named(self, name: str, sources: list[TypeSource] | None = None) -> Type | None:
        """What a name of a type without tag means."""
        if name in self.typedefs:
            return self.typedefs[name][0]
        if name in NAMED_INTS:
            return NAMED_INTS[name]
        if name in FLOATING:
            return FLOATING[name]
        for source in self.outer if sources is None else sources:
            if (found := source.typedef(name)) is not None:
                return found
        return None

    def constant(self, name: str, sources: list[TypeSource] | None = None) -> tuple[int, Enum] | None:
        """An enumerator's value and type."""
        if name in self.constants:
            return self.constants[name]
        for source in self.outer if sources is None else sources:
            if (found := source.constant(name)) is not None:
                return found
        return None
