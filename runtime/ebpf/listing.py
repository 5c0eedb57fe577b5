"""Instructions as text, as `runtime.ebpf.asm` reads it: `assemble(listing(code))` gives them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runtime.ebpf.insn import (
    ALU32,
    ALU64,
    ALU_SIGNS,
    ATOMIC_NAMES,
    CALL_LOCAL,
    JMP,
    JMP32,
    JUMP_SIGNS,
    LDX,
    OP_CALL,
    OP_CALLX,
    OP_EXIT,
    OP_GOTOL,
    OP_JA,
    OP_LD_IMM64,
    OP_MAY_GOTO,
    SRC_FUNCTION,
    SRC_MAP,
    SRC_MAP_VALUE,
    ST,
    STX,
    Insn,
    decode,
)
from runtime.helpers.table import name_of

MEMSX = 0x80


def listing(code: bytes, maps: Mapping[int, str] | None = None) -> list[tuple[int, str]]:
    """Return (instruction index, text) of a program. `maps`: names of the maps that `ld_imm64` refer to.

    Raises:
        Refused: the bytes are no instructions.
    """
    names = maps or {}
    return [
        (pc, text_of(insn, names.get(pc, ""))) for pc, insn in enumerate(decode(code)) if insn is not None
    ]


def text_of(insn: Insn, map_name: str = "") -> str:
    """Return one instruction as text; what has no notation shows its bytes."""
    if insn.op == OP_LD_IMM64:
        return _wide(insn, map_name)
    if insn.op in _FIXED:
        return _FIXED[insn.op](insn)
    form = _BY_CLASS.get(insn.kind)
    return form(insn) if form else _raw(insn)


def _raw(insn: Insn) -> str:
    return f"; op {insn.op:#04x} dst {insn.dst} src {insn.src} off {insn.off} imm {insn.imm}"


def _wide(insn: Insn, map_name: str) -> str:
    if insn.src == SRC_MAP:
        return f"r{insn.dst} = map[{map_name}] ll"
    if insn.src == SRC_MAP_VALUE:
        return f"r{insn.dst} = value[{map_name}]+{insn.high} ll"
    if insn.src == SRC_FUNCTION:
        return f"r{insn.dst} = func[{insn.imm:+d}] ll"
    return f"r{insn.dst} = {insn.imm64:#x} ll"


def _call(insn: Insn) -> str:
    if insn.src == CALL_LOCAL:
        return f"call local {insn.imm:+d}"
    return f"call {name_of(insn.imm)}"


_FIXED: dict[int, Callable[[Insn], str]] = {
    OP_CALL: _call,
    OP_CALLX: lambda i: f"callx r{i.dst}",
    OP_EXIT: lambda _: "exit",
    OP_JA: lambda i: f"goto {i.off:+d}",
    OP_GOTOL: lambda i: f"gotol {i.imm:+d}",
    OP_MAY_GOTO: lambda i: f"may_goto {i.off:+d}",
}


def _operand(insn: Insn, letter: str) -> str:
    return f"{letter}{insn.src}" if insn.op & 8 else str(insn.imm)


def _alu(insn: Insn) -> str:
    letter = "r" if insn.kind == ALU64 else "w"
    left, operation = f"{letter}{insn.dst}", insn.op >> 4
    if operation >= len(ALU_SIGNS):
        return _raw(insn)
    sign = ALU_SIGNS[operation]
    if sign == "neg":
        return f"{left} = -{left}"
    if sign == "end":
        name = "bswap" if insn.kind == ALU64 else "be" if insn.op & 8 else "le"
        return f"r{insn.dst} = {name}{insn.imm} r{insn.dst}"
    if sign == "=" and insn.off:
        return f"{left} = (s{insn.off}) {letter}{insn.src}"
    if insn.off and sign in ("/=", "%="):
        sign = f"s{sign}"
    return f"{left} {sign} {_operand(insn, letter)}"


def _jump(insn: Insn) -> str:
    letter = "r" if insn.kind == JMP else "w"
    operation = insn.op >> 4
    sign = JUMP_SIGNS[operation] if operation < len(JUMP_SIGNS) else ""
    if not sign:
        return _raw(insn)
    return f"if {letter}{insn.dst} {sign} {_operand(insn, letter)} goto {insn.off:+d}"


def _place(insn: Insn, register: int) -> str:
    sign = "-" if insn.off < 0 else "+"
    return f"(r{register} {sign} {abs(insn.off)})"


def _load(insn: Insn) -> str:
    letter = "s" if insn.op & 0xE0 == MEMSX else "u"
    return f"r{insn.dst} = *({letter}{8 * insn.size} *){_place(insn, insn.src)}"


def _store(insn: Insn) -> str:
    if insn.is_atomic:
        name = ATOMIC_NAMES.get(insn.imm, "")
        return f"lock {name} u{8 * insn.size} {_place(insn, insn.dst)} r{insn.src}" if name else _raw(insn)
    value = f"r{insn.src}" if insn.kind == STX else str(insn.imm)
    return f"*(u{8 * insn.size} *){_place(insn, insn.dst)} = {value}"


_BY_CLASS: dict[int, Callable[[Insn], str]] = {
    ALU32: _alu,
    ALU64: _alu,
    JMP: _jump,
    JMP32: _jump,
    LDX: _load,
    ST: _store,
    STX: _store,
}
