"""Arithmetic instructions: numbers, and pointers that move within their memory."""

from __future__ import annotations

from runtime.ebpf.insn import (
    ADD,
    ALU64,
    AND,
    DIV,
    END,
    LSH,
    MOD,
    MOV,
    NEG,
    RSH,
    SUB,
    XOR,
    Insn,
)
from runtime.verify.analysis import Analysis
from runtime.verify.arithmetic import alu, alu_signed, byte_swap, negate, sign_extend
from runtime.verify.number import UNKNOWN, UNKNOWN32, W32, is_const, low32
from runtime.verify.state import State
from runtime.verify.value import (
    CONTEXT,
    INPUT,
    MAYBE_MAP,
    MAYBE_MEMORY,
    MEMORY,
    PID,
    PID_TGID,
    SCALAR,
    STACK,
    TID,
    TID_HIGH,
    Value,
    copies_of,
    exactly,
    scalar,
)

_MOVABLE = frozenset((STACK, MEMORY, CONTEXT, INPUT))
_MAYBE = frozenset((MAYBE_MEMORY, MAYBE_MAP))
# (operation, width, operand) on a known thread number → what it becomes
_THREAD_PARTS = {
    (PID_TGID, RSH, 64, 32): PID,
    (PID_TGID, LSH, 64, 32): TID_HIGH,
    (TID_HIGH, RSH, 64, 32): TID,
    (PID_TGID, AND, 64, 0xFFFFFFFF): TID,
}


def step(a: Analysis, state: State, pc: int, insn: Insn) -> None:
    """Interpret one instruction of the classes ALU32 and ALU64."""
    if insn.dst == 10:
        a.refuse(state, pc, "r10 is the frame pointer and can only be read")
    op = insn.op >> 4
    if op == MOV:
        result = _move(a, state, pc, insn)
    elif op in (NEG, END):
        result = _unary(a, state, pc, insn)
    else:
        result = _binary(a, state, pc, insn)
    state.regs[insn.dst] = result


def _move(a: Analysis, state: State, pc: int, insn: Insn) -> Value:
    wide = insn.kind == ALU64
    if not insn.op & 8:
        return exactly(insn.imm if wide else insn.imm & (W32 - 1))
    value = a.register(state, pc, insn.src)
    tag, _, number = value
    if tag != SCALAR:
        return value if wide and not insn.off else scalar(UNKNOWN if wide else UNKNOWN32)
    if insn.off:
        return scalar(sign_extend(insn.off, 64 if wide else 32, number))
    if not wide and number[1] >= W32:
        return (SCALAR, TID if copies_of(value) == PID_TGID else 0, low32(number))
    if is_const(number) or copies_of(value) or insn.src == 10:
        return value
    named = (SCALAR, a.fresh(), number)  # the copy and its original learn together
    state.regs[insn.src] = named
    return named


def _unary(a: Analysis, state: State, pc: int, insn: Insn) -> Value:
    tag, _, number = a.register(state, pc, insn.dst)
    width = 64 if insn.kind == ALU64 else 32
    if insn.op >> 4 == NEG:
        if tag != SCALAR:
            return scalar(UNKNOWN if width == 64 else UNKNOWN32)
        return scalar(negate(width, number))
    swap = width == 64 or bool(
        insn.op & 8
    )  # class ALU64 always swaps, ALU32 when its "big endian" bit is set
    return scalar(byte_swap(insn.imm, swap, number if tag == SCALAR else UNKNOWN))


def _binary(a: Analysis, state: State, pc: int, insn: Insn) -> Value:
    op, width = insn.op >> 4, 64 if insn.kind == ALU64 else 32
    left = a.register(state, pc, insn.dst)
    right = a.register(state, pc, insn.src) if insn.op & 8 else exactly(insn.imm)
    if pc in a.counters:
        a.facts.range(pc, left[2] if left[0] == SCALAR else UNKNOWN)
    if left[0] == SCALAR and right[0] == SCALAR:
        return _numbers(op, width, left, right, insn)
    if width == 64 and op in (ADD, SUB):
        return _pointer(a, state, pc, op, (left, right))
    if left[0] in _MAYBE or right[0] in _MAYBE:
        a.refuse(
            state, pc, "arithmetic on a pointer that may be NULL", "check it before: if (!pointer) return 0;"
        )
    return scalar(UNKNOWN if width == 64 else UNKNOWN32)


def _numbers(op: int, width: int, left: Value, right: Value, insn: Insn) -> Value:
    if insn.off and op in (DIV, MOD):
        return scalar(alu_signed(op, width, left[2], right[2]))
    if op in (XOR, SUB) and insn.op & 8 and insn.dst == insn.src:
        return exactly(0)
    number = alu(op, width, left[2], right[2])
    if copies_of(left) < 0 and is_const(right[2]):
        return (SCALAR, _THREAD_PARTS.get((copies_of(left), op, width, right[2][0]), 0), number)
    return scalar(number)


def _pointer(a: Analysis, state: State, pc: int, op: int, operands: tuple[Value, Value]) -> Value:
    left, right = operands
    if left[0] in _MAYBE or right[0] in _MAYBE:
        a.refuse(
            state, pc, "arithmetic on a pointer that may be NULL", "check it before: if (!pointer) return 0;"
        )
    if op == ADD and left[0] == SCALAR:
        left, right = right, left
    if left[0] in _MOVABLE and right[0] == SCALAR:
        return (left[0], left[1], alu(op, 64, left[2], right[2]))
    if op == SUB and left[0] in _MOVABLE and left[:2] == right[:2] and _has_one_base(left):
        return scalar(alu(SUB, 64, left[2], right[2]))
    return scalar(UNKNOWN)


def _has_one_base(value: Value) -> bool:
    """True when pointers with this ident are all relative to the same address."""
    return value[0] != MEMORY or getattr(value[1], "origin", None) is not None
