"""The arguments of a marker as words of a thunk, each computed just before the program that reads it runs.

It happens in the middle of a function: rax, r11 and the flags are saved by then, all else is live. Memory
that may be missing is read by the agent's guarded loads; where nothing is mapped the argument is 0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from attachers.patch.assemble import NUMBERS, Code
from runtime.errors import AttachProblem
from runtime.symbols.modules import Module
from runtime.symbols.notes import Marker
from runtime.symbols.operands import MOST, Operand, operands_of

_R11 = NUMBERS["r11"]
# (bytes, signed) to opcode and whether the operation is 64 bits wide; a 32-bit one clears the upper half.
_LOADS = {
    (8, False): (b"\x8b", True),
    (8, True): (b"\x8b", True),
    (4, False): (b"\x8b", False),
    (4, True): (b"\x63", True),
    (2, False): (b"\x0f\xb7", True),
    (2, True): (b"\x0f\xbf", True),
    (1, False): (b"\x0f\xb6", True),
    (1, True): (b"\x0f\xbe", True),
}
_LEA = b"\x8d"


def reads_memory(words: tuple[str, ...], marker: Marker | None) -> bool:
    """Return whether a program's words need a guarded load."""
    if marker is None:
        return False
    operands = operands_of(marker.arguments)
    wanted = (int(w[6:]) for w in words if w.startswith("marker"))
    return any(n < len(operands) and operands[n].kind == "memory" for n in wanted)


class _At(NamedTuple):
    """A place in memory: base + other * scale + offset, registers by number."""

    base: int | None
    other: int | None
    scale: int
    offset: int


@dataclass(frozen=True, slots=True)
class MarkerWords:
    """One marker in a process. `loader` gives the address of the agent's guarded load of so many bytes."""

    marker: Marker
    module: Module
    loader: Callable[[int], int]

    def push(self, code: Code, name: str, saved: dict[str, int], above: int) -> None:
        """Append the push of one argument.

        `name`: `markerN`. `saved`: how far above rsp the registers lie that have changed since the marker.
        `above`: how far rsp was above what it is now.

        Raises:
            AttachProblem: the marker has no such argument (22), or it cannot be read (95).
        """
        operand = self._operand(int(name.removeprefix("marker")))
        if operand.kind == "constant":
            code.push_constant(_extended(operand))
        elif operand.kind == "register":
            _push_register(code, operand, saved, above)
        else:
            self._push_memory(code, operand, saved, above)

    def _operand(self, number: int) -> Operand:
        operands = operands_of(self.marker.arguments)[:MOST]
        if number >= len(operands):
            count = f"{len(operands)} argument{'' if len(operands) == 1 else 's'}"
            raise AttachProblem(
                f"{self.marker.full_name} has {count}: there is no arg{number}",
                errno=22,
                hint=f"they are: {self.marker.arguments}" if operands else "",
            )
        if operands[number].kind == "refused":
            raise AttachProblem(
                f"arg{number} of {self.marker.full_name} cannot be read: {operands[number].symbol}",
                errno=95,
                hint=f"it is '{operands[number].text}'; the other arguments can be used",
            )
        return operands[number]

    def _push_memory(self, code: Code, operand: Operand, saved: dict[str, int], above: int) -> None:
        """Read straight what cannot be missing: the function's own frame, the module's own data."""
        if operand.base == "rsp" and not operand.index:
            _load(code, operand, NUMBERS["rsp"], above + operand.number)
        elif operand.symbol or operand.base in ("", "rip"):
            address = self._absolute(operand)
            if operand.index:
                _absolute_indexed(code, address, operand, saved)
                self._guarded(code, operand)
                return
            code.raw(b"\x49\xbb" + struct.pack("<Q", address & (1 << 64) - 1))
            if not self._owns(address, operand.size):
                self._guarded(code, operand)
                return
            _load(code, operand, _R11, 0)
        else:
            _address(code, operand, saved, above)
            self._guarded(code, operand)
            return
        code.push("r11")

    def _absolute(self, operand: Operand) -> int:
        """Return the address of a place that is named by a symbol, or by its distance from the marker."""
        elf, bias = self.module.elf, self.module.bias
        if not operand.symbol:
            return (self.marker.address + bias if operand.base == "rip" else 0) + operand.number
        if operand.base not in ("", "rip"):
            raise AttachProblem(f"'{operand.text}' is an array's element by a symbol", errno=95)
        value = elf.value_of(operand.symbol)
        if value < 0:
            raise AttachProblem(
                f"'{operand.text}' of {self.marker.full_name} cannot be read: {elf.path} has no symbol"
                f" '{operand.symbol}'",
                errno=95,
                hint="it was stripped; the other arguments can be used",
            )
        return value + bias + operand.number

    def _owns(self, address: int, size: int) -> bool:
        at = address - self.module.bias
        return any(
            s.address <= at and at + size <= s.address + s.memory_bytes for s in self.module.elf.segments
        )

    def _guarded(self, code: Code, operand: Operand) -> None:
        """Append the agent's load from the address in r11, and the push of what it gives."""
        code.push("rdi")
        code.raw(b"\x4c\x89\xdf")  # mov rdi, r11
        code.far_call(self.loader(operand.size))
        code.pop("rdi")
        if operand.size < 8 and operand.signed:
            _extend(code, operand, NUMBERS["rax"], NUMBERS["rax"])
        code.push("rax")


def _extended(operand: Operand) -> int:
    """Return a constant as the 64-bit word that a value of its size becomes."""
    bits = 8 * operand.size
    value = operand.number & (1 << bits) - 1
    if operand.signed and value >> bits - 1:
        value -= 1 << bits
    return value & (1 << 64) - 1


def _push_register(code: Code, operand: Operand, saved: dict[str, int], above: int) -> None:
    if operand.base in saved:
        _load(code, operand, NUMBERS["rsp"], saved[operand.base] + operand.number)
    elif operand.base == "rsp":
        code.raw(_memory(_LEA, _R11, _At(NUMBERS["rsp"], None, 1, above)))
        _extend(code, operand, _R11, _R11)
    elif operand.number:  # the second byte: flags are saved, so shifting is free
        code.raw(_registers(b"\x8b", _R11, NUMBERS[operand.base], wide=True))
        code.raw(b"\x49\xc1\xeb\x08")  # shr r11, 8
        _extend(code, operand, _R11, _R11)
    elif operand.size == 8:
        code.push(operand.base)
        return
    else:
        _extend(code, operand, _R11, NUMBERS[operand.base])
    code.push("r11")


def _address(code: Code, operand: Operand, saved: dict[str, int], above: int) -> None:
    """Append what puts base + index * scale + number into r11."""
    base, index = operand.base, operand.index
    shift = above if base == "rsp" else 0
    if index in saved and base in saved:
        code.load_stack("r11", saved[index])
        code.raw(_memory(_LEA, _R11, _At(None, _R11, operand.scale, operand.number)))
        code.raw(_memory(b"\x03", _R11, _At(NUMBERS["rsp"], None, 1, saved[base])))  # add r11, [rsp + …]
    elif index in saved:
        code.load_stack("r11", saved[index])
        code.raw(_memory(_LEA, _R11, _At(NUMBERS[base], _R11, operand.scale, operand.number + shift)))
    else:
        first = NUMBERS[base]
        if base in saved:
            code.load_stack("r11", saved[base])
            first = _R11
        second = NUMBERS[index] if index else None
        code.raw(_memory(_LEA, _R11, _At(first, second, operand.scale, operand.number + shift)))


def _absolute_indexed(code: Code, address: int, operand: Operand, saved: dict[str, int]) -> None:
    """Append what puts index * scale + a constant into r11."""
    index = NUMBERS[operand.index]
    if operand.index in saved:
        code.load_stack("r11", saved[operand.index])
        index = _R11
    code.raw(_memory(_LEA, _R11, _At(None, index, operand.scale, address)))


def _load(code: Code, operand: Operand, base: int, offset: int) -> None:
    opcode, wide = _LOADS[operand.size, operand.signed]
    code.raw(_memory(opcode, _R11, _At(base, None, 1, offset), wide=wide))


def _extend(code: Code, operand: Operand, to: int, source: int) -> None:
    opcode, wide = _LOADS[operand.size, operand.signed]
    code.raw(_registers(opcode, to, source, wide=wide))


def _registers(opcode: bytes, to: int, source: int, *, wide: bool) -> bytes:
    rex = 0x40 | wide << 3 | (to > 7) << 2 | (source > 7)
    return bytes([rex]) + opcode + bytes([0xC0 | (to & 7) << 3 | source & 7])


def _memory(opcode: bytes, to: int, place: _At, *, wide: bool = True) -> bytes:
    """Return an instruction with a register and a memory operand (SDM vol. 2, 2.1.5)."""
    base, index, scale, offset = place
    if not -(1 << 31) <= offset < 1 << 31:
        raise AttachProblem(f"an argument lies {offset} bytes from its register", errno=95)
    rex = 0x40 | wide << 3 | (to > 7) << 2 | ((index or 0) > 7) << 1 | ((base or 0) > 7)
    mode = 0x04 if base is None else 0x84
    sib = (scale.bit_length() - 1) << 6 | (4 if index is None else index & 7) << 3
    sib |= 5 if base is None else base & 7
    return bytes([rex]) + opcode + bytes([mode | (to & 7) << 3, sib]) + struct.pack("<i", offset)
