"""Programs out of sections: functions cut at their symbols, relocations done, subprograms appended.

A program is its function, then every subprogram that it calls, directly or not, once each. Calls and function
addresses are made relative to the new places; maps and data stay symbolic (`Program.map_refs`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from runtime.ebpf.insn import (
    CALL_LOCAL,
    MAX_UNITS,
    OP_CALL,
    OP_LD_IMM64,
    SRC_FUNCTION,
    SRC_MAP,
    SRC_MAP_VALUE,
    UNIT,
)
from runtime.elf.externs import Externs
from runtime.elf.sections import STB_LOCAL, STT_FUNC, Elf, Relocation, Section, Symbol
from runtime.errors import ObjectProblem
from runtime.maps.spec import MapSpec

R_64_64, R_64_ABS64, R_64_ABS32, R_64_NODYLD32, R_64_32 = 1, 2, 3, 4, 10
MAX_LINKED = 8 * MAX_UNITS  # instructions of all programs of one object together
_LIBRARY = frozenset(
    ("memcpy", "memset", "memmove", "memcmp", "bcmp", "strlen", "strcmp", "strcpy", "strncmp")
)
_INSN = struct.Struct("<BBhi")


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a code section; `offset` and `size` in bytes."""

    name: str
    section: Section
    offset: int
    size: int
    is_global: bool


@dataclass(slots=True)
class Linked:
    """A program put together. `places`: first instruction, function, in order."""

    code: bytearray = field(default_factory=bytearray)
    map_refs: dict[int, str] = field(default_factory=dict)
    places: list[tuple[int, Function]] = field(default_factory=list)


class Linker:
    """Puts programs of one file together. `code`: section index → instructions after CO-RE relocation."""

    def __init__(self, elf: Elf, code: dict[int, bytes], externs: Externs) -> None:
        self.elf = elf
        self.code = code
        self.externs = externs
        self.functions = {
            section.index: _functions(elf, section) for section in elf.sections if section.is_code
        }
        self.at = {
            (index, function.offset): function
            for index, found in self.functions.items()
            for function in found
        }
        self.relocations = {
            index: {relocation.offset: relocation for relocation in elf.relocations.get(index, ())}
            for index in self.functions
        }
        self.maps: dict[tuple[int, int], MapSpec] = {}
        self.data: dict[int, MapSpec] = {}
        self.linked = 0

    def check(self) -> None:
        """Refuse relocations that do not lie on an instruction of their kind."""
        for index, found in self.relocations.items():
            section = self.elf.sections[index]
            for offset, relocation in found.items():
                if relocation.type in (R_64_ABS64, R_64_ABS32, R_64_NODYLD32):
                    raise self.problem(f"relocation type {relocation.type} in code", section, offset)
                if offset % UNIT or offset + UNIT > len(section.data):
                    raise self.problem("relocation outside of an instruction", section, offset)
                op = section.data[offset]
                wanted = {R_64_64: OP_LD_IMM64, R_64_32: OP_CALL}.get(relocation.type)
                if wanted is None or op != wanted:
                    raise self.problem(
                        f"relocation type {relocation.type} on opcode {op:#04x}", section, offset
                    )

    def problem(self, text: str, section: Section, offset: int, hint: str = "") -> ObjectProblem:
        """An error at a place of a section."""
        return ObjectProblem(text, file=self.elf.file, section=section.name, offset=offset, hint=hint)

    def link(self, entry: Function) -> Linked:
        """Put one program together.

        Raises:
            ObjectProblem: a relocation or call that makes no sense, or too many instructions.
        """
        out = Linked()
        placed: dict[tuple[int, int], int] = {}
        wanted: list[tuple[int, Function]] = []  # instruction that needs the address, function
        self._place(out, entry, placed, wanted)
        while wanted:
            at, function = wanted.pop()
            key = (function.section.index, function.offset)
            if key not in placed:
                self._place(out, function, placed, wanted)
            struct.pack_into("<i", out.code, at * UNIT + 4, placed[key] - at - 1)
        return out

    def _place(
        self,
        out: Linked,
        function: Function,
        placed: dict[tuple[int, int], int],
        wanted: list[tuple[int, Function]],
    ) -> None:
        start = len(out.code) // UNIT
        placed[function.section.index, function.offset] = start
        out.places.append((start, function))
        self.linked += function.size // UNIT
        if start + function.size // UNIT > MAX_UNITS or self.linked > MAX_LINKED:
            raise self.problem(
                f"program has more than {MAX_UNITS} instructions", function.section, function.offset
            )
        code = self.code[function.section.index]
        out.code += code[function.offset : function.offset + function.size]
        relocations = self.relocations[function.section.index]
        pc = start
        while pc < len(out.code) // UNIT:
            op, regs, _, imm = _INSN.unpack_from(out.code, pc * UNIT)
            offset = function.offset + (pc - start) * UNIT
            relocation = relocations.get(offset)
            if op == OP_CALL and relocation is not None:
                self._call(out, pc, (function, offset, imm), relocation, wanted)
            elif op == OP_CALL and regs >> 4 == CALL_LOCAL:
                target = self._function(function.section, offset, offset + (imm + 1) * UNIT)
                wanted.append((pc, target))
            elif op == OP_LD_IMM64:
                if (pc + 1) * UNIT >= len(out.code):
                    raise self.problem("ld_imm64 lacks its second half", function.section, offset)
                if relocation is not None:
                    self._wide(out, pc, (function, offset, imm), relocation, wanted)
                pc += 1
            pc += 1

    def _function(self, section: Section, at: int, target: int) -> Function:
        found = self.at.get((section.index, target))
        if found is None:
            raise self.problem(f"call to {section.name}+{target:#x}, where no function starts", section, at)
        return found

    def _call(
        self,
        out: Linked,
        pc: int,
        where: tuple[Function, int, int],
        relocation: Relocation,
        wanted: list[tuple[int, Function]],
    ) -> None:
        function, offset, imm = where
        symbol = self.elf.symbol(relocation.symbol, function.section)
        if symbol.section == 0:
            self._undefined_call(out, pc, symbol, function.section, offset)
            return
        if out.code[pc * UNIT + 1] >> 4 != CALL_LOCAL:
            raise self.problem("relocation on a helper call", function.section, offset)
        target = self._code_section(symbol, function.section, offset)
        wanted.append((pc, self._function(target, offset, symbol.value + (imm + 1) * UNIT)))

    def _code_section(self, symbol: Symbol, section: Section, offset: int) -> Section:
        if symbol.section not in self.functions:
            raise self.problem(f"'{symbol.name}' is not a function", section, offset)
        return self.elf.sections[symbol.section]

    def _undefined_call(self, out: Linked, pc: int, symbol: Symbol, section: Section, offset: int) -> None:
        if symbol.name in _LIBRARY:
            raise self.problem(
                f"clang emitted a library call to {symbol.name}",
                section,
                offset,
                f"use __builtin_{symbol.name} with a constant size up to 1024, or a loop",
            )
        if not self.externs.is_kernel_function(symbol):
            raise self.problem(f"undefined function '{symbol.name}'", section, offset)
        _INSN.pack_into(
            out.code, pc * UNIT, OP_CALL, 2 << 4, 0, symbol.index
        )  # verification says no where reached

    def _wide(
        self,
        out: Linked,
        pc: int,
        where: tuple[Function, int, int],
        relocation: Relocation,
        wanted: list[tuple[int, Function]],
    ) -> None:
        function, offset, imm = where
        symbol = self.elf.symbol(relocation.symbol, function.section)
        if symbol.section == 0:
            self._extern(out, pc, symbol)
        elif symbol.section in self.functions:
            target = self._function(self.elf.sections[symbol.section], offset, symbol.value + imm)
            _reference(out, pc, SRC_FUNCTION, 0)
            wanted.append((pc, target))
        elif symbol.section in self.data:
            value = symbol.value + imm
            spec = self.data[symbol.section]
            if not 0 <= value < spec.value_size:
                raise self.problem(f"offset {value} is outside of {spec.name}", function.section, offset)
            _reference(out, pc, SRC_MAP_VALUE, value)
            out.map_refs[pc] = spec.name
        elif (symbol.section, symbol.value + imm) in self.maps:
            _reference(out, pc, SRC_MAP, 0)
            out.map_refs[pc] = self.maps[symbol.section, symbol.value + imm].name
        else:
            raise self.problem(f"'{symbol.name}' is neither map, data nor function", function.section, offset)

    def _extern(self, out: Linked, pc: int, symbol: Symbol) -> None:
        place = self.externs.place(symbol)
        if place is None:
            _INSN.pack_into(out.code, pc * UNIT, OP_LD_IMM64, out.code[pc * UNIT + 1] & 15, 0, 0)
            _INSN.pack_into(out.code, (pc + 1) * UNIT, 0, 0, 0, 0)
            return
        _reference(out, pc, SRC_MAP_VALUE, place[1])
        out.map_refs[pc] = place[0]


def _reference(out: Linked, pc: int, source: int, value: int) -> None:
    """Make an `ld_imm64` refer to a map, a value in one, or a function."""
    destination = out.code[pc * UNIT + 1] & 15
    _INSN.pack_into(out.code, pc * UNIT, OP_LD_IMM64, destination | source << 4, 0, 0)
    _INSN.pack_into(out.code, (pc + 1) * UNIT, 0, 0, 0, value)


def _functions(elf: Elf, section: Section) -> list[Function]:
    """The functions of a code section, which must cover it without gaps."""
    found = [s for s in elf.symbols if s.section == section.index and s.type == STT_FUNC]
    found.sort(key=lambda symbol: symbol.value)
    out: list[Function] = []
    end = 0
    for symbol in found:
        if out and symbol.value == out[-1].offset:
            continue  # an alias
        if symbol.value != end or symbol.size == 0 or symbol.size % UNIT:
            raise ObjectProblem(
                f"function '{symbol.name}' does not start where the one before it ends, or has a broken size",
                file=elf.file,
                section=section.name,
                offset=symbol.value,
            )
        end = symbol.value + symbol.size
        out.append(Function(symbol.name, section, symbol.value, symbol.size, symbol.binding != STB_LOCAL))
    if end != len(section.data):
        raise ObjectProblem(
            "has code that belongs to no function", file=elf.file, section=section.name, offset=end
        )
    return out
