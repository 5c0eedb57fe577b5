"""May a thunk stand between a function and its caller? Only if the body never looks at its caller's stack.

With a call-through thunk the body runs one frame deeper: stack arguments, the return address and anything at
or above it are not where the body would look. Stack depth is followed instruction by instruction; where it is
not known the answer is no.
"""

from __future__ import annotations

import re

from attachers.patch.displace import Instruction
from attachers.patch.function import Function

# They look at their caller's address or save the stack for later.
NEVER = frozenset(
    "setjmp _setjmp __sigsetjmp sigsetjmp vfork __vfork getcontext swapcontext makecontext dlopen dlsym "
    "dlvsym dlmopen __libc_start_main _start clone __clone clone3 __clone3 _dl_runtime_resolve "
    "__restore_rt __start_context".split()
)

_STACK = re.compile(r"\[(rsp|rbp)(?: \+ r\w+(?:\*\d)?)?( [+-] (?:0x[0-9a-f]+|\d+))?\]")
_NUMBER = re.compile(r"^rsp, (0x[0-9a-f]+|\d+)$")


def is_eligible(function: Function) -> bool:
    """Return whether the function's body may be called from a thunk."""
    if function.name in NEVER or not function.is_whole:
        return False
    # Without any exit it is entered in some other way, as the trampoline behind a signal handler is.
    return bool(function.returns or function.leaves) and _Depths(function).run()


class _Depths:
    """Bytes between rsp (and rbp, once it is the frame pointer) and the return address, along the code."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.known: dict[int, tuple[int, int | None]] = {}

    def run(self) -> bool:
        """Return whether every access is known to stay below the return address."""
        state: tuple[int, int | None] | None = (0, None)
        for instruction in self.function.instructions:
            state = self.known.get(instruction.address, state)
            if state is None:
                state = (1 << 20, None)  # reached by an indirect jump only: any access is refused
            after = self._step(instruction, *state)
            if after is None:
                return False
            target = instruction.target
            if target is not None and instruction.base != "call":
                self.known.setdefault(target, after)
            state = after if instruction.falls_through else None
        return True

    def _step(self, i: Instruction, depth: int, frame: int | None) -> tuple[int, int | None] | None:
        if not self._stays_below(i, depth, frame):
            return None
        moved = self._moved(i, depth, frame)
        if moved is None:
            return None
        if i.operands == "rbp, rsp" and i.base == "mov":
            frame = moved
        elif (i.base == "pop" and i.operands == "rbp") or i.base == "leave":
            frame = None
        return moved, frame

    def _moved(self, i: Instruction, depth: int, frame: int | None) -> int | None:
        """Return the stack depth after an instruction; None when it cannot be told."""
        if i.base == "push":
            return depth + 8
        if i.base == "pop":
            return depth - 8
        if i.base == "leave":
            return None if frame is None else frame - 8
        number = _NUMBER.match(i.operands)
        if i.base in ("sub", "add") and number:
            value = int(number.group(1), 0)
            value -= 1 << 64 if value >> 63 else 0
            return depth + value if i.base == "sub" else depth - value
        if i.operands.startswith("rsp,") and i.base not in ("cmp", "test"):
            return self._set(i, depth, frame)
        return depth

    def _set(self, i: Instruction, depth: int, frame: int | None) -> int | None:
        if i.base == "and":
            return depth  # at least as deep
        if i.base == "mov" and i.operands == "rsp, rbp":
            return frame
        match = _STACK.search(i.operands)
        if i.base == "lea" and match:
            base = depth if match.group(1) == "rsp" else frame
            return None if base is None else base - _offset(match.group(2))
        return depth + (1 << 12) if i.base == "sub" else None

    def _stays_below(self, i: Instruction, depth: int, frame: int | None) -> bool:
        match = _STACK.search(i.operands)
        if not match:
            return "rsp" not in i.operands.partition("[")[2]
        base = depth if match.group(1) == "rsp" else frame
        if base is None:
            return match.group(1) == "rbp"  # rbp is an ordinary register here
        return _offset(match.group(2)) < base


def _offset(text: str | None) -> int:
    return int(text.replace(" ", ""), 0) if text else 0
