"""Where the members of a struct or union lie, by the System V ABI for x86-64 as gcc and clang apply it.

A bit-field goes behind the last one unless it would cross a unit of its declared type; then it begins at the
next such unit. Unnamed bit-fields take room but do not align the struct. `packed` drops both rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.lang.c.types import Field, Struct, member_type
from runtime.lang.types import Type


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `__attribute__` says about a type or member; `aligned` in bytes, 0 for nothing."""

    packed: bool = False
    aligned: int = 0

    def __or__(self, other: Attributes) -> Attributes:
        return Attributes(self.packed or other.packed, max(self.aligned, other.aligned))


@dataclass(slots=True)
class Layout:
    """A struct while its members are placed. `pack`: bytes of `#pragma pack`, 0 for none."""

    is_union: bool
    packed: bool = False
    pack: int = 0
    align: int = 1
    bits: int = 0  # used so far; of a union the longest member
    fields: list[Field] = field(default_factory=list)

    def member(self, name: str, kind: Type, attributes: Attributes, align: int = 0) -> None:
        """Place an ordinary member; an anonymous struct's members become ours. `align`: of a typedef."""
        natural = align or kind.align
        if self.packed or attributes.packed:
            natural = 1
        if self.pack:
            natural = min(natural, self.pack)
        natural = max(natural, attributes.aligned)
        self.align = max(self.align, natural)
        start = 0 if self.is_union else _up(self.bits, 8 * natural)
        at = start // 8
        if name:
            self.fields.append(Field(name, member_type(kind), at))
        elif isinstance(kind, Struct):
            for inner in kind.fields.values():
                self.fields.append(
                    Field(inner.name, inner.type, inner.offset + at, inner.bit + start, inner.bits)
                )
        self._reach(start + 8 * kind.size)

    def bit_field(self, name: str, kind: Type, width: int, attributes: Attributes, align: int = 0) -> None:
        """Place a bit-field; width 0 closes the unit."""
        unit = 8 * kind.size
        natural = 8 * (align or kind.align)
        if self.pack:
            natural = min(natural, 8 * self.pack)
        packed = self.packed or attributes.packed
        at = 0 if self.is_union else self.bits
        if width == 0:
            self._reach(_up(at, max(natural, 8 * attributes.aligned)))
            return
        if attributes.aligned:
            at = _up(at, 8 * attributes.aligned)
        if not packed and not self.pack and at // unit != (at + width - 1) // unit:
            at = _up(at, natural)
        if name:
            own = 8 if packed else natural
            self.align = max(self.align, own // 8, attributes.aligned)
            self.fields.append(Field(name, kind, at // 8, at, width))
        self._reach(at + width)

    def _reach(self, end: int) -> None:
        self.bits = max(self.bits, end)

    def finish(self, attributes: Attributes) -> tuple[int, int]:
        """Size and alignment in bytes of the whole."""
        self.align = max(self.align, attributes.aligned)
        return _up(_up(self.bits, 8) // 8, self.align), self.align


def _up(value: int, step: int) -> int:
    return (value + step - 1) // step * step
