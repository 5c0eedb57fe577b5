"""Control flow: comparisons, exits, calls of subprograms and of callbacks."""

from __future__ import annotations

from runtime.ebpf.insn import (
    CALL,
    CALL_HELPER,
    CALL_KFUNC,
    EXIT,
    JA,
    JCOND,
    JEQ,
    JMP,
    JNE,
    OP_CALLX,
    OP_GOTOL,
    OP_JA,
    Insn,
)
from runtime.verify import calls
from runtime.verify.analysis import Analysis, forget_results, learn_null, leave
from runtime.verify.branches import OPPOSITE, refine
from runtime.verify.facts import Mixed
from runtime.verify.flow import local_target
from runtime.verify.number import Number, const, signed64
from runtime.verify.result import Call
from runtime.verify.state import Frame, Register, State, Trail
from runtime.verify.value import (
    ANY,
    FUNCTION,
    MAP,
    MAYBE_MAP,
    MAYBE_MEMORY,
    MEMORY,
    SCALAR,
    STACK,
    Value,
    constant_of,
    copies_of,
    exactly,
    is_null,
)

MAX_FRAMES = 8
Edges = list[tuple[int, State]]
_NEVER_NULL = frozenset((STACK, MEMORY, MAP, FUNCTION))
_NEAR = 1 << 29  # a pointer that moved less than this from its base is not 0


def step(a: Analysis, state: State, pc: int, insn: Insn) -> Edges:
    """Interpret one instruction of the classes JMP and JMP32: where control may go, and with what state."""
    op = insn.op >> 4
    if insn.op == OP_JA:
        return [(pc + 1 + insn.off, state)]
    if insn.op == OP_GOTOL:
        return [(pc + 1 + insn.imm, state)]
    if op == EXIT:
        return _exit(a, state, pc)
    if op == CALL:
        return _call(a, state, pc, insn)
    if op == JCOND:
        return [(pc + 1, state), (pc + 1 + insn.off, state.copy())]
    assert op != JA
    return _compare(a, state, pc, insn)


# --- comparisons


def _compare(a: Analysis, state: State, pc: int, insn: Insn) -> Edges:
    left = a.register(state, pc, insn.dst)
    right = a.register(state, pc, insn.src) if insn.op & 8 else exactly(insn.imm)
    op, width = insn.op >> 4, 64 if insn.kind == JMP else 32
    if left[0] == SCALAR and right[0] == SCALAR:
        taken = _refined(state, (op, width), insn, (left, right))
        passed = _refined(state, (OPPOSITE[op], width), insn, (left, right))
    else:
        taken, passed = _pointers(state, (op, width), left, right)
    seen = (taken is not None) * 2 | (passed is not None)
    a.facts.outcomes[pc] = a.facts.outcomes.get(pc, 0) | seen
    edges: Edges = []
    for to, after in ((pc + 1, passed), (pc + 1 + insn.off, taken)):
        if after is not None:
            if seen == 3:
                after.trail = Trail(pc, state.trail)
            edges.append((to, after))
    return edges


def _refined(state: State, test: tuple[int, int], insn: Insn, pair: tuple[Value, Value]) -> State | None:
    left, right = pair
    numbers = refine(test[0], test[1], left[2], right[2])
    if numbers is None:
        return None
    out = state.copy()
    _learn(out, insn.dst, left, numbers[0])
    if insn.op & 8:
        _learn(out, insn.src, right, numbers[1])
    return out


def _learn(state: State, register: int, old: Value, number: Number) -> None:
    if number == old[2]:
        return
    ident = copies_of(old)
    if not ident:
        state.regs[register] = (SCALAR, 0, number)
        return
    new = (SCALAR, ident, number)

    def change(value: Value) -> Value:
        return new if copies_of(value) == ident else value

    state.rewrite(change)


def _pointers(
    state: State, test: tuple[int, int], left: Value, right: Value
) -> tuple[State | None, State | None]:
    """States where a comparison with a pointer holds, and where it does not."""
    op, width = test
    if is_null(left):
        left, right = right, left
    if width == 64 and op in (JEQ, JNE) and is_null(right):
        null, other = _null_states(state, left)
        return (null, other) if op == JEQ else (other, null)
    return state.copy(), state.copy()


def _null_states(state: State, pointer: Value) -> tuple[State | None, State | None]:
    if pointer[0] in (MAYBE_MEMORY, MAYBE_MAP):
        null, other = state.copy(), state.copy()
        learn_null(null, pointer, True)
        learn_null(other, pointer, False)
        return null, other
    lo, hi = signed64(pointer[2])
    if pointer[0] in _NEVER_NULL and lo > -_NEAR and hi < _NEAR:
        return None, state.copy()
    return state.copy(), state.copy()


# --- calls and exits


def _call(a: Analysis, state: State, pc: int, insn: Insn) -> Edges:
    if insn.op == OP_CALLX:
        return _call_register(a, state, pc, insn)
    if insn.src == CALL_HELPER:
        return _helper(a, state, pc, insn.imm)
    if insn.src == CALL_KFUNC:
        a.unsupported(state, pc, "kernel functions (kfuncs) cannot be called in user space")
    return _enter(a, state, pc, local_target(pc, insn))


def _call_register(a: Analysis, state: State, pc: int, insn: Insn) -> Edges:
    number = insn.dst or insn.imm
    value = a.register(state, pc, number)
    if value[0] == FUNCTION and isinstance(value[1], int):
        _record(a, state, pc, Call(0, callback=value[1]))
        return _enter(a, state, pc, value[1])
    helper = constant_of(value)
    if helper is None:
        a.refuse(state, pc, f"r{number} is called, but which function it names is not known")
    return _helper(a, state, pc, helper)


def _record(a: Analysis, state: State, pc: int, call: Call) -> None:
    try:
        a.facts.call(pc, call)
    except Mixed:
        a.refuse(state, pc, "calls with different maps or functions on different paths")


def _helper(a: Analysis, state: State, pc: int, number: int) -> Edges:
    call = calls.check(a, state, pc, number)
    _record(a, state, pc, call)
    after = calls.returned(a, state, pc, number)
    edges = [(pc + 1, after)]
    if call.callback >= 0:
        arguments = calls.callback_arguments(a, state, pc, number)
        _check_depth(a, state, pc, call.callback)
        state.regs[6:10] = [_if_live(a, state, pc, saved) for saved in range(6, 10)]
        edges.append(_with_callback(state, pc, call.callback, arguments))
    return edges


def _enter(a: Analysis, state: State, pc: int, target: int) -> Edges:
    _check_depth(a, state, pc, target)
    forget_results(a, state, pc)
    saved = tuple(_if_live(a, state, pc, number) for number in range(6, 10))
    state.frames = (*state.frames, Frame(target, pc, saved=saved))
    state.regs[0] = None
    state.regs[6:] = [None, None, None, None, _frame_pointer(state.depth)]
    return [(target, state)]


def _if_live(a: Analysis, state: State, pc: int, register: int) -> Register:
    return state.regs[register] if a.flow.live.get(pc + 1, 0x3FF) >> register & 1 else None


def _frame_pointer(depth: int) -> Value:
    return (STACK, depth, const(0))


def _check_depth(a: Analysis, state: State, pc: int, target: int) -> None:
    if any(frame.entry == target for frame in state.frames):
        a.refuse(state, pc, f"recursion: the function at insn {target} calls itself")
    if len(state.frames) >= MAX_FRAMES:
        a.refuse(state, pc, f"calls nest deeper than {MAX_FRAMES} functions")
    if state.lock:
        a.refuse(state, pc, "a function is called while a spin lock is held")


def _exit(a: Analysis, state: State, pc: int) -> Edges:
    frame = state.frames[-1]
    if state.depth:
        return _return_from_callback(a, state, pc) if frame.callback else _return(state, frame)
    result = a.register(state, pc, 0)
    if state.refs:
        made = min(state.refs)[0][-1]
        a.refuse(
            state,
            pc,
            f"the ring-buffer record of {a.place(made)} is neither submitted nor discarded on this path",
            "call bpf_ringbuf_submit() or bpf_ringbuf_discard() on every path",
        )
    if state.lock:
        a.refuse(state, pc, "a spin lock is still held at the end of the program")
    a.facts.results.add(constant_of(result))
    return []


def _popped(state: State, frame: Frame, result: Register) -> None:
    depth = state.depth
    state.frames = state.frames[:-1]
    state.regs = [result, None, None, None, None, None, *frame.saved, _frame_pointer(depth - 1)]
    leave(state, frame.call, depth)


def _return(state: State, frame: Frame) -> Edges:
    _popped(state, frame, state.regs[0])
    return [(frame.call + 1, state)]


def _return_from_callback(a: Analysis, state: State, pc: int) -> Edges:
    frame = state.frames[-1]
    result = a.register(state, pc, 0)
    if result[0] != SCALAR or result[2][1] > 1:
        a.refuse(state, pc, "a callback must return 0 (continue) or 1 (stop)")
    if state.refs != frame.refs or state.lock:
        a.refuse(state, pc, "a callback must submit or discard the records that it reserves, and unlock")
    _popped(state, frame, ANY)
    edges = [(frame.call + 1, state)]
    if result[2][0] == 0:
        edges.append(_with_callback(state, frame.call, frame.entry, frame.callback))
    return edges


def _with_callback(state: State, pc: int, target: int, arguments: tuple[Register, ...]) -> tuple[int, State]:
    out = state.copy()
    frame = Frame(target, pc, saved=tuple(state.regs[6:10]), callback=arguments, refs=state.refs)
    out.frames = (*out.frames, frame)
    out.regs = [None, *arguments, *[None] * (9 - len(arguments)), _frame_pointer(out.depth)]
    return target, out
