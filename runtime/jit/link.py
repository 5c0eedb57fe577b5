"""Bind an image to one process: fill in addresses, relax loads of near ones, add literals and stubs.

The length does not depend on the addresses, so a place can be taken before they are known. Addresses are
absolute in the target, sizes in bytes. Source: System V ABI, AMD64 supplement, B.2 (GOTPCRELX).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from runtime.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.jit.image import Image, Relocation

STUB = 16  # jmp [rip+2], ud2, u64 address
LITERAL = 8
MOV_LOAD, LEA = 0x8B, 0x8D


def _names(image: Image, kind: str) -> dict[str, int]:
    """Number the distinct symbols of one kind, in order of use."""
    names: dict[str, int] = {}
    for relocation in image.relocations:
        if relocation.kind == kind:
            names.setdefault(relocation.symbol, len(names))
    return names


def link_size(image: Image) -> int:
    """Give the bytes that `link` returns for this image, whatever the addresses."""
    body = len(image.code) + -len(image.code) % 8
    return body + STUB * len(_names(image, "plt")) + LITERAL * len(_names(image, "got"))


def is_near(value: int) -> bool:
    """Tell whether a displacement fits into the 32 bits of an instruction."""
    return -(1 << 31) <= value < 1 << 31


def link(image: Image, base: int, resolve: Callable[[str], int]) -> bytes:
    """Give the bytes of the image for address `base`.

    `resolve` gives the address (or constant) of a symbol listed in `runtime.jit.image.Image`; symbols
    `self:OFFSET` are answered here.

    Raises:
        Bug: a value does not fit into its field.
    """
    return _Link(image, base, resolve).run()


class _Link:
    def __init__(self, image: Image, base: int, resolve: Callable[[str], int]) -> None:
        self.image, self.base, self.resolve = image, base, resolve
        self.out = bytearray(image.code)
        self.out += b"\xcc" * (-len(self.out) % 8)
        self.stubs = {name: len(self.out) + STUB * i for name, i in _names(image, "plt").items()}
        self.out += bytes(STUB * len(self.stubs))
        self.literals = {name: len(self.out) + LITERAL * i for name, i in _names(image, "got").items()}
        self.out += bytes(LITERAL * len(self.literals))
        self.values: dict[str, int] = {}

    def run(self) -> bytes:
        for name, at in self.stubs.items():
            struct.pack_into("<HIHQ", self.out, at, 0x25FF, 2, 0x0B0F, self.value(name))
        for name, at in self.literals.items():
            struct.pack_into("<Q", self.out, at, self.value(name) & (1 << 64) - 1)
        for relocation in self.image.relocations:
            FILLERS[relocation.kind](self, relocation)
        return bytes(self.out)

    def value(self, symbol: str) -> int:
        if symbol not in self.values:
            own = symbol.startswith("self:")
            self.values[symbol] = self.base + int(symbol[5:]) if own else self.resolve(symbol)
        return self.values[symbol]

    def store32(self, relocation: Relocation, value: int) -> None:
        if not is_near(value):
            raise Bug(f"{self.image.name}: {relocation.symbol} is out of reach at {relocation.offset:#x}")
        struct.pack_into("<i", self.out, relocation.offset, value)

    def got(self, relocation: Relocation) -> None:
        at, name = relocation.offset, relocation.symbol
        distance = self.value(name) + relocation.addend - (self.base + at)
        if self.out[at - 2] == MOV_LOAD and is_near(distance):
            self.out[at - 2] = LEA
            self.store32(relocation, distance)
            return
        self.store32(relocation, self.literals[name] + relocation.addend - at)

    def plt(self, relocation: Relocation) -> None:
        at = relocation.offset
        distance = self.value(relocation.symbol) + relocation.addend - (self.base + at)
        if not is_near(distance):
            distance = self.stubs[relocation.symbol] + relocation.addend - at
        self.store32(relocation, distance)

    def pc32(self, relocation: Relocation) -> None:
        target = self.value(relocation.symbol) + relocation.addend
        self.store32(relocation, target - (self.base + relocation.offset))

    def abs32(self, relocation: Relocation) -> None:
        self.store32(relocation, self.value(relocation.symbol) + relocation.addend)

    def abs64(self, relocation: Relocation) -> None:
        value = self.value(relocation.symbol)
        # The symbol of own code already includes the place in the block; the addend belongs to it.
        struct.pack_into("<Q", self.out, relocation.offset, value + relocation.addend & (1 << 64) - 1)


FILLERS = {"got": _Link.got, "plt": _Link.plt, "pc32": _Link.pc32, "abs32": _Link.abs32, "abs64": _Link.abs64}
