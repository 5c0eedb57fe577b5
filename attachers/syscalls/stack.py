"""What a thunk at a system call pushes for its program: words, or the whole context in memory."""

from __future__ import annotations

import struct

from attachers.patch.assemble import Code
from attachers.patch.site import Place
from attachers.patch.thunk import FRAME_ORDER, Moment, Run, Stack
from runtime.types import ContextKind

NUMBER = "nr"
COMMON = "common"  # type, flags, preemption count, pid: what no program in user space needs
REGISTERS = "regs"  # the address of a pt_regs
# Contexts in memory from the top down, as they are pushed: asm/ptrace.h, linux/trace_events.h.
FRAMES: dict[ContextKind, tuple[str, ...]] = {
    ContextKind.SYS_ENTER: ("r9", "r8", "r10", "rdx", "rsi", "rdi", NUMBER, COMMON),
    ContextKind.SYS_EXIT: ("rax", NUMBER, COMMON),
    ContextKind.RAW_SYS_ENTER: (NUMBER, REGISTERS),
    ContextKind.RAW_SYS_EXIT: ("rax", REGISTERS),
}
RAW = (ContextKind.RAW_SYS_ENTER, ContextKind.RAW_SYS_EXIT)


class CallStack(Stack):
    """The stack of one thunk. `number` -1: it was pushed, and is found by the name `nr`.

    `by_number`: the cookie is the sum of the probe's own and the number.
    """

    def __init__(self, code: Code, place: Place, number: int, *, by_number: bool) -> None:
        super().__init__(code, place, Moment.INSIDE)
        self.number = number
        self.by_number = by_number
        self.registers_at = 0  # depth of a pt_regs that was pushed

    def push_word(self, name: str, run: Run) -> None:
        """Push a word; besides registers there are the number, and the cookie that may depend on it."""
        if name in (NUMBER, "orig_rax"):
            self._push_number(0)
        elif name == "cookie" and self.by_number:
            self._push_number(run.cookie)
        elif name == "ip":
            self.code.push_constant(run.function + 2)
        elif name == COMMON:
            self.code.push_constant(0)
        elif name == REGISTERS:
            self.code.push_stack_address(self.depth - self.registers_at)
        else:
            super().push_word(name, run)
            return
        self.depth += 8

    def _push_number(self, base: int) -> None:
        if self.number >= 0:
            self.code.push_constant(base + self.number)
            return
        self.code.load_stack("r11", self.depth - self.saved[NUMBER])
        if base:
            self.code.raw(b"\x4d\x8d\x9b" + struct.pack("<i", base))  # lea r11, [r11 + base]
        self.code.push("r11")

    def push_context(self, run: Run) -> None:
        """Push a program's context, with two zero words above it."""
        kind = run.image.context
        if kind in RAW:
            self._push_all(tuple(FRAME_ORDER), run)
            self.registers_at = self.depth
        for _ in range(2):
            self.code.push_constant(0)
            self.depth += 8
        self._push_all(FRAMES.get(kind, tuple(FRAME_ORDER)), run)

    def _push_all(self, names: tuple[str, ...], run: Run) -> None:
        for name in names:
            self.push_word(name, run)


def call_program(stack: CallStack, run: Run, *, moves_argument: bool) -> None:
    """Append the pushing of a program's words and its call; the words stay on the stack, at its top.

    `moves_argument`: the fourth argument of a call is in r10, that of a program in rcx.
    """
    code, words = stack.code, run.image.words
    if run.image.frame:
        stack.push("rdi")
        stack.push_context(run)
    for name in reversed(words):
        stack.push_word(name, run)
    if run.image.frame:
        code.raw(b"\x48\x8d\xbc\x24" + struct.pack("<i", 8 * len(words)))  # lea rdi, [rsp + words]
    elif moves_argument:
        code.raw(b"\x4c\x89\xd1")  # mov rcx, r10
    code.call(run.entry)
    if run.image.frame:
        code.load_stack("rdi", stack.depth - stack.saved["rdi"])
