"""A small assembler in the notation of kernel and LLVM, for tests and for programs typed by hand.

One instruction a line, `;` or `#` starts a comment, `name:` a label. Examples: `r1 = 5`, `w2 += w3`,
`r0 s/= r1`, `r1 = -r1`, `r1 = (s8) r2`, `r1 = be16 r1`, `r1 = 0x123456789 ll`, `r1 = map[counts] ll`,
`r1 = value[.data]+8 ll`, `r2 = func[label] ll`, `r0 = *(u32 *)(r1 + 4)`, `*(u64 *)(r10 - 8) = r1`,
`lock fetch_add u64 (r10 - 8) r1`, `if r1 s> 5 goto out`, `goto out`, `gotol out`, `may_goto out`,
`call ktime_get_ns`, `call local f`, `callx r3`, `exit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.ebpf.insn import (
    ALU32,
    ALU64,
    ALU_SIGNS,
    ATOMIC_NAMES,
    CALL_LOCAL,
    JMP,
    JMP32,
    JUMP_SIGNS,
    MASK32,
    OP_CALL,
    OP_CALLX,
    OP_EXIT,
    OP_GOTOL,
    OP_JA,
    OP_LD_IMM64,
    OP_MAY_GOTO,
    SIZE_BITS,
    SRC_FUNCTION,
    SRC_MAP,
    SRC_MAP_VALUE,
    Insn,
    encode,
)
from runtime.errors import ObjectProblem
from runtime.helpers.device import DEVICE
from runtime.helpers.table import HELPERS

_ALU = {sign: op for op, sign in enumerate(ALU_SIGNS) if sign.endswith("=")}
_JUMP = {sign: op for op, sign in enumerate(JUMP_SIGNS) if sign}
_ATOMIC = {name: imm for imm, name in ATOMIC_NAMES.items()}
_NUMBERS = {row.name: row.id for row in (*DEVICE.values(), *HELPERS.values())}


@dataclass(slots=True)
class Assembled:
    """Machine code of a text. `map_refs`: instruction index → map name."""

    code: bytes
    map_refs: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Unit:
    insn: Insn
    label: str = ""  # to be resolved into `off`, or into `imm` where `wide`
    wide: bool = False
    map: str = ""


def assemble(text: str) -> Assembled:
    """Translate a program.

    Raises:
        ObjectProblem: a line is no instruction, or a label is not defined.
    """
    out = Assembled(b"")
    units: list[tuple[int, _Unit, str]] = []
    pc = 0
    for raw in text.splitlines():
        line = re.split(r"[;#]", raw)[0].strip()
        while found := re.match(r"([.\w]+):\s*", line):
            out.labels[found[1]] = pc
            line = line[found.end() :]
        if line:
            unit = _parse(line)
            units.append((pc, unit, line))
            pc += 2 if unit.insn.op == OP_LD_IMM64 else 1
    for at, unit, line in units:
        if unit.map:
            out.map_refs[at] = unit.map
        out.code += encode(_resolved(unit, at, out.labels, line))
    return out


def _resolved(unit: _Unit, pc: int, labels: dict[str, int], line: str) -> Insn:
    if not unit.label:
        return unit.insn
    if re.fullmatch(r"[+-]\d+", unit.label):
        distance = int(unit.label)
    elif unit.label in labels:
        distance = labels[unit.label] - pc - 1
    else:
        raise ObjectProblem(f"label {unit.label!r} is not defined: {line}")
    return unit.insn._replace(imm=distance) if unit.wide else unit.insn._replace(off=distance)


def _parse(line: str) -> _Unit:
    for pattern, build in _FORMS:
        found = pattern.fullmatch(line)
        if found:
            return build(found)
    raise ObjectProblem(f"not an instruction: {line}")


def _number(text: str) -> int:
    value = int(text, 0) & MASK32
    return value - (1 << 32) if value >> 31 else value


def _operand(text: str) -> tuple[int, int, int]:
    """X bit, source register and immediate of a right-hand side."""
    return (8, int(text[1:]), 0) if text[0] in "rw" else (0, 0, _number(text))


def _alu(m: re.Match[str]) -> _Unit:
    kind = ALU64 if m[1][0] == "r" else ALU32
    sign = {"s/=": "/=", "s%=": "%="}.get(m[2], m[2])
    x, src, imm = _operand(m[3])
    return _Unit(Insn(_ALU[sign] << 4 | x | kind, int(m[1][1:]), src, int(sign != m[2]), imm))


def _neg(m: re.Match[str]) -> _Unit:
    return _Unit(Insn(0x80 | (ALU64 if m[1][0] == "r" else ALU32), int(m[1][1:]), 0, 0, 0))


def _extend(m: re.Match[str]) -> _Unit:
    return _Unit(
        Insn(0xB8 | (ALU64 if m[1][0] == "r" else ALU32), int(m[1][1:]), int(m[3][1:]), int(m[2]), 0)
    )


def _swap(m: re.Match[str]) -> _Unit:
    op = {"le": 0xD4, "be": 0xDC, "bswap": 0xD7}[m[2]]
    return _Unit(Insn(op, int(m[1][1:]), 0, 0, int(m[3])))


def _wide(m: re.Match[str]) -> _Unit:
    value = int(m[2], 0) & (1 << 64) - 1
    low, high = _number(str(value & MASK32)), _number(str(value >> 32))
    return _Unit(Insn(OP_LD_IMM64, int(m[1][1:]), 0, 0, low, high))


def _reference(m: re.Match[str]) -> _Unit:
    dst = int(m[1][1:])
    if m[2] == "func":
        return _Unit(Insn(OP_LD_IMM64, dst, SRC_FUNCTION, 0, 0), m[3], True)
    src = SRC_MAP if m[2] == "map" else SRC_MAP_VALUE
    return _Unit(Insn(OP_LD_IMM64, dst, src, 0, 0, int(m[4] or "0", 0)), map=m[3])


def _place(m: re.Match[str], register: int) -> tuple[int, int]:
    return int(m[register][1:]), int((m[register + 1] or "0").replace(" ", ""), 0)


def _load(m: re.Match[str]) -> _Unit:
    src, off = _place(m, 4)
    mode = 0x80 if m[2] == "s" else 0x60
    return _Unit(Insn(mode | SIZE_BITS[int(m[3]) // 8] | 1, int(m[1][1:]), src, off, 0))


def _store(m: re.Match[str]) -> _Unit:
    dst, off = _place(m, 2)
    x, src, imm = _operand(m[4])
    return _Unit(Insn(0x60 | SIZE_BITS[int(m[1]) // 8] | (3 if x else 2), dst, src, off, imm))


def _atomic(m: re.Match[str]) -> _Unit:
    base, off = _place(m, 3)
    other = int(m[5][1:])
    dst, src = (other, base) if m[1] == "load_acquire" else (base, other)
    return _Unit(Insn(0xC0 | SIZE_BITS[int(m[2]) // 8] | 3, dst, src, off, _ATOMIC[m[1]]))


def _branch(m: re.Match[str]) -> _Unit:
    kind = JMP if m[1][0] == "r" else JMP32
    x, src, imm = _operand(m[3])
    return _Unit(Insn(_JUMP[m[2]] << 4 | x | kind, int(m[1][1:]), src, 0, imm), m[4])


def _goto(m: re.Match[str]) -> _Unit:
    op = {"goto": OP_JA, "gotol": OP_GOTOL, "may_goto": OP_MAY_GOTO}[m[1]]
    return _Unit(Insn(op, 0, 0, 0, 0), m[2], op == OP_GOTOL)


def _call(m: re.Match[str]) -> _Unit:
    if not m[1].isdigit() and m[1] not in _NUMBERS:
        raise ObjectProblem(f"there is no helper {m[1]!r}")
    return _Unit(Insn(OP_CALL, 0, 0, 0, int(m[1]) if m[1].isdigit() else _NUMBERS[m[1]]))


def _call_local(m: re.Match[str]) -> _Unit:
    return _Unit(Insn(OP_CALL, 0, CALL_LOCAL, 0, 0), m[1], True)


def _callx(m: re.Match[str]) -> _Unit:
    return _Unit(Insn(OP_CALLX, int(m[1][1:]), 0, 0, 0))


def _exit(m: re.Match[str]) -> _Unit:
    del m
    return _Unit(Insn(OP_EXIT, 0, 0, 0, 0))


_REG, _INT, _TO = r"([rw]\d+)", r"([rw]\d+|-?0x[0-9a-fA-F]+|-?\d+)", r"([.\w]+|[+-]\d+)"
_AT = r"\(\s*(r\d+)\s*([+-]\s*\w+)?\s*\)"
_ALU_SIGN = r"(s?[/%]=|s?>>=|<<=|[-+*&|^]=|=)"
_FORMS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], _Unit]]] = [
    (re.compile(pattern), build)
    for pattern, build in (
        (rf"{_REG}\s*=\s*(-?\w+)\s+ll", _wide),
        (rf"{_REG}\s*=\s*(map|value|func)\[([^\]]+)\](?:\+(\w+))?\s+ll", _reference),
        (rf"{_REG}\s*=\s*-\s*[rw]\d+", _neg),
        (rf"{_REG}\s*=\s*\(s(8|16|32)\)\s*{_REG}", _extend),
        (rf"{_REG}\s*=\s*(le|be|bswap)(16|32|64)\s+[rw]\d+", _swap),
        (rf"{_REG}\s*=\s*\*\(([us])(8|16|32|64)\s*\*\)\s*{_AT}", _load),
        (rf"{_REG}\s*{_ALU_SIGN}\s*{_INT}", _alu),
        (rf"\*\(u(8|16|32|64)\s*\*\)\s*{_AT}\s*=\s*{_INT}", _store),
        (rf"lock\s+(\w+)\s+u(8|16|32|64)\s+{_AT}\s+{_REG}", _atomic),
        (rf"if\s+{_REG}\s*(s?[<>]=?|==|!=|&)\s*{_INT}\s+goto\s+{_TO}", _branch),
        (rf"(goto|gotol|may_goto)\s+{_TO}", _goto),
        (rf"call\s+local\s+{_TO}", _call_local),
        (r"call\s+(\w+)", _call),
        (r"callx\s+(r\d+)", _callx),
        (r"exit", _exit),
    )
]
