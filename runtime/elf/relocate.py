"""CO-RE relocations written into instructions; what does not exist becomes a call that is refused later."""

from __future__ import annotations

import struct

from runtime.btf.core import Answer, Question, answer
from runtime.btf.types import Btf
from runtime.ebpf.insn import ALU32, ALU64, LDX, MASK32, OP_CALL, OP_LD_IMM64, SIZE_BITS, SIZES, ST, STX, UNIT
from runtime.elf.lines import CoreRelocation
from runtime.elf.sections import Section
from runtime.errors import ObjectProblem
from runtime.helpers.table import POISON

_INSN = struct.Struct("<BBhi")


def relocate(
    file: str, section: Section, relocations: list[CoreRelocation], btf: Btf, others: tuple[Btf, ...]
) -> tuple[bytes, list[str]]:
    """Apply all CO-RE relocations of a code section; also gives a note for each that has no target.

    Raises:
        ObjectProblem: a relocation that does not fit its instruction.
    """
    code = bytearray(section.data)
    notes: list[str] = []
    for relocation in relocations:
        at = relocation.offset
        if at % UNIT or at + UNIT > len(code):
            raise ObjectProblem(
                "CO-RE relocation outside of an instruction", file=file, section=section.name, offset=at
            )
        if relocation.kind > Question.TYPE_MATCHES:
            raise ObjectProblem(f"CO-RE kind {relocation.kind}", file=file, section=section.name, offset=at)
        found = answer(Question(relocation.kind), btf, relocation.type, relocation.access, others)
        if found.value is None:
            _poison(code, at)
            notes.append(f"'{found.what}' does not exist in the target")
        elif not _patch(code, at, found):
            raise ObjectProblem(
                f"CO-RE relocation of '{found.what}' does not fit its instruction",
                file=file,
                section=section.name,
                offset=at,
            )
    return bytes(code), notes


def _poison(code: bytearray, at: int) -> None:
    wide = code[at] == OP_LD_IMM64
    _INSN.pack_into(code, at, OP_CALL, 0, 0, POISON)
    if wide and at + 2 * UNIT <= len(code):
        _INSN.pack_into(code, at + UNIT, OP_CALL, 0, 0, POISON)


def _patch(code: bytearray, at: int, found: Answer) -> bool:
    """Write the value; False when the instruction does not hold the local one or cannot hold the new one."""
    assert found.value is not None
    op, regs, off, imm = _INSN.unpack_from(code, at)
    kind = op & 7
    if kind in (ALU32, ALU64) and not op & 8:
        if imm & MASK32 != found.local & MASK32 or not -(1 << 31) <= found.value < 1 << 32:
            return False
        _INSN.pack_into(code, at, op, regs, off, _signed32(found.value))
        return True
    if kind in (LDX, ST, STX):
        return _patch_access(code, at, found)
    if op == OP_LD_IMM64 and at + 2 * UNIT <= len(code):
        value = found.value & (1 << 64) - 1
        _INSN.pack_into(code, at, op, regs, off, _signed32(value & MASK32))
        _INSN.pack_into(code, at + UNIT, 0, 0, 0, _signed32(value >> 32))
        return True
    return False


def _patch_access(code: bytearray, at: int, found: Answer) -> bool:
    op, regs, off, imm = _INSN.unpack_from(code, at)
    if off != found.local or found.value is None or not 0 <= found.value < 1 << 15:
        return False
    if found.size and found.local_size and found.size != found.local_size:
        if SIZES[op & 0x18] != found.local_size or found.size not in SIZE_BITS:
            return False
        op = op & ~0x18 | SIZE_BITS[found.size]
    _INSN.pack_into(code, at, op, regs, found.value, imm)
    return True


def _signed32(value: int) -> int:
    value &= MASK32
    return value - (1 << 32) if value >> 31 else value
