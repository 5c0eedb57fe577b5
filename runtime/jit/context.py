"""Context accesses: folded to parameters, words of the thunk, constants, or loads from a full structure.

A subprogram has none of the entry function's parameters; what it needs is put into shared slots when the
program starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.ebpf.context import LAYOUTS
from runtime.ebpf.insn import Insn
from runtime.errors import Unsupported
from runtime.jit.convention import FRAME_FIELDS

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.jit.unit import Unit
    from runtime.verify.result import Access, Verified


def needs_frame(verified: Verified) -> bool:
    """Tell whether a program needs its whole context in memory."""
    fields = FRAME_FIELDS.get(verified.program.context, range(0))
    return any(
        access.proof.value == "context" and (access.offset is None or access.offset in fields)
        for access in verified.accesses.values()
    )


def word_address(code: Code, unit: Unit, name: str) -> str:
    """Give a pointer to a word that the thunk pushed."""
    offset = 8 + 8 * unit.inputs.word(name)
    if code.entry:
        slot = code.op("call ptr @llvm.addressofreturnaddress()")
    else:
        unit.inherit("words")
        slot = code.pointer(code.op(f"load i64, ptr {unit.slot(code, 'words')}"))
    return code.at(slot, offset)


def read(code: Code, unit: Unit, name: str) -> str:
    """Give an input by name as an i64."""
    parameters = unit.inputs.parameters
    if name not in parameters:
        return code.op(f"load i64, ptr {word_address(code, unit, name)}")
    if code.entry:
        return f"%a{parameters.index(name)}"
    unit.inherit(name)
    return code.op(f"load i64, ptr {unit.slot(code, name)}")


def _qword(code: Code, unit: Unit, offset: int) -> str:
    kind, text = unit.inputs.source(offset)
    return text if kind == "constant" else read(code, unit, text)


def load(code: Code, unit: Unit, access: Access, insn: Insn) -> str:
    """Give the iBITS at a place in the context."""
    bits = insn.size * 8
    if unit.inputs.frame and not _is_behind(unit, access):
        base = read(code, unit, "context")
        distance = str(access.offset) if access.offset is not None else ""
        start = code.op(f"add i64 {base}, {distance}") if distance else _moving(code, insn)
        return code.op(f"load i{bits}, ptr {code.pointer(start)}, align 1")
    if access.offset is None:
        raise Unsupported("the context is read at an offset that is not constant")
    low, shift = access.offset & ~7, 8 * (access.offset & 7)
    value = _qword(code, unit, low)
    if shift:
        value = code.op(f"lshr i64 {value}, {shift}")
        if shift + bits > 64:
            upper = code.op(f"shl i64 {_qword(code, unit, low + 8)}, {64 - shift}")
            value = code.op(f"or i64 {value}, {upper}")
    return code.narrow(value, bits)


def _is_behind(unit: Unit, access: Access) -> bool:
    """Tell whether a word is meant that lies in no structure: the thunk pushes it beside a frame as well."""
    return access.offset is not None and access.offset >= LAYOUTS[unit.inputs.kind].size


def _moving(code: Code, insn: Insn) -> str:
    return code.op(f"add i64 {code.get(insn.src)}, {insn.off}")


def store(code: Code, unit: Unit, access: Access, value: str) -> None:
    """Store into the context structure (only contexts with a frame have bytes that may be written).

    Raises:
        Unsupported: this context lives in registers.
    """
    if not unit.inputs.frame or access.offset is None:
        raise Unsupported("the context of this probe cannot be written")
    start = code.op(f"add i64 {read(code, unit, 'context')}, {access.offset}")
    code.add(f"store i{access.size * 8} {value}, ptr {code.pointer(start)}, align 1")
