"""Helper calls: arguments against the signatures of `runtime/helpers/table.py`, and what comes back."""

from __future__ import annotations

from runtime.errors import Bug
from runtime.helpers.table import Arg, Helper, Result
from runtime.maps.spec import MapSpec
from runtime.verify.analysis import READ_ONLY, Analysis, forget_results, release
from runtime.verify.number import const, signed, signed64, unsigned
from runtime.verify.result import Call
from runtime.verify.state import STACK_BYTES, Frame, Register, State, bytes_mask, clobber
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
    PID_TGID,
    SCALAR,
    STACK,
    TID,
    Origin,
    Region,
    RegionKind,
    Value,
    constant_of,
    copies_of,
    is_null,
    scalar,
)

LOOP, FOR_EACH, TAIL_CALL, LOCK, UNLOCK = 181, 164, 12, 93, 94
MAX_LOOPS = 1 << 23
MAX_FRAME = 1 << 20  # bytes of scratch memory (helper 100000)
MAX_RECORD = 1 << 29
_POINTER_RESULTS = (Result.VALUE_OR_NULL, Result.RECORD_OR_NULL, Result.MEMORY_OR_NULL)
_OUTER = (12, 13)
_READS, _WRITES = 1, 2


class Args:
    """The arguments of one call, while they are checked."""

    __slots__ = ("a", "helper", "map", "pc", "state")

    def __init__(self, a: Analysis, state: State, pc: int, helper: Helper) -> None:
        self.a, self.state, self.pc, self.helper = a, state, pc, helper
        self.map: MapSpec | None = None

    def refuse(self, number: int, text: str, hint: str = "") -> None:
        """Refuse argument `number` (1-based)."""
        self.a.refuse(self.state, self.pc, f"bpf_{self.helper.name}(): argument {number} {text}", hint)

    def value(self, number: int) -> Value:
        """The value of an argument."""
        return self.a.register(self.state, self.pc, number)

    def spec(self, number: int) -> MapSpec:
        """The map that argument `number` belongs to."""
        if self.map is None:
            raise Bug(f"argument {number} of {self.helper.name} has no map before it")
        return self.map


def check(a: Analysis, state: State, pc: int, number: int) -> Call:
    """Check the arguments of a helper call and apply what the helper does to memory.

    Raises:
        Refused: an argument does not fit. Unsupported: the helper cannot be served.
    """
    helper = a.helpers.get(number)
    if helper is None:
        a.unsupported(state, pc, a.reason(number))
    if state.lock and number != UNLOCK:
        a.refuse(state, pc, f"bpf_{helper.name}() is called while a spin lock is held")
    args = Args(a, state, pc, helper)
    for position, kind in enumerate(helper.args, 1):
        _ARGUMENTS[kind](args, position)
    call = _call_fact(args)
    for position, kind in enumerate(helper.args, 1):
        if kind in _WRITTEN:
            _written(args, position, kind)
    if helper.needs:
        a.facts.needs.add(helper.needs)
    if number == TAIL_CALL and state.refs:
        a.refuse(state, pc, "a ring-buffer record is open at a tail call")
    if Arg.RECORD in helper.args:
        _release(args, helper.args.index(Arg.RECORD) + 1)
    if number in (LOCK, UNLOCK):
        _lock(args, number == LOCK)
    return call


def returned(a: Analysis, state: State, pc: int, number: int) -> State:
    """The state after the call: r0 as the signature says, r1-r5 gone."""
    helper = a.helpers[number]
    out = state.copy()
    if helper.result in _POINTER_RESULTS:
        forget_results(a, out, pc)
        result = _pointer_result(a, state, out, pc, helper)
    else:
        result = _number_result(state, helper)
    out.regs[:6] = [result, None, None, None, None, None]
    return out


def most_loops(count: Value) -> int:
    """How often `loop` may run its callback for a u32 count, at least 1; higher counts are an error."""
    hi = count[2][1] if count[0] == SCALAR else MAX_LOOPS
    return min(max(hi, 1), MAX_LOOPS)


def callback_arguments(a: Analysis, state: State, pc: int, number: int) -> tuple[Register, ...]:
    """r1 and so on at the start of the callback."""
    if number == LOOP:
        return (scalar(unsigned(0, most_loops(a.register(state, pc, 1)) - 1)), state.regs[3])
    spec = a.spec(_map_name(a.register(state, pc, 1)))
    key = Region(RegionKind.KEY, spec.name, spec.key_size, False, None)
    value = a.value_region(spec, None)
    return ((MAP, spec.name, const(0)), (MEMORY, key, const(0)), (MEMORY, value, const(0)), state.regs[3])


# --- arguments


def _any(args: Args, number: int) -> None:
    args.value(number)


def _optional(args: Args, number: int) -> None:
    del args, number


def _context(args: Args, number: int) -> None:
    tag, _, offset = args.value(number)
    if tag not in (CONTEXT, INPUT) or offset != const(0):
        args.refuse(number, f"must be the context, not {KNOWN_NAMES[tag]}")


def _map(args: Args, number: int) -> None:
    value = args.value(number)
    if value[0] == MAYBE_MAP:
        args.refuse(number, "is an inner map that may be NULL", "if (!map) return 0;")
    if value[0] != MAP:
        args.refuse(number, f"must be a map, not {KNOWN_NAMES[value[0]]}")
    spec = args.a.spec(_map_name(value))
    kinds = args.helper.kinds
    if kinds and spec.kind not in kinds:
        args.refuse(number, f"cannot be the map '{spec.name}': wrong type of map ({spec.kind})")
    args.map = spec


def _map_name(value: Value) -> str:
    return str(value[1])


def _key(args: Args, number: int) -> None:
    _memory(args, number, args.spec(number).key_size, _READS)


def _value(args: Args, number: int) -> None:
    spec = args.spec(number)
    if spec.flags & READ_ONLY:
        args.refuse(number, f"cannot be stored: the map '{spec.name}' is read-only")
    _memory(args, number, spec.value_size, _READS)


def _value_or_null(args: Args, number: int) -> None:
    if not is_null(args.value(number)):
        _value(args, number)


def _value_out(args: Args, number: int) -> None:
    _memory(args, number, args.spec(number).value_size, _WRITES)


def _fixed_read(args: Args, number: int) -> None:
    _memory(args, number, args.helper.fixed[number], _READS)


def _fixed_write(args: Args, number: int) -> None:
    _memory(args, number, args.helper.fixed[number], _WRITES)


def _fixed_change(args: Args, number: int) -> None:
    _memory(args, number, args.helper.fixed[number], _READS | _WRITES)


def _read(args: Args, number: int) -> None:
    _memory(args, number, _most(args, number), _READS)


def _write(args: Args, number: int) -> None:
    _memory(args, number, _most(args, number), _WRITES)


def _read_or_null(args: Args, number: int) -> None:
    if not is_null(args.value(number)) or _most(args, number):
        _read(args, number)


def _write_or_null(args: Args, number: int) -> None:
    if not is_null(args.value(number)) or _most(args, number):
        _write(args, number)


def _most(args: Args, number: int) -> int:
    """The largest size that a memory argument may have."""
    at = args.helper.size_of(number)
    _size_or_zero(args, at)
    return args.value(at)[2][1]


def _size(args: Args, number: int) -> None:
    _size_or_zero(args, number)
    if args.value(number)[2][0] == 0:
        args.refuse(number, "is a size that may be 0", "test it before the call")


def _size_or_zero(args: Args, number: int) -> None:
    value = args.value(number)
    if value[0] != SCALAR:
        args.refuse(number, f"must be a size, not {KNOWN_NAMES[value[0]]}")
    if signed64(value[2])[0] < 0:
        args.refuse(
            number, "is a size that may be negative", "test it before the call, or use an unsigned type"
        )
    if value[2][1] >= MAX_RECORD:
        args.refuse(number, "is a size without a known limit", "limit it with & or a comparison")


def _string(args: Args, number: int) -> None:
    tag, ident, offset = args.value(number)
    if tag == MEMORY and isinstance(ident, Region) and ident.kind is RegionKind.VALUE:
        spec = args.a.spec(ident.map)
        lo, hi = signed64(offset)
        if spec.flags & READ_ONLY and spec.initial and lo == hi and lo >= 0 and 0 in spec.initial[lo:]:
            return
    args.refuse(number, "must be a constant string", "use a string literal or a const array")


def _record(args: Args, number: int) -> None:
    tag, ident, offset = args.value(number)
    if tag == MAYBE_MEMORY:
        args.refuse(number, "may be NULL", "if (!record) return 0;")
    if tag != MEMORY or not isinstance(ident, Region) or ident.origin not in args.state.refs:
        args.refuse(number, "must be a ring-buffer record that is still open")
    if offset != const(0):
        args.refuse(number, "must be the start of the ring-buffer record")


def _callback(args: Args, number: int) -> None:
    tag = args.value(number)[0]
    if tag != FUNCTION:
        args.refuse(number, f"must be a function of the program, not {KNOWN_NAMES[tag]}")


def _lock_argument(args: Args, number: int) -> None:
    tag, ident, offset = args.value(number)
    lo, hi = signed64(offset)
    if (
        tag != MEMORY
        or not isinstance(ident, Region)
        or ident.kind is not RegionKind.VALUE
        or lo != hi
        or lo % 4
    ):
        args.refuse(number, "must be a bpf_spin_lock in a map value")
    _memory(args, number, 4, _READS | _WRITES)


def _const(args: Args, number: int) -> None:
    limit = MAX_RECORD if Arg.MAP in args.helper.args else MAX_FRAME
    size = constant_of(args.value(number))
    if size is None:
        args.refuse(number, "must be a constant")
    elif not 0 < size <= limit:
        args.refuse(number, f"is {size}, which is not a size from 1 to {limit}")


_ARGUMENTS = {
    Arg.ANY: _any,
    Arg.OPTIONAL: _optional,
    Arg.CONTEXT: _context,
    Arg.MAP: _map,
    Arg.KEY: _key,
    Arg.VALUE: _value,
    Arg.VALUE_OR_NULL: _value_or_null,
    Arg.VALUE_OUT: _value_out,
    Arg.READ: _read,
    Arg.READ_OR_NULL: _read_or_null,
    Arg.WRITE: _write,
    Arg.WRITE_OR_NULL: _write_or_null,
    Arg.READ_FIXED: _fixed_read,
    Arg.WRITE_FIXED: _fixed_write,
    Arg.CHANGE_FIXED: _fixed_change,
    Arg.SIZE: _size,
    Arg.SIZE_OR_ZERO: _size_or_zero,
    Arg.STRING: _string,
    Arg.RECORD: _record,
    Arg.CALLBACK: _callback,
    Arg.CALLBACK_DATA: _any,
    Arg.LOCK: _lock_argument,
    Arg.CONST: _const,
}
_WRITTEN = frozenset((Arg.WRITE, Arg.WRITE_OR_NULL, Arg.WRITE_FIXED, Arg.CHANGE_FIXED, Arg.VALUE_OUT))


# --- memory


def _memory(args: Args, number: int, size: int, how: int) -> None:
    """Check that an argument points to `size` bytes that may be read or written."""
    value = args.value(number)
    tag, ident, offset = value
    if size == 0 and tag not in (MAYBE_MEMORY, MAYBE_MAP):
        return
    lo, hi = signed64(offset)
    if tag == STACK and isinstance(ident, int):
        _stack_memory(args, number, (ident, lo, hi + size), how)
    elif tag == MEMORY and isinstance(ident, Region):
        if how & _WRITES and not ident.writable:
            args.refuse(number, f"is read-only {ident.kind.value}")
        if lo < 0 or hi + size > ident.size:
            args.refuse(
                number,
                f"is {size} bytes at offset {lo if lo == hi else f'{lo} to {hi}'} of {ident.size} bytes",
                "limit the size or the index before the call",
            )
    elif tag == MAYBE_MEMORY:
        args.refuse(number, "may be NULL", "if (!pointer) return 0;")
    else:
        args.refuse(
            number,
            f"must be memory of known size, not {KNOWN_NAMES[tag]}",
            "copy it to the stack with bpf_probe_read_user() first" if how == _READS else "",
        )


def _stack_memory(args: Args, number: int, where: tuple[int, int, int], how: int) -> None:
    index, start, end = where
    if start < -STACK_BYTES or end > 0:
        args.refuse(number, f"covers offsets {start} to {end} of the stack, which has -512 to -1")
    frame = args.state.frames[index]
    args.a.facts.uses_stack(frame.entry, start)
    wanted = bytes_mask(start, end - start)
    if how & _READS and frame.init & wanted != wanted:
        missing = wanted & ~frame.init
        first = (missing & -missing).bit_length() - 1 - STACK_BYTES
        args.refuse(number, f"is read, but the stack at {first} was never written", "initialise the variable")


def _written(args: Args, number: int, kind: Arg) -> None:
    """The helper wrote to an argument: what the stack held there is not known any more."""
    tag, ident, offset = args.value(number)
    if tag != STACK or not isinstance(ident, int):
        return
    size = _written_size(args, number, kind)
    if size:
        lo, hi = signed64(offset)
        frame = args.state.frames[ident]
        args.state.set_frame(ident, _filled(frame, lo, hi, size))


def _filled(frame: Frame, lo: int, hi: int, size: int) -> Frame:
    if lo == hi:
        return clobber(frame, lo, lo + size, True)
    return clobber(frame, lo, hi + size, False)


def _written_size(args: Args, number: int, kind: Arg) -> int:
    if kind is Arg.VALUE_OUT:
        return args.spec(number).value_size
    if kind in (Arg.WRITE_FIXED, Arg.CHANGE_FIXED):
        return args.helper.fixed[number]
    return _most(args, number)


def _release(args: Args, number: int) -> None:
    ident = args.value(number)[1]
    if isinstance(ident, Region):
        release(args.state, ident)


def _lock(args: Args, take: bool) -> None:
    if args.state.lock == take:
        args.refuse(1, "is already held" if take else "is not held")
    args.state.lock = take


# --- facts and results


def _ignores(helper: Helper, number: int) -> bool:
    return helper.args[number - 1] is Arg.CONTEXT and helper.ignores_context


def _call_fact(args: Args) -> Call:
    state, helper = args.state, args.helper
    constants: dict[int, int] = {}
    stack: dict[int, int] = {}
    contexts = set()
    callback = -1
    for number in range(1, len(helper.args) + 1):
        value = state.regs[number]
        if value is None:
            continue
        lo, hi = signed64(value[2])
        if value[0] == SCALAR and value[2][0] == value[2][1]:
            constants[number] = value[2][0]
        elif value[0] == STACK and value[1] == state.depth and lo == hi:
            stack[number] = lo
        elif value[0] == CONTEXT or (value[0] == INPUT and _ignores(helper, number)):
            contexts.add(number)  # also a pointer into it: the helper reads there
        elif helper.args[number - 1] is Arg.CALLBACK and isinstance(value[1], int):
            callback = value[1]
    key, is_tid = _key_fact(args)
    name = args.map.name if args.map else ""
    return Call(helper.id, name, constants, stack, frozenset(contexts), is_tid, callback, key)


def _key_fact(args: Args) -> tuple[bytes | None, bool]:
    """The map key when constant, and whether it consists of the thread id and constants only."""
    if Arg.KEY not in args.helper.args or args.map is None:
        return None, False
    tag, ident, offset = args.value(args.helper.args.index(Arg.KEY) + 1)
    lo, hi = signed64(offset)
    if tag != STACK or not isinstance(ident, int) or lo != hi:
        return None, False
    slots = args.state.frames[ident].slots
    at, end, key, tid = lo, lo + args.map.key_size, b"", False
    while at < end:
        size, value = slots.get(at, (0, ANY))
        number = constant_of(value)
        is_thread = copies_of(value) in (TID, PID_TGID)
        if not size or at + size > end or (number is None and not is_thread):
            return None, False
        tid |= is_thread
        key += (number or 0).to_bytes(8, "little")[:size]
        at += size
    return (None, True) if tid else (key, False)


def _number_result(state: State, helper: Helper) -> Value:
    if helper.result is Result.THREAD:
        return (SCALAR, PID_TGID, ANY[2])
    if helper.result is Result.BOUNDED:
        return scalar(unsigned(0, helper.most))
    if helper.result is Result.LENGTH:
        size = state.regs[helper.length_of]
        return scalar(signed(-4095, size[2][1] if size else MAX_RECORD))
    return ANY


def _pointer_result(a: Analysis, before: State, after: State, pc: int, helper: Helper) -> Value:
    origin: Origin = ((pc,), before.depth)
    if helper.result is Result.VALUE_OR_NULL:
        return _looked_up(a, a.spec(_map_name(a.register(before, pc, 1))), origin)
    if helper.result is Result.RECORD_OR_NULL:
        size = constant_of(a.register(before, pc, 2)) or 0
        name = _map_name(a.register(before, pc, 1))
        after.refs |= {origin}
        return (MAYBE_MEMORY, Region(RegionKind.RECORD, name, size, True, origin), const(0))
    size = constant_of(a.register(before, pc, 1)) or 0
    return (MAYBE_MEMORY, Region(RegionKind.SCRATCH, "", size, True, origin), const(0))


def _looked_up(a: Analysis, spec: MapSpec, origin: Origin) -> Value:
    if spec.kind in _OUTER and spec.inner is not None:
        return (MAYBE_MAP, Region(RegionKind.MAP, spec.inner.name, 0, False, origin), const(0))
    return (MAYBE_MEMORY, a.value_region(spec, origin), const(0))
