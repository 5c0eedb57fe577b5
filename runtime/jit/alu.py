"""Arithmetic: every ALU and ALU64 instruction of RFC 9669 as LLVM IR, with its corner cases.

Division by zero gives 0, its remainder the dividend; INT_MIN / -1 gives INT_MIN with remainder 0; shifts
use the low bits of their amount; 32-bit results are zero-extended. LLVM leaves all of these undefined.
"""

from __future__ import annotations

from runtime.errors import Bug
from runtime.jit.code import CONSTANT, Code, signed

PLAIN = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x40: "or", 0x50: "and", 0xA0: "xor"}
SHIFTS = {0x60: "shl", 0x70: "lshr", 0xC0: "ashr"}
DIV, NEG, MOD, MOV, END = 0x30, 0x80, 0x90, 0xB0, 0xD0


def _binary(code: Code, op: str, bits: int, left: str, right: str) -> str:
    return code.op(f"{op} i{bits} {left}, {right}")


def _shift(code: Code, op: str, bits: int, left: str, right: str) -> str:
    if CONSTANT.match(right):
        return _binary(code, op, bits, left, str(int(right) & (bits - 1)))
    return _binary(code, op, bits, left, _binary(code, "and", bits, right, str(bits - 1)))


def _select(code: Code, condition: str, bits: int, yes: str, no: str) -> str:
    return code.op(f"select i1 {condition}, i{bits} {yes}, i{bits} {no}")


def _divide(code: Code, bits: int, left: str, right: str, kind: tuple[bool, bool]) -> str:
    """Divide; `kind` is (remainder wanted, signed)."""
    remainder, sign = kind
    op = ("s" if sign else "u") + ("rem" if remainder else "div")
    if CONSTANT.match(right) and int(right) not in (0, -1):
        return _binary(code, op, bits, left, right)
    zero = code.op(f"icmp eq i{bits} {right}, 0")
    unsafe, minus = zero, ""
    if sign:
        minus = code.op(f"icmp eq i{bits} {right}, -1")
        unsafe = code.op(f"or i1 {zero}, {minus}")
    divisor = _select(code, unsafe, bits, "1", right)
    result = _binary(code, op, bits, left, divisor)
    if sign:
        opposite = "0" if remainder else _binary(code, "sub", bits, "0", left)
        result = _select(code, minus, bits, opposite, result)
    return _select(code, zero, bits, left if remainder else "0", result)


def _compute(code: Code, op: int, bits: int, operands: tuple[str, str], offset: int) -> str:
    left, right = operands
    if op in PLAIN:
        return _binary(code, PLAIN[op], bits, left, right)
    if op in SHIFTS:
        return _shift(code, SHIFTS[op], bits, left, right)
    if op in (DIV, MOD):
        return _divide(code, bits, left, right, (op == MOD, offset == 1))
    raise Bug(f"arithmetic operation {op:#x}")


def swap(code: Code, value: str, bits: int) -> str:
    """Reverse the bytes of the low `bits`, zero-extended."""
    low = code.narrow(value, bits)
    if CONSTANT.match(low):
        low = code.op(f"add i{bits} {low}, 0")
    return code.widen(code.op(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {low})"), bits)


def _end(code: Code, opcode: int, value: str, bits: int) -> str:
    if opcode == 0xD4:  # to little endian, which this machine is: only the width matters
        return code.widen(code.narrow(value, bits), bits)
    return swap(code, value, bits)


def _move(code: Code, bits: int, value: str, offset: int) -> str:
    if offset:
        value = code.widen(code.narrow(value, offset), offset, sign=True)
    return code.widen(code.narrow(value, bits), bits)


def lift(code: Code, opcode: int, dst: int, src: int, offset_imm: tuple[int, int]) -> None:
    """Lift one arithmetic instruction; `offset_imm` are its last two fields."""
    offset, imm = offset_imm
    bits = 64 if opcode & 7 == 7 else 32
    op = opcode & 0xF0
    if op == END:
        code.set(dst, _end(code, opcode, code.get(dst), imm))
        return
    right = code.get(src) if opcode & 8 else str(imm)
    if op == MOV:
        code.set(dst, _move(code, bits, right, offset))
        return
    left = code.narrow(code.get(dst), bits)
    if op == NEG:
        code.set(dst, code.widen(_binary(code, "sub", bits, "0", left), bits))
        return
    value = _compute(code, op, bits, (left, code.narrow(right, bits)), offset)
    code.set(dst, code.widen(value, bits))


CONDITIONS = {
    0x10: "eq",
    0x50: "ne",
    0x20: "ugt",
    0x30: "uge",
    0xA0: "ult",
    0xB0: "ule",
    0x60: "sgt",
    0x70: "sge",
    0xC0: "slt",
    0xD0: "sle",
}
JSET = 0x40


def condition(code: Code, opcode: int, dst: int, src: int, imm: int) -> str:
    """Give the i1 of a conditional jump."""
    bits = 32 if opcode & 7 == 6 else 64
    left = code.narrow(code.get(dst), bits)
    right = code.narrow(code.get(src), bits) if opcode & 8 else str(signed(imm, bits))
    op = opcode & 0xF0
    if op == JSET:
        both = _binary(code, "and", bits, left, right)
        return code.op(f"icmp ne i{bits} {both}, 0")
    return code.op(f"icmp {CONDITIONS[op]} i{bits} {left}, {right}")
