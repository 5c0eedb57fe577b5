"""Memory instructions: what each accesses, and the PTX that tells address and data to a probe.

The address is taken before the instruction, since its result may overwrite the base register; what it loads,
behind it. Data of a load or store are its first two elements, each without the bits that are not moved; of an
atomic the operand and the old value (the new value and the old one for `cas`).
Source: PTX ISA 9.0, 9.7.9.8 (ld) to 9.7.13.6 (red).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from attachers.cuda.ptx.probe import Op, Space
from attachers.cuda.ptx.scopes import Scope
from attachers.cuda.ptx.syntax import SIZES, VECTORS, Instruction
from attachers.cuda.ptx.tokens import NAME, split

OPS = {"ld": Op.LOAD, "ldu": Op.LOAD, "st": Op.STORE, "atom": Op.ATOMIC, "red": Op.REDUCE}
SPACES = {"global": Space.GLOBAL, "shared": Space.SHARED, "local": Space.LOCAL, "const": Space.CONST}
# Accesses whose address no single register holds, or that happen later than the instruction.
UNCOVERED = re.compile(
    r"(cp\.(?:reduce\.)?async\.bulk(?!\S*\.(?:commit|wait)_)|ldmatrix|stmatrix|wmma\.load|wmma\.store|wgmma\.mma_async|tex|tld4"
    r"|su(?:ld|st|red)|tcgen05\.\w+|(?:st|red)\.async|st\.bulk|multimem\.\w+)\b"
)
_ADDRESS = re.compile(rf"\[\s*(?:({NAME})|([^\]+-][^\]+]*?))\s*(?:([+-])\s*([^\]]+?))?\s*\](?:\.\w+)?\Z")
LONGEST = 4096  # characters of an operand
_FLOAT = re.compile(r"0(?:[fF][0-9a-fA-F]{8}|[dD][0-9a-fA-F]{16})\Z")
_INTEGER = re.compile(r"(-?)\s*(0[xX][0-9a-fA-F]{1,32}|0[bB][01]{1,128}|\d{1,40})U?\Z")


@dataclass(frozen=True, slots=True)
class Access:
    """One memory instruction taken apart. `size`: bytes of all elements, `element`: of one.

    `address` is the operand with its brackets, `values` the elements stored or the operand of an atomic,
    `results` the elements loaded.
    """

    op: Op
    space: Space
    element: int
    size: int
    address: str
    values: tuple[str, ...]
    results: tuple[str, ...]


def uncovered(instruction: Instruction) -> str:
    """Give the family of a memory operation that cannot be watched, "" for all other instructions."""
    found = UNCOVERED.match(instruction.opcode)
    return found[1] if found else ""


def accesses_of(instruction: Instruction) -> tuple[Access, ...]:
    """Take a memory instruction apart; nothing for all others, those that access parameters included.

    A copy that goes on by itself (`cp.async` of 4 to 16 bytes) is a load and a store, without their data.
    """
    if instruction.opcode.startswith(("cp.async.ca.", "cp.async.cg.")):
        return _copy(instruction)
    found = _access(instruction)
    return (found,) if found else ()


def _copy(instruction: Instruction) -> tuple[Access, ...]:
    to, origin, size, *_ = (*split(instruction.operands), "", "", "")
    if not (_usable(to) and _usable(origin) and size in ("4", "8", "16")):
        return ()
    count = int(size)
    return (
        Access(Op.LOAD, Space.GLOBAL, count, count, origin, (), ()),
        Access(Op.STORE, Space.SHARED, count, count, to, (), ()),
    )


def _usable(operand: str) -> bool:
    return len(operand) <= LONGEST and bool(_ADDRESS.match(operand))


def _access(instruction: Instruction) -> Access | None:
    name, *rest = instruction.opcode.split(".")
    op = OPS.get(name)
    if op is None or uncovered(instruction):
        return None
    modifiers = [word.partition("::")[0] for word in rest]
    type_ = next((word for word in reversed(modifiers) if word in SIZES), "")
    if "param" in modifiers or not type_:
        return None
    space = next((SPACES[word] for word in modifiers if word in SPACES), Space.GENERIC)
    lanes = next((VECTORS[word] for word in modifiers if word in VECTORS), 1)
    operands = split(instruction.operands)
    at = next((index for index, operand in enumerate(operands) if operand.startswith("[")), -1)
    if at < 0 or not _usable(operands[at]):
        return None
    behind = operands[at + 1 :]
    value = behind[1:2] if "cas" in modifiers else behind[:1]
    return Access(
        *(op, space, SIZES[type_], SIZES[type_] * lanes, operands[at]),
        _elements(value[0]) if value and op is not Op.LOAD else (),
        _elements(operands[0]) if at else (),
    )


def _elements(operand: str) -> tuple[str, ...]:
    return split(operand[1:-1].strip()) if operand.startswith("{") else (operand,)


def address_code(access: Access, scope: Scope) -> str | None:
    """Give PTX that sets `%bta`; None where the operand cannot be followed."""
    found = _ADDRESS.match(access.address)
    if not found:
        return None
    name, number, sign, offset = found.groups()
    if name is None:
        base = f"mov.b64 %bta, {number};"
    else:
        register = scope.register(name)
        if register is None:
            if name.startswith("%"):
                return None
            base = f"mov.u64 %bta, {name};"
        elif SIZES[register[0]] == 4:
            base = f"cvt.u64.u32 %bta, {name};"
        elif SIZES[register[0]] == 8:
            base = f"mov.b64 %bta, {name};"
        else:
            return None
    if offset is None:
        return base
    return f"{base} {'add' if sign == '+' else 'sub'}.s64 %bta, %bta, {offset};"


def data_code(target: str, operand: str, element: int, scope: Scope) -> str:
    """Give PTX that sets a 64-bit register to an element of `element` bytes; to 0 where there is none."""
    constant = _constant(operand, element)
    if constant is not None:
        return f"mov.b64 {target}, {constant};"
    register = scope.register(operand)
    if register is None or register[1] != 1:
        return f"mov.b64 {target}, 0;"
    size = SIZES[register[0]]
    if register[0] == "pred":
        return f"mov.b64 {target}, 0;"
    code = _WIDEN[size].format(t=target, s=operand)
    return code + (
        f" and.b64 {target}, {target}, {(1 << 8 * element) - 1:#x};" if element < min(size, 8) else ""
    )


_WIDEN = {
    1: "cvt.u64.u8 {t}, {s};",
    2: "mov.b32 %btw, {{{s}, %bth}}; cvt.u64.u32 {t}, %btw; and.b64 {t}, {t}, 0xffff;",
    4: "mov.b32 %btw, {s}; cvt.u64.u32 {t}, %btw;",
    8: "mov.b64 {t}, {s};",
    16: "mov.b128 {{{t}, %btx}}, {s};",
}


def wide_code(operand: str, scope: Scope) -> str | None:
    """Give PTX that sets both data registers to a 128-bit element; None where the operand is none."""
    register = scope.register(operand)
    if register is None or register[0] != "b128":
        return None
    return f"mov.b128 {{%btd0, %btd1}}, {operand};"


def _constant(operand: str, element: int) -> int | None:
    """Give the bits of an immediate operand; None for what is no number."""
    mask = (1 << 8 * min(element, 8)) - 1
    if operand == "WARP_SZ":
        return 32
    if _FLOAT.match(operand):
        bits = int(operand[2:], 16)
        if operand[1] in "fF" and element == 8:
            return _bits("<d", struct.unpack("<f", struct.pack("<I", bits))[0])
        if operand[1] in "dD" and element == 4:
            return _bits("<f", struct.unpack("<d", struct.pack("<Q", bits))[0])
        return bits & mask
    found = _INTEGER.match(operand)
    if found:
        value = whole_number(found[2])
        return (-value if found[1] else value) & mask
    return None


def whole_number(text: str) -> int:
    """Read a constant without sign; `017` is octal."""
    if not text.isdigit():
        return int(text, 0)
    is_octal = text[0] == "0" and not set(text) & {"8", "9"}
    return int(text, 8 if is_octal else 10)


def _bits(form: str, value: float) -> int:
    try:
        return int.from_bytes(struct.pack(form, value), "little")
    except OverflowError:
        return 0x7F800000
