"""Bytecode of one program while it is generated: instructions, labels, map references, source lines.

Methods are named after what they emit; registers are numbers (10 is the stack's end). Jumps name labels,
which `finish` turns into distances.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from runtime.errors import Problem, Span
from runtime.lang.variables import Place

ALU = {
    "+": 0x07, "-": 0x17, "*": 0x27, "/": 0x37, "|": 0x47, "&": 0x57, "<<": 0x67, ">>": 0x77,
    "%": 0x97, "^": 0xA7, "=": 0xB7, "s>>": 0xC7,
}  # fmt: skip
JUMPS = {
    "==": 0x15, ">": 0x25, ">=": 0x35, "&": 0x45, "!=": 0x55, "s>": 0x65, "s>=": 0x75,
    "<": 0xA5, "<=": 0xB5, "s<": 0xC5, "s<=": 0xD5,
}  # fmt: skip
SIZE_BITS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
LOAD, LOAD_SIGNED, STORE, STORE_IMMEDIATE, ATOMIC = 0x61, 0x81, 0x63, 0x62, 0xC3
BY_REGISTER = 8  # opcode bit: the operand is a register
CALL, EXIT, JUMP, LOAD_64, NEGATE, SWAP = 0x85, 0x95, 0x05, 0x18, 0x87, 0xD7
MAP, MAP_VALUE = 1, 2  # source register of a 64-bit load
REACH = 32767  # units that a jump may span

_UNIT = struct.Struct("<BBhi")


@dataclass(frozen=True, slots=True)
class Label:
    """A place to jump to; `Code.label` makes one, `Code.at` puts it."""

    number: int


@dataclass(slots=True)
class _Unit:
    opcode: int
    registers: int
    offset: int
    immediate: int
    target: int = -1  # label number


@dataclass(frozen=True, slots=True)
class Bytecode:
    """Finished instructions with what an object's program needs beside them."""

    insns: bytes
    map_refs: dict[int, str]
    lines: dict[int, Span]


def signed32(value: int) -> int:
    """Read the low 32 bits as a signed number."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def signed64(value: int) -> int:
    """Read the low 64 bits as a signed number."""
    return ((value & (1 << 64) - 1) ^ 1 << 63) - (1 << 63)


@dataclass(slots=True)
class Code:
    """Instructions so far."""

    units: list[_Unit] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    map_refs: dict[int, str] = field(default_factory=dict)
    lines: dict[int, Span] = field(default_factory=dict)

    def _put(self, opcode: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> None:
        self.units.append(_Unit(opcode, src << 4 | dst, offset, immediate))

    def line(self, span: Span) -> None:
        """Say which source the next instructions come from."""
        self.lines[len(self.units)] = span

    def set(self, dst: int, value: int) -> None:
        """Load a constant."""
        value = signed64(value)
        if signed32(value) == value:
            self._put(0xB7, dst, 0, 0, value)
        else:
            self._put(LOAD_64, dst, 0, 0, signed32(value))
            self._put(0, 0, 0, 0, signed32(value >> 32))

    def move(self, dst: int, src: int) -> None:
        """Copy a register."""
        if dst != src:
            self._put(0xBF, dst, src)

    def alu(self, op: str, dst: int, src: int) -> None:
        """Combine two registers, 64 bits."""
        self._put(ALU[op] | BY_REGISTER, dst, src)

    def alu_constant(self, op: str, dst: int, value: int) -> None:
        """Combine a register with a constant of 32 bits, sign extended."""
        self._put(ALU[op], dst, 0, 0, value)

    def negate(self, dst: int) -> None:
        """Change the sign."""
        self._put(NEGATE, dst)

    def swap(self, dst: int, bits: int) -> None:
        """Reverse the bytes of the low 16, 32 or 64 bits and clear the rest."""
        self._put(SWAP, dst, 0, 0, bits)

    def load(self, dst: int, place: Place, size: int, signed: bool = False) -> None:
        """Read memory, extended to 64 bits."""
        opcode = (LOAD_SIGNED if signed and size < 8 else LOAD) | SIZE_BITS[size]
        self._put(opcode, dst, place.base, place.offset)

    def store(self, place: Place, src: int, size: int) -> None:
        """Write the low bytes of a register."""
        self._put(STORE | SIZE_BITS[size], place.base, src, place.offset)

    def store_constant(self, place: Place, value: int, size: int) -> None:
        """Write a constant of 32 bits, sign extended."""
        self._put(STORE_IMMEDIATE | SIZE_BITS[size], place.base, 0, place.offset, signed32(value))

    def add_atomic(self, place: Place, src: int) -> None:
        """Add a register to eight bytes of memory."""
        self._put(ATOMIC | SIZE_BITS[8], place.base, src, place.offset, 0)

    def call(self, helper: int) -> None:
        """Call a helper by number; r1 to r5 are lost."""
        self._put(CALL, 0, 0, 0, helper)

    def map(self, dst: int, name: str) -> None:
        """Load a reference to a map."""
        self.map_refs[len(self.units)] = name
        self._put(LOAD_64, dst, MAP)
        self._put(0)

    def map_value(self, dst: int, name: str, offset: int = 0) -> None:
        """Load the address of the only value of an array."""
        self.map_refs[len(self.units)] = name
        self._put(LOAD_64, dst, MAP_VALUE)
        self._put(0, 0, 0, 0, offset)

    def address(self, dst: int, place: Place) -> None:
        """Compute the address of a place."""
        self.move(dst, place.base)
        if place.offset:
            self.alu_constant("+", dst, place.offset)

    def exit(self) -> None:
        """End the program."""
        self._put(EXIT)

    def label(self) -> Label:
        """Make a label."""
        self.labels.append(-1)
        return Label(len(self.labels) - 1)

    def at(self, label: Label) -> None:
        """Put a label here."""
        self.labels[label.number] = len(self.units)

    def jump(self, label: Label) -> None:
        """Go to a label."""
        self._put(JUMP)
        self.units[-1].target = label.number

    def one_unless(self, label: Label) -> None:
        """Have 1 in r0 where code runs to here, 0 where it goes to the label, which is placed here."""
        done = self.label()
        self.set(0, 1)
        self.jump(done)
        self.at(label)
        self.set(0, 0)
        self.at(done)

    def jump_if(self, op: str, dst: int, src: int, label: Label) -> None:
        """Go to a label if two registers compare so."""
        self._put(JUMPS[op] | BY_REGISTER, dst, src)
        self.units[-1].target = label.number

    def jump_if_constant(self, op: str, dst: int, value: int, label: Label) -> None:
        """Go to a label if a register and a constant of 32 bits compare so."""
        self._put(JUMPS[op], dst, 0, 0, value)
        self.units[-1].target = label.number

    def skip_if_not_zero(self, dst: int, units: int) -> None:
        """Jump over the next units, without a label."""
        self._put(JUMPS["!="], dst, 0, units, 0)

    def before(self, prologue: Code) -> None:
        """Put other instructions, which have no labels of their own, in front of these."""
        shift = len(prologue.units)
        self.units[:0] = prologue.units
        self.labels = [at + shift for at in self.labels]
        self.map_refs = {at + shift: name for at, name in self.map_refs.items()}
        self.lines = {at + shift: span for at, span in self.lines.items()}

    def finish(self) -> Bytecode:
        """Resolve the labels.

        Raises:
            Problem: a jump is too far.
        """
        out = bytearray()
        for index, unit in enumerate(self.units):
            if unit.target >= 0:
                unit.offset = self.labels[unit.target] - index - 1
                if abs(unit.offset) > REACH:
                    raise Problem(
                        f"probe is too large: a jump over {abs(unit.offset)} instructions",
                        span=self.lines[min(self.lines)] if self.lines else None,
                    )
            if not -REACH - 1 <= unit.offset <= REACH:
                raise Problem(
                    "probe needs more than 32 KiB for its values",
                    span=self.lines[min(self.lines)] if self.lines else None,
                    hint="lower max_strlen, or take members instead of whole structs",
                )
            out += _UNIT.pack(unit.opcode, unit.registers, unit.offset, unit.immediate)
        return Bytecode(bytes(out), self.map_refs, self.lines)
