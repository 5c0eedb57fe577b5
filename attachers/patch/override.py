"""Thunks of programs that decide whether a function runs, and what its caller gets.

They stand at the function's entry, last in the chain. Only saving instructions of the function have run
there, so leaving it is: put the walked registers and the stack pointer back, load rax, `ret`. The decision
lies in two words of the thunk's own stack: no thread can see another one's.
"""

from __future__ import annotations

from attachers.patch.assemble import Code
from attachers.patch.site import Place
from attachers.patch.thunk import (
    OVERRIDE_FLAG,
    OVERRIDE_VALUE,
    Moment,
    Run,
    Stack,
    emit_call,
    emit_onward,
    set_result,
    undo_walk,
)

TEST_R11 = b"\x4d\x85\xdb"  # test r11, r11
JNZ = b"\x0f\x85"


def emit_override(code: Code, place: Place, run: Run, landing: int, onward: int) -> tuple[int, int]:
    """Append a thunk that leaves the function where its program has set a value, else goes on.

    `landing`: the address of a `ret` to leave by, whose own probes then see the call; 0 for one of its own.
    `onward` and result: as `emit_onward`.
    """
    stack = Stack(code, place, Moment.ENTRY)
    stack.push("r11")
    emit_call(stack, run)
    words = run.image.words
    if OVERRIDE_FLAG not in words:
        _drop(stack)
        return emit_onward(code, place, onward)
    code.load_stack("r11", 8 * words.index(OVERRIDE_FLAG))
    code.raw(TEST_R11 + JNZ + bytes(4))
    leaves = len(code.bytes)
    _drop(stack)
    jump, base = emit_onward(code, place, onward)
    code.set_jump(leaves)
    code.load_stack("rax", 8 * words.index(OVERRIDE_VALUE))
    _drop(stack)
    _leave(code, place, landing)
    return jump, base


def emit_replace(code: Code, place: Place, run: Run, landing: int) -> tuple[int, int]:
    """Append a thunk whose program is the function: r0, or the value that it has set, is the result.

    `landing` and result as `emit_override`; the way back is there for when the program is taken out.
    """
    stack = Stack(code, place, Moment.ENTRY)
    stack.push("r11")
    emit_call(stack, run)
    set_result(code, run)
    _drop(stack)
    _leave(code, place, landing)
    return emit_onward(code, place, 0)


def _drop(stack: Stack) -> None:
    """Append: the words go, r11 comes back."""
    stack.code.move_stack_pointer(stack.depth - 8)
    stack.code.pop("r11")


def _leave(code: Code, place: Place, landing: int) -> None:
    undo_walk(code, place)
    if landing:
        code.jump(landing)
    else:
        code.raw(b"\xc3")
