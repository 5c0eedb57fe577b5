"""Instructions: decoding, legality of fields, encoding and the names of operations.

The set is RFC 9669 plus what newer kernels add (load-acquire, store-release, may_goto). An instruction is
8 bytes: opcode, registers, s16 offset, s32 immediate; an `ld_imm64` takes two such units.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from runtime.errors import Refused

UNIT = 8  # bytes of one instruction unit
MAX_UNITS = 1_000_000
MASK32 = (1 << 32) - 1
MASK64 = (1 << 64) - 1

LD, LDX, ST, STX, ALU32, JMP, JMP32, ALU64 = range(8)  # low three bits of the opcode
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = range(
    14
)  # high four bits, ALU classes
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE, JCOND = range(15)  # JMP classes

OP_LD_IMM64 = 0x18
OP_CALL = 0x85
OP_CALLX = 0x8D
OP_EXIT = 0x95
OP_JA = 0x05
OP_GOTOL = 0x06
OP_MAY_GOTO = 0xE5

SRC_MAP, SRC_MAP_VALUE, SRC_VARIABLE, SRC_FUNCTION, SRC_MAP_INDEX, SRC_VALUE_INDEX = range(1, 7)  # ld_imm64
CALL_HELPER, CALL_LOCAL, CALL_KFUNC = range(3)

SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}  # opcode bits 3-4 → bytes
SIZE_BITS = {size: bits for bits, size in SIZES.items()}
LEGACY_LOADS = frozenset((0x20, 0x28, 0x30, 0x40, 0x48, 0x50))  # packet loads of classic BPF

ATOMIC_NAMES = {
    0x00: "add",
    0x40: "or",
    0x50: "and",
    0xA0: "xor",
    0x01: "fetch_add",
    0x41: "fetch_or",
    0x51: "fetch_and",
    0xA1: "fetch_xor",
    0xE1: "xchg",
    0xF1: "cmpxchg",
    0x100: "load_acquire",
    0x110: "store_release",
}
LOAD_ACQUIRE, STORE_RELEASE, XCHG, CMPXCHG, FETCH = 0x100, 0x110, 0xE1, 0xF1, 0x01

ALU_SIGNS = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>=", "end"]
JUMP_SIGNS = ["", "==", ">", ">=", "&", "!=", "s>", "s>=", "", "", "<", "<=", "s<", "s<="]


class Insn(NamedTuple):
    """One decoded instruction; `imm` is signed. `high`: second immediate of an `ld_imm64`, signed."""

    op: int
    dst: int
    src: int
    off: int
    imm: int
    high: int = 0

    @property
    def kind(self) -> int:
        """Instruction class: one of `LD LDX ST STX ALU32 JMP JMP32 ALU64`."""
        return self.op & 7

    @property
    def size(self) -> int:
        """Bytes that a load, store or atomic accesses."""
        return SIZES[self.op & 0x18]

    @property
    def imm64(self) -> int:
        """The 64-bit constant of an `ld_imm64`, unsigned."""
        return (self.imm & MASK32) | (self.high & MASK32) << 32

    @property
    def is_atomic(self) -> bool:
        """True for read-modify-write, load-acquire and store-release."""
        return self.op & 0xE7 == 0xC3

    @property
    def is_conditional(self) -> bool:
        """True for jumps that compare; `ja`, calls, exit and may_goto do not."""
        return self.op & 7 in (JMP, JMP32) and self.op >> 4 not in (JA, CALL, EXIT, JCOND)


Check = Callable[[Insn], str]  # says what is wrong with the fields, "" nothing
_UNITS = struct.Struct("<BBhi")


def decode(code: bytes) -> list[Insn | None]:
    """Split bytes into instructions; the second unit of an `ld_imm64` is None.

    Raises:
        Refused: length not a multiple of 8, empty, over the limit, or an `ld_imm64` without its second unit.
    """
    if len(code) % UNIT:
        raise Refused(f"program has {len(code)} bytes, which is not a multiple of {UNIT}")
    if not code:
        raise Refused("program has no instructions")
    if len(code) > MAX_UNITS * UNIT:
        raise Refused(f"program has {len(code) // UNIT} instructions, the limit is {MAX_UNITS}")
    out: list[Insn | None] = []
    first: tuple[int, int, int, int] | None = None
    for op, regs, off, imm in _UNITS.iter_unpack(code):
        if first is not None:
            if op or regs or off:
                raise Refused(
                    f"insn {len(out) - 1}: the second half of ld_imm64 has non-zero reserved fields"
                )
            out[-1] = Insn(first[0], first[1] & 15, first[1] >> 4, first[2], first[3], imm)
            out.append(None)
            first = None
            continue
        out.append(Insn(op, regs & 15, regs >> 4, off, imm))
        if op == OP_LD_IMM64:
            first = (op, regs, off, imm)
    if first is not None:
        raise Refused(f"insn {len(out) - 1}: ld_imm64 lacks its second half")
    return out


def encode(insn: Insn) -> bytes:
    """Bytes of one instruction: 8, or 16 for an `ld_imm64`."""
    first = _UNITS.pack(insn.op, insn.dst | insn.src << 4, insn.off, insn.imm)
    return first + _UNITS.pack(0, 0, 0, insn.high) if insn.op == OP_LD_IMM64 else first


def fault(insn: Insn) -> str:
    """Say what is illegal about an instruction's opcode or fields, "" if it is well formed."""
    if insn.dst > 10 or insn.src > 10:
        return f"register r{max(insn.dst, insn.src)} does not exist"
    check = _CHECKS.get(insn.op)
    if check is None:
        return f"opcode {insn.op:#04x} is not an instruction"
    return check(insn)


def _reserved(insn: Insn, dst: bool, src: bool, off: bool, imm: bool) -> str:
    """Name the first field that is not used by the instruction but not zero."""
    if not dst and insn.dst:
        return "reserved bits: the destination register must be 0"
    if not src and insn.src:
        return "reserved bits: the source register must be 0"
    if not off and insn.off:
        return "reserved bits: the offset must be 0"
    if not imm and insn.imm:
        return "reserved bits: the immediate must be 0"
    return ""


def _alu(insn: Insn) -> str:
    op, by_register = insn.op >> 4, bool(insn.op & 8)
    if op == MOV and by_register:
        widths = (0, 8, 16, 32) if insn.kind == ALU64 else (0, 8, 16)
        if insn.off == 1 and insn.kind == ALU64:
            return "addr_space_cast (arena pointers) is not supported"
        if insn.off not in widths:
            return f"sign extension from {insn.off} bits does not exist"
        return _reserved(insn, True, True, True, False)
    if op in (DIV, MOD):
        if insn.off not in (0, 1):
            return "reserved bits: the offset of a division must be 0 or 1"
        return _reserved(insn, True, by_register, True, not by_register)
    return _reserved(insn, True, by_register, False, not by_register)


def _neg(insn: Insn) -> str:
    return _reserved(insn, True, False, False, False)


def _end(insn: Insn) -> str:
    if insn.imm not in (16, 32, 64):
        return f"byte swap of {insn.imm} bits does not exist"
    return _reserved(insn, True, False, False, True)


def _jump(insn: Insn) -> str:
    by_register = bool(insn.op & 8)
    return _reserved(insn, True, by_register, True, not by_register)


def _ja(insn: Insn) -> str:
    return _reserved(insn, False, False, True, False)


def _gotol(insn: Insn) -> str:
    return _reserved(insn, False, False, False, True)


def _call(insn: Insn) -> str:
    if insn.src > CALL_KFUNC:
        return f"call with source {insn.src} does not exist"
    return _reserved(insn, False, True, insn.src == CALL_KFUNC, True)


def _callx(insn: Insn) -> str:
    if insn.dst == 0 and 0 < insn.imm <= 9:  # LLVM before 19 put the register into the immediate
        return _reserved(insn, False, False, False, True)
    return _reserved(insn, True, False, False, False)


def _exit(insn: Insn) -> str:
    return _reserved(insn, False, False, False, False)


def _ld_imm64(insn: Insn) -> str:
    if insn.src > SRC_VALUE_INDEX:
        return f"ld_imm64 with source {insn.src} does not exist"
    if insn.high and insn.src in (SRC_MAP, SRC_MAP_INDEX, SRC_VARIABLE, SRC_FUNCTION):
        return "reserved bits: the second immediate must be 0"
    return _reserved(insn, True, True, False, True)


def _legacy(insn: Insn) -> str:
    return _reserved(insn, False, insn.op >= 0x40, False, True)


def _load(insn: Insn) -> str:
    return _reserved(insn, True, True, True, False)


def _store_imm(insn: Insn) -> str:
    return _reserved(insn, True, False, True, True)


def _atomic(insn: Insn) -> str:
    if insn.imm not in ATOMIC_NAMES:
        return f"atomic operation {insn.imm:#x} does not exist"
    if insn.size < 4 and insn.imm not in (LOAD_ACQUIRE, STORE_RELEASE):
        return f"atomic {ATOMIC_NAMES[insn.imm]} on {insn.size} bytes does not exist"
    return ""


def _checks() -> dict[int, Check]:
    table: dict[int, Check] = {OP_LD_IMM64: _ld_imm64, OP_CALL: _call, OP_CALLX: _callx, OP_EXIT: _exit}
    table |= {OP_JA: _ja, OP_GOTOL: _gotol, OP_MAY_GOTO: _ja}
    table |= dict.fromkeys(LEGACY_LOADS, _legacy)
    for kind in (ALU32, ALU64):
        for op in set(range(14)) - {NEG, END}:
            table[op << 4 | kind] = table[op << 4 | 8 | kind] = _alu
        table[NEG << 4 | kind] = _neg
    table |= dict.fromkeys((0xD4, 0xDC, 0xD7), _end)
    for kind in (JMP, JMP32):
        for op in (JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE):
            table[op << 4 | kind] = table[op << 4 | 8 | kind] = _jump
    table |= dict.fromkeys((0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x63, 0x6B, 0x73, 0x7B), _load)
    table |= dict.fromkeys((0x62, 0x6A, 0x72, 0x7A), _store_imm)
    table |= dict.fromkeys((0xC3, 0xCB, 0xD3, 0xDB), _atomic)
    return table


_CHECKS = _checks()
