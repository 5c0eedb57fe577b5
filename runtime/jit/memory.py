"""Loads, stores and atomics: each access in the form that the verifier's proof allows.

Proven accesses are plain instructions; guarded ones compare with the object's bounds and read 0 or skip
the store outside; fault-safe loads go through the agent and read 0 where nothing is mapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.ebpf.insn import CMPXCHG, FETCH, LOAD_ACQUIRE, STORE_RELEASE, XCHG, Insn
from runtime.errors import Bug, Unsupported
from runtime.jit import cells, context
from runtime.jit.code import Code, signed
from runtime.maps.spec import MapKind
from runtime.verify.result import Access, Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runtime.jit.unit import Unit
    from runtime.maps.spec import MapSpec

FIRST_VALUE = -2  # `Access.origin`: the base is the first value of the map
READ_ONLY = 0x80  # BPF_F_RDONLY_PROG: programs cannot change it, and the tracer does not after loading
ATOMICS = {0x00: "add", 0x40: "or", 0x50: "and", 0xA0: "xor", 0xE0: "xchg"}


def _pointer(code: Code, unit: Unit, access: Access, register: int, offset: int) -> str:
    if access.proof is Proof.STACK and access.frame == 0 and access.offset is not None:
        return code.stack_at(access.offset)
    spec = unit.maps.get(access.value_of)
    if spec is not None and is_single(spec, access):
        return code.pointer(unit.value_at(access.value_of, access.offset or 0))
    return code.pointer(_number(code, register, offset))


def is_single(spec: MapSpec, access: Access) -> bool:
    """Tell whether the address is known: the only value of an array, at a constant offset."""
    if access.proof is not Proof.PLAIN or access.offset is None:
        return False
    return spec.kind == MapKind.ARRAY and spec.max_entries == 1


def read_only_value(maps: Mapping[str, MapSpec], access: Access) -> int | None:
    """Give what a load from a read-only data section yields, None where it is not known."""
    spec = maps.get(access.value_of)
    if spec is None or not is_single(spec, access) or access.offset is None:
        return None
    if not spec.flags & READ_ONLY or spec.initial is None or access.offset + access.size > len(spec.initial):
        return None
    return int.from_bytes(spec.initial[access.offset : access.offset + access.size], "little")


def _number(code: Code, register: int, offset: int) -> str:
    base = code.get(register)
    return code.op(f"add i64 {base}, {offset}") if offset else base


def _base(code: Code, unit: Unit, access: Access) -> str:
    if access.origin == FIRST_VALUE:
        return unit.value_at(access.value_of, 0)
    if access.origin < 0:
        return context.read(code, unit, "address")
    return code.op(f"load i64, ptr {unit.slot(code, f'base{access.origin}')}")


def _inside(code: Code, unit: Unit, access: Access, register: int, offset: int) -> str:
    """Give the i1 that says whether a guarded access stays inside its object."""
    base = _base(code, unit, access)
    distance = code.op(f"sub i64 {_number(code, register, offset)}, {base}")
    if access.bound >= 0:
        if access.bound < access.size:
            return "false"
        return code.op(f"icmp ule i64 {distance}, {access.bound - access.size}")
    length = context.read(code, unit, "length")
    room = code.op(f"sub i64 {length}, {access.size}")
    fits = code.op(f"icmp uge i64 {length}, {access.size}")
    return code.op(f"and i1 {fits}, {code.op(f'icmp ule i64 {distance}, {room}')}")


def guarded(code: Code, inside: str, body: Callable[[], str], bits: int) -> str:
    """Run `body` only where `inside` holds; give its iBITS result, 0 elsewhere."""
    yes, done, start = code.label(), code.label(), code.label()
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(inside, yes, done)
    code.inner(yes)
    value = body()
    last = code.label()
    code.add(f"br label %{last}")
    code.inner(last)
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i{bits} [ 0, %{start} ], [ {value}, %{last} ]")


def load(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift LDX, with or without sign extension."""
    access, bits = unit.verified.accesses[index], insn.size * 8
    sign = insn.op & 0xE0 == 0x80
    known = read_only_value(unit.maps, access)
    if known is not None:
        value = str(signed(known, bits))
    elif access.proof is Proof.CONTEXT:
        value = context.load(code, unit, access, insn)
    elif access.proof is Proof.FAULT_SAFE:
        wide = unit.call(code, f"load_{insn.size}", [_number(code, insn.src, insn.off)])
        value = code.narrow(wide, bits)
    elif access.proof is Proof.GUARDED:
        inside = _inside(code, unit, access, insn.src, insn.off)
        value = guarded(code, inside, lambda: _plain_load(code, unit, access, insn), bits)
    else:
        value = _plain_load(code, unit, access, insn)
    code.set(insn.dst, code.widen(value, bits, sign=sign))


def _plain_load(code: Code, unit: Unit, access: Access, insn: Insn) -> str:
    return code.op(f"load i{insn.size * 8}, ptr {_pointer(code, unit, access, insn.src, insn.off)}, align 1")


def store(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift ST and STX."""
    access, bits = unit.verified.accesses[index], insn.size * 8
    value = code.narrow(str(insn.imm) if insn.kind == 2 else code.get(insn.src), bits)
    if access.proof is Proof.CONTEXT:
        context.store(code, unit, access, value)
        return
    if access.proof is Proof.FAULT_SAFE:
        raise Bug(f"insn {index}: a store cannot be fault-safe")

    def plain() -> str:
        code.add(f"store i{bits} {value}, ptr {_pointer(code, unit, access, insn.dst, insn.off)}, align 1")
        return "0"

    if access.proof is Proof.GUARDED:
        guarded(code, _inside(code, unit, access, insn.dst, insn.off), plain, 8)
    else:
        plain()


def set_old(code: Code, insn: Insn, old: str) -> None:
    """Put the value that memory held before an atomic instruction where that instruction wants it."""
    if insn.imm == LOAD_ACQUIRE:
        register = insn.dst
    elif insn.imm == CMPXCHG:
        register = 0
    elif insn.imm & FETCH and insn.imm != STORE_RELEASE:
        register = insn.src
    else:
        return
    code.set(register, code.widen(old, insn.size * 8))


def atomic(code: Code, unit: Unit, index: int, insn: Insn) -> None:
    """Lift read-modify-write, load-acquire and store-release."""
    access, bits = unit.verified.accesses[index], insn.size * 8
    base = insn.src if insn.imm == LOAD_ACQUIRE else insn.dst
    operand = code.narrow(code.get(insn.src), bits)
    code.get(0)  # for cmpxchg: known before the block where the access happens

    def body() -> str:
        return _atomic(code, unit, access, insn, operand)

    if access.proof is Proof.GUARDED:
        old = guarded(code, _inside(code, unit, access, base, insn.off), body, bits)
    elif access.proof in (Proof.STACK, Proof.PLAIN):
        old = body()
    else:
        raise Unsupported(f"insn {index}: atomic operation on {access.proof.value} memory")
    set_old(code, insn, old)


def _atomic(code: Code, unit: Unit, access: Access, insn: Insn, operand: str) -> str:
    bits, size = insn.size * 8, insn.size
    if insn.imm == LOAD_ACQUIRE:
        pointer = _pointer(code, unit, access, insn.src, insn.off)
        return code.op(f"load atomic i{bits}, ptr {pointer} acquire, align {size}")
    pointer = _pointer(code, unit, access, insn.dst, insn.off)
    if insn.imm == STORE_RELEASE:
        code.add(f"store atomic i{bits} {operand}, ptr {pointer} release, align {size}")
        return "0"
    if insn.imm == CMPXCHG:
        expected = code.narrow(code.get(0), bits)
        pair = code.op(
            f"cmpxchg ptr {pointer}, i{bits} {expected}, i{bits} {operand} seq_cst seq_cst, align {size}"
        )
        return code.op(f"extractvalue {{ i{bits}, i1 }} {pair}, 0")
    if insn.imm == 0 and size == 8 and cells.is_split(unit, access):
        cells.add(code, unit, access, pointer, operand)
        return "0"
    order = "seq_cst" if insn.imm in (XCHG,) or insn.imm & FETCH else "monotonic"
    return code.op(
        f"atomicrmw {ATOMICS[insn.imm & 0xF0]} ptr {pointer}, i{bits} {operand} {order}, align {size}"
    )
