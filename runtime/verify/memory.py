"""Loads, stores and atomics: which memory, how well known, and what is read."""

from __future__ import annotations

from runtime.ebpf.insn import (
    ADD,
    CMPXCHG,
    FETCH,
    LD,
    LDX,
    LOAD_ACQUIRE,
    OP_LD_IMM64,
    SRC_FUNCTION,
    SRC_MAP,
    SRC_MAP_INDEX,
    SRC_MAP_VALUE,
    SRC_VALUE_INDEX,
    ST,
    STORE_RELEASE,
    XCHG,
    Insn,
)
from runtime.maps.spec import MapKind
from runtime.verify.analysis import READ_ONLY, Analysis
from runtime.verify.arithmetic import alu, sign_extend
from runtime.verify.facts import FIRST_VALUE, INPUT_BASE, NO_ORIGIN, Fact, Mixed
from runtime.verify.flow import local_target
from runtime.verify.number import Number, bits, const, is_const, signed64
from runtime.verify.result import Proof
from runtime.verify.state import STACK_BYTES, State, bytes_mask, clobber, load, store
from runtime.verify.value import (
    ANY,
    CONTEXT,
    FUNCTION,
    INPUT,
    KNOWN_NAMES,
    MAP,
    MAYBE_MAP,
    MAYBE_MEMORY,
    MEMORY,
    SCALAR,
    SECTION,
    STACK,
    Region,
    RegionKind,
    Value,
    copies_of,
    exactly,
)

_FAULT_SAFE = Fact(Proof.FAULT_SAFE, 0, None, 0, NO_ORIGIN, 0, "")


def step(a: Analysis, state: State, pc: int, insn: Insn) -> None:
    """Interpret one instruction of the classes LD, LDX, ST and STX."""
    if insn.kind == LD:
        if insn.op == OP_LD_IMM64:
            _write(a, state, pc, insn.dst, _wide(a, state, pc, insn))
        else:
            _legacy(a, state, pc, insn)
    elif insn.kind == LDX:
        base = a.register(state, pc, insn.src)
        value = read(a, state, pc, base, insn)
        if insn.op >> 5 == 4:  # MEMSX
            value = (SCALAR, 0, sign_extend(8 * insn.size, 64, value[2]))
        _write(a, state, pc, insn.dst, value)
    elif insn.kind == ST:
        write(a, state, pc, a.register(state, pc, insn.dst), insn, exactly(insn.imm))
    elif insn.is_atomic:
        _atomic(a, state, pc, insn)
    else:
        value = a.register(state, pc, insn.src)
        if insn.size == 8:
            value = _linked(a, state, insn.src, value)
        write(a, state, pc, a.register(state, pc, insn.dst), insn, value)


def _write(a: Analysis, state: State, pc: int, register: int, value: Value) -> None:
    if register == 10:
        a.refuse(state, pc, "r10 is the frame pointer and can only be read")
    state.regs[register] = value


def _linked(a: Analysis, state: State, register: int, value: Value) -> Value:
    """Give a number an ident, so that its copy learns with it."""
    if value[0] != SCALAR or copies_of(value) or is_const(value[2]) or register == 10:
        return value
    named = (SCALAR, a.fresh(), value[2])
    state.regs[register] = named
    return named


# --- constants


def _wide(a: Analysis, state: State, pc: int, insn: Insn) -> Value:
    if insn.src == 0:
        return exactly(insn.imm64)
    if insn.src == SRC_FUNCTION:
        return (FUNCTION, local_target(pc, insn), const(0))
    name = a.program.map_refs.get(pc)
    if insn.src not in (SRC_MAP, SRC_MAP_VALUE, SRC_MAP_INDEX, SRC_VALUE_INDEX):
        a.refuse(state, pc, "ld_imm64 of a platform variable is not supported")
    if name is None or name not in a.maps:
        a.refuse(state, pc, f"no map {name or insn.imm} is known to this program")
    if insn.src in (SRC_MAP, SRC_MAP_INDEX):
        return (MAP, name, const(0))
    spec = a.spec(name)
    offset = insn.high & 0xFFFFFFFF
    if spec.kind != MapKind.ARRAY:
        a.refuse(state, pc, f"only values of an array map have a constant address; '{name}' is none")
    if offset >= spec.value_size * spec.max_entries:
        a.refuse(state, pc, f"offset {offset} is outside of the {spec.value_size} bytes of '{name}'")
    return (MEMORY, a.value_region(spec, SECTION), const(offset))


def _legacy(a: Analysis, state: State, pc: int, insn: Insn) -> None:
    """Packet loads of classic BPF: out of range they end the program with 0."""
    context = a.register(state, pc, 6)
    if context[0] != INPUT or context[2] != const(0) or state.depth or state.refs or state.lock:
        a.unsupported(state, pc, "packet loads (ld_abs, ld_ind) need r6 to hold the input of `run`")
    if insn.op >= 0x40 and a.register(state, pc, insn.src)[0] != SCALAR:
        a.refuse(state, pc, f"r{insn.src} is not a number")
    size = insn.size
    a.facts.access(pc, Fact(Proof.GUARDED, size, None, 0, INPUT_BASE, -1, ""), True)
    a.facts.results.add(0)
    state.regs[0] = (SCALAR, 0, bits(8 * size))
    state.regs[1:6] = [None] * 5


# --- accesses


def read(a: Analysis, state: State, pc: int, base: Value, insn: Insn) -> Value:
    """Check a load through `base` at the instruction's offset and give what is read."""
    tag, ident, number = base
    size = insn.size
    offset = alu(ADD, 64, number, const(insn.off)) if insn.off else number
    if tag == STACK and isinstance(ident, int):
        _record(a, state, pc, _on_stack(a, state, pc, (ident, offset, size)), True)
        return _from_stack(a, state, pc, (ident, offset, size))
    if tag == MEMORY and isinstance(ident, Region):
        _record(a, state, pc, _in_region(a, state, pc, (ident, offset, size), True), True)
        return _constant_data(a, ident, offset, size)
    if tag == CONTEXT:
        _record(a, state, pc, _in_context(a, state, pc, offset, size), True)
    elif tag == INPUT:
        _record(
            a, state, pc, _in_input(state, size, _offset(offset)) or _FAULT_SAFE._replace(size=size), True
        )
    elif tag == SCALAR:
        _record(a, state, pc, _FAULT_SAFE._replace(size=size), True)
    else:
        _refuse_base(a, state, pc, base)
    return ANY if size == 8 else (SCALAR, 0, bits(8 * size))


def write(a: Analysis, state: State, pc: int, base: Value, insn: Insn, value: Value | None) -> None:
    """Check a store through `base`; `value` None is one that is not known."""
    tag, ident, number = base
    size = insn.size
    offset = alu(ADD, 64, number, const(insn.off)) if insn.off else number
    if tag == STACK and isinstance(ident, int):
        _record(a, state, pc, _on_stack(a, state, pc, (ident, offset, size)), False)
        lo, hi = signed64(offset)
        frame = state.frames[ident]
        if lo == hi:
            state.set_frame(ident, store(frame, lo, size, value))
        else:
            state.set_frame(ident, clobber(frame, lo, hi + size, False))
    elif tag == MEMORY and isinstance(ident, Region):
        if not ident.writable:
            a.refuse(state, pc, f"writes to read-only {_region_text(ident)}")
        _record(a, state, pc, _in_region(a, state, pc, (ident, offset, size), False), False)
    elif tag == CONTEXT:
        _write_context(a, state, pc, offset, size)
    elif tag == INPUT:
        fact = _in_input(state, size, _offset(offset))
        if fact is None:
            a.refuse(state, pc, "writes to the input memory are checked only in the program itself")
        _record(a, state, pc, fact, False)
    elif tag == SCALAR:
        a.refuse(state, pc, "writes to an address that is not known to be valid", "use bpf_probe_write_user")
    else:
        _refuse_base(a, state, pc, base)


def _record(a: Analysis, state: State, pc: int, fact: Fact, is_load: bool) -> None:
    try:
        a.facts.access(pc, fact, is_load)
    except Mixed:
        a.refuse(state, pc, "accesses different kinds of memory on different paths")


def _refuse_base(a: Analysis, state: State, pc: int, base: Value) -> None:
    tag, ident, _ = base
    if tag in (MAYBE_MEMORY, MAYBE_MAP) and isinstance(ident, Region):
        made = ident.origin[0][-1] if ident.origin else pc
        a.refuse(
            state,
            pc,
            f"the pointer may be NULL: the result of the call at {a.place(made)} was not checked",
            "if (!pointer) return 0;",
        )
    a.refuse(state, pc, f"{KNOWN_NAMES[tag]} is not memory that can be accessed")


def _offset(number: Number) -> int | None:
    lo, hi = signed64(number)
    return lo if lo == hi else None


def _on_stack(a: Analysis, state: State, pc: int, where: tuple[int, Number, int]) -> Fact:
    index, number, size = where
    lo, hi = signed64(number)
    if lo < -STACK_BYTES or hi > -size:
        text = f"{lo}" if lo == hi else f"{lo} to {hi}"
        a.refuse(state, pc, f"accesses {size} bytes at {text} of the stack, which has offsets -512 to -1")
    a.facts.uses_stack(state.frames[index].entry, lo)
    offset = lo if lo == hi else None
    return Fact(Proof.STACK, size, offset, state.depth - index, NO_ORIGIN, 0, "")


def _from_stack(a: Analysis, state: State, pc: int, where: tuple[int, Number, int]) -> Value:
    index, number, size = where
    frame = state.frames[index]
    lo, hi = signed64(number)
    wanted = bytes_mask(lo, hi - lo + size)
    if frame.init & wanted != wanted:
        missing = wanted & ~frame.init
        first = (missing & -missing).bit_length() - 1 - STACK_BYTES
        a.refuse(state, pc, f"reads the stack at {first}, which was never written", "initialise the variable")
    if lo == hi:
        return load(frame, lo, size)
    return ANY if size == 8 else (SCALAR, 0, bits(8 * size))


def _in_region(a: Analysis, state: State, pc: int, where: tuple[Region, Number, int], is_load: bool) -> Fact:
    region, number, size = where
    lo, hi = signed64(number)
    origin = region_origin(region, state.depth)
    bound = region.size
    if region.origin == SECTION:
        bound *= a.spec(region.map).max_entries
    if lo >= 0 and hi + size <= bound:
        return Fact(Proof.PLAIN, size, lo if lo == hi else None, 0, origin, bound, _value_of(region))
    if lo > bound - size or hi < 0:
        text = f"bytes {lo}..{lo + size - 1}" if lo == hi else f"bytes from {lo} to {hi + size - 1}"
        verb = "reads" if is_load else "writes"
        a.refuse(state, pc, f"{verb} {text} of the {bound}-byte {_region_text(region)}")
    if origin == NO_ORIGIN:
        if is_load:
            return _FAULT_SAFE._replace(size=size)
        a.refuse(
            state,
            pc,
            f"may write outside of the {bound}-byte {_region_text(region)}, and its start is not known here",
            "check the index before the access",
        )
    _warn_guarded(a, pc, region, (lo, hi), size)
    return Fact(Proof.GUARDED, size, lo if lo == hi else None, 0, origin, bound, _value_of(region))


def _warn_guarded(a: Analysis, pc: int, region: Region, ends: tuple[int, int], size: int) -> None:
    first = "anything" if ends[0] < -(1 << 31) else str(ends[0])
    last = "anything" if ends[1] >= 1 << 31 else str(ends[1] + size - 1)
    a.facts.warnings[pc] = (
        f"{a.span(pc) or f'insn {pc}'}: may access bytes {first} to {last} of the {region.size}-byte "
        f"{_region_text(region)}; checked at run time"
    )


def region_origin(region: Region, depth: int) -> int:
    """Instruction whose result is the region's base, as seen from a function at call depth `depth`."""
    if region.origin == SECTION:
        return FIRST_VALUE
    if region.origin is None or region.origin[1] != depth or len(region.origin[0]) > 1:
        return NO_ORIGIN
    return region.origin[0][0]


def _value_of(region: Region) -> str:
    return region.map if region.kind is RegionKind.VALUE else ""


def _region_text(region: Region) -> str:
    return f"{region.kind.value} of '{region.map}'" if region.map else region.kind.value


def _constant_data(a: Analysis, region: Region, number: Number, size: int) -> Value:
    """What a load gives: the bytes themselves where the map is a read-only data section."""
    lo, hi = signed64(number)
    if region.kind is RegionKind.VALUE and lo == hi and region.origin == SECTION:
        spec = a.spec(region.map)
        data = spec.initial
        if spec.flags & READ_ONLY and data is not None and lo >= 0 and lo + size <= len(data):
            return exactly(int.from_bytes(data[lo : lo + size], "little"))
    return ANY if size == 8 else (SCALAR, 0, bits(8 * size))


def _in_context(a: Analysis, state: State, pc: int, number: Number, size: int) -> Fact:
    limit = a.layout.size if a.layout else 0
    lo, hi = signed64(number)
    if not limit and not (a.layout and a.layout.words):
        a.refuse(state, pc, f"programs of kind {a.program.context.value} have no context to read")
    if a.layout is not None and not a.layout.may_read(lo, hi, size):
        a.refuse(state, pc, f"reads bytes {lo}..{hi + size - 1} of the context, which has {limit} bytes")
    if (number[4] | number[5]) & (size - 1):
        a.refuse(
            state, pc, f"reads {size} bytes of the context at an offset that is not a multiple of {size}"
        )
    return Fact(Proof.CONTEXT, size, lo if lo == hi else None, 0, NO_ORIGIN, 0, "")


def _write_context(a: Analysis, state: State, pc: int, number: Number, size: int) -> None:
    lo, hi = signed64(number)
    if lo != hi or a.layout is None or not a.layout.may_write(lo, size):
        a.refuse(state, pc, "writes to the context, which is read-only")
    _record(a, state, pc, Fact(Proof.CONTEXT, size, lo, 0, NO_ORIGIN, 0, ""), False)


def _in_input(state: State, size: int, offset: int | None) -> Fact | None:
    if state.depth:
        return None
    return Fact(Proof.GUARDED, size, offset, 0, INPUT_BASE, -1, "")


# --- atomics


def _atomic(a: Analysis, state: State, pc: int, insn: Insn) -> None:
    pointer = insn.src if insn.imm == LOAD_ACQUIRE else insn.dst
    base = a.register(state, pc, pointer)
    _check_atomic(a, state, pc, base, insn)
    if insn.imm == LOAD_ACQUIRE:
        _write(a, state, pc, insn.dst, read(a, state, pc, base, insn))
        return
    value = a.register(state, pc, insn.src)
    if insn.imm == STORE_RELEASE:
        write(a, state, pc, base, insn, value)
        return
    if insn.imm == CMPXCHG:
        a.register(state, pc, 0)
    read(a, state, pc, base, insn)
    write(a, state, pc, base, insn, None)
    old = (SCALAR, 0, bits(8 * insn.size))
    if insn.imm == CMPXCHG:
        state.regs[0] = old
    elif insn.imm & FETCH or insn.imm == XCHG:
        _write(a, state, pc, insn.src, old)


def _check_atomic(a: Analysis, state: State, pc: int, base: Value, insn: Insn) -> None:
    if base[0] not in (STACK, MEMORY, INPUT):
        if base[0] in (MAYBE_MEMORY, MAYBE_MAP):
            _refuse_base(a, state, pc, base)
        a.refuse(state, pc, f"atomic operation on {KNOWN_NAMES[base[0]]}")
    if base[0] == INPUT and state.depth:
        a.refuse(state, pc, "atomic operations on the input memory are checked only in the program itself")
    offset = alu(ADD, 64, base[2], const(insn.off))
    if (offset[4] | offset[5]) & (insn.size - 1):
        a.refuse(
            state, pc, f"atomic operation on {insn.size} bytes at an address that is not a multiple of it"
        )
    if base[0] == MEMORY and isinstance(base[1], Region) and region_origin(base[1], state.depth) == NO_ORIGIN:
        _refuse_unless_inside(a, state, pc, base[1], (offset, insn.size))


def _refuse_unless_inside(
    a: Analysis, state: State, pc: int, region: Region, where: tuple[Number, int]
) -> None:
    lo, hi = signed64(where[0])
    if lo < 0 or hi + where[1] > region.size:
        a.refuse(state, pc, f"atomic operation that may be outside of the {_region_text(region)}")
