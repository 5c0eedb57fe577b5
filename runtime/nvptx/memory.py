"""Loads, stores and atomics on a device: all of them aligned, those of maps past the first-level cache."""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from runtime.ebpf.insn import CMPXCHG, FETCH, LOAD_ACQUIRE, STORE_RELEASE, Insn
from runtime.helpers.device import FIND_UNIFORM
from runtime.jit.code import CONSTANT, Code, signed
from runtime.jit.memory import ATOMICS, FIRST_VALUE, guarded, read_only_value, set_old
from runtime.nvptx import context, warp
from runtime.nvptx.layout import ARRAYS, THREADED
from runtime.nvptx.unit import MODERN
from runtime.verify.result import Access, Proof

if TYPE_CHECKING:
    from runtime.nvptx.unit import Unit

ALIGN = 8  # of every map value, ring record and stack frame
UNSAFE_HINT = "a device has no loads that survive a wrong address; --unsafe reads it anyway"
TYPES = {"add": "u", "or": "b", "and": "b", "xor": "b", "xchg": "b"}
WORDS = {"xchg": "exch"}  # LLVM's name → PTX's


def _align(access: Access) -> int:
    return gcd(ALIGN, access.offset) if access.offset is not None else 1


def _number(code: Code, register: int, offset: int) -> str:
    base = code.get(register)
    return code.op(f"add i64 {base}, {offset}") if offset else base


def _pointer(code: Code, unit: Unit, access: Access, register: int, offset: int) -> str:
    """Give a typed pointer and its alignment, as loads and stores spell them."""
    if access.proof is Proof.STACK and access.frame == 0 and access.offset is not None:
        return f"ptr {code.stack_at(access.offset)}, align {_align(access)}"
    if access.proof is Proof.PLAIN and access.origin in unit.frames and access.offset is not None:
        return f"ptr {code.at(unit.frames[access.origin], access.offset)}, align {_align(access)}"
    space = " addrspace(1)" if access.value_of else ""
    pointer = code.op(f"inttoptr i64 {_number(code, register, offset)} to ptr{space}")
    return f"ptr{space} {pointer}, align {_align(access)}"


def _inside(code: Code, unit: Unit, access: Access, register: int, offset: int) -> str:
    """Give the i1 that says whether a guarded access stays inside its object."""
    if access.origin == FIRST_VALUE:
        base = unit.value_at(code, access.value_of, 0)
    else:
        base = code.op(f"load i64, ptr {unit.slot(code, f'base{access.origin}')}")
    if access.bound < access.size:
        return "false"
    distance = code.op(f"sub i64 {_number(code, register, offset)}, {base}")
    return code.op(f"icmp ule i64 {distance}, {access.bound - access.size}")


def load(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift LDX, with or without sign extension.

    Raises:
        Unsupported: nothing proves that the address is valid.
    """
    access, bits = unit.verified.accesses[index], insn.size * 8
    known = read_only_value(unit.maps, access)
    if known is not None:
        value = str(signed(known, bits))
    elif access.proof is Proof.CONTEXT:
        value = context.load(code, unit, access)
    elif access.proof is Proof.FAULT_SAFE and not unit.unsafe:
        raise unit.refused(index, "memory is read that is not known to be valid", UNSAFE_HINT)
    elif access.proof is Proof.GUARDED:
        inside = _inside(code, unit, access, insn.src, insn.off)
        value = guarded(code, inside, lambda: _plain_load(code, unit, access, insn), bits)
    else:
        value = _plain_load(code, unit, access, insn)
    code.set(insn.dst, code.widen(value, bits, sign=insn.op & 0xE0 == 0x80))


def _plain_load(code: Code, unit: Unit, access: Access, insn: Insn) -> str:
    how = "volatile " if access.value_of else ""
    return code.op(f"load {how}i{insn.size * 8}, {_pointer(code, unit, access, insn.src, insn.off)}")


def store(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift ST and STX."""
    access, bits = unit.verified.accesses[index], insn.size * 8
    value = code.narrow(str(insn.imm) if insn.kind == 2 else code.get(insn.src), bits)

    def plain() -> str:
        code.add(f"store i{bits} {value}, {_pointer(code, unit, access, insn.dst, insn.off)}")
        return "0"

    if access.proof is Proof.GUARDED:
        guarded(code, _inside(code, unit, access, insn.dst, insn.off), plain, 8)
    else:
        plain()


def atomic(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift read-modify-write, load-acquire and store-release."""
    access, bits = unit.verified.accesses[index], insn.size * 8
    base = insn.src if insn.imm == LOAD_ACQUIRE else insn.dst
    operand = code.narrow(code.get(insn.src), bits)
    expected = code.narrow(code.get(0), bits) if insn.imm == CMPXCHG else "0"

    def body() -> str:
        if not access.value_of:
            return _own(code, unit, access, insn, (operand, expected))
        return _shared(code, unit, access, insn, (operand, expected))

    if access.proof is Proof.GUARDED:
        old = guarded(code, _inside(code, unit, access, base, insn.off), body, bits)
    else:
        old = body()
    set_old(code, insn, old)


def _own(code: Code, unit: Unit, access: Access, insn: Insn, values: tuple[str, str]) -> str:
    """Change memory that no other thread sees: the stack, a record that is not submitted."""
    operand, expected = values
    bits = insn.size * 8
    base = insn.src if insn.imm == LOAD_ACQUIRE else insn.dst
    pointer = _pointer(code, unit, access, base, insn.off)
    old = code.op(f"load i{bits}, {pointer}")
    if insn.imm == LOAD_ACQUIRE:
        return old
    new = operand
    if insn.imm == CMPXCHG:
        equal = code.op(f"icmp eq i{bits} {old}, {expected}")
        new = code.op(f"select i1 {equal}, i{bits} {operand}, i{bits} {old}")
    elif insn.imm != STORE_RELEASE and ATOMICS[insn.imm & 0xF0] != "xchg":
        new = code.op(f"{ATOMICS[insn.imm & 0xF0]} i{bits} {old}, {operand}")
    code.add(f"store i{bits} {new}, {pointer}")
    return old


def _shared(code: Code, unit: Unit, access: Access, insn: Insn, values: tuple[str, str]) -> str:
    """Change a map's value, which every thread of the device may see."""
    operand, expected = values
    bits, scope = insn.size * 8, unit.scope(access.value_of)
    if insn.imm == LOAD_ACQUIRE:
        return _acquire(code, unit, _number(code, insn.src, insn.off), bits, scope)
    address = _number(code, insn.dst, insn.off)
    if insn.imm == STORE_RELEASE:
        code.add('call void asm sideeffect "membar.sys;", "~{memory}"()')
        pointer = code.op(f"inttoptr i64 {address} to ptr addrspace(1)")
        code.add(f"store volatile i{bits} {operand}, ptr addrspace(1) {pointer}, align {bits // 8}")
        return "0"
    if insn.imm == CMPXCHG:
        return warp.exchange(code, f"cas.b{bits}", address, [expected, operand], scope)
    name = ATOMICS[insn.imm & 0xF0]
    if insn.imm == 0 and bits == 64:
        uniform = is_uniform(unit, access)
        warp.add(
            unit, code, (address, scope), operand,
            uniform=uniform, constant=CONSTANT.match(operand) is not None,
        )  # fmt: skip
        return "0"
    op = f"{WORDS.get(name, name)}.{TYPES[name]}{bits}"
    if not insn.imm & FETCH:
        warp.reduce(code, op, address, operand, scope)
        return "0"
    return warp.exchange(code, op, address, [operand], scope)


def _acquire(code: Code, unit: Unit, address: str, bits: int, scope: str) -> str:
    """Load so that what follows is not done before; sizes below 32 bits by the same instruction."""
    if unit.arch >= MODERN and bits >= 32:
        letter = "l" if bits == 64 else "r"
        text = f"ld.acquire.{scope}.global.b{bits} $0, [$1];"
        return code.op(f'call i{bits} asm sideeffect "{text}", "={letter},l,~{{memory}}"(i64 {address})')
    value = warp.load(code, address, bits)
    code.add('call void asm sideeffect "membar.sys;", "~{memory}"()')
    return value


def is_uniform(unit: Unit, access: Access) -> bool:
    """Tell whether all threads of a warp that do an access together mean the same address."""
    spec, call = unit.maps[access.value_of], unit.verified.calls.get(access.origin)
    if access.offset is None or spec.kind in THREADED:
        return False
    if call is not None and (call.key is not None or call.helper == FIND_UNIFORM):
        return True
    return spec.kind in ARRAYS and (access.origin == FIRST_VALUE or spec.max_entries == 1)
