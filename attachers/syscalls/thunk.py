"""Code that runs a program before or after a system call, and leaves everything else as it was.

The kernel keeps all registers but rax, rcx and r11, and touches no byte of the stack: so does this code. The
128 bytes below rsp belong to the function. Before the call rcx and r11 are free, once all that is displaced
has run; right behind it r11 is. The flags are saved where somebody may read them later.

Source of what the kernel keeps: System V ABI, AMD64 supplement, A.2.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from attachers.patch.assemble import Code
from attachers.patch.site import Place
from attachers.patch.thunk import (
    OVERRIDE_FLAG,
    OVERRIDE_VALUE,
    RED_ZONE,
    Run,
    emit_displaced,
    emit_onward,
    set_result,
)
from attachers.syscalls.numbers import bitmap_of, emit_test
from attachers.syscalls.probes import CallProbe
from attachers.syscalls.stack import NUMBER, CallStack, call_program
from attachers.syscalls.windows import is_moved, pushed_between
from attachers.target import Target
from runtime.agent.protocol import ThunkKind
from runtime.shm.session import Session

TEST_R11 = b"\x4d\x85\xdb"  # test r11, r11
JNZ, JS = b"\x0f\x85", b"\x0f\x88"
BEHIND = ("rax", "rdi", "rsi", "rdx")  # what a question about a call that is over needs
BEFORE = ("rdi", "rsi", "rdx")


def kind_of(probe: CallProbe, place: Place) -> ThunkKind:
    """Return what kind of thunk a probe gets: it decides on its place in a chain."""
    if probe.leaves:
        return ThunkKind.CALL_MOVED if is_moved(place) else ThunkKind.RUN
    return ThunkKind.CALL_SKIP if OVERRIDE_FLAG in probe.image.words else ThunkKind.CALL


@dataclass(frozen=True, slots=True)
class CallThunk:
    """The thunk of one program at one call. `is_note`: it only keeps the number for the end of the call."""

    probe: CallProbe
    place: Place
    target: Target
    session: Session
    is_note: bool = False

    def emit(self, code: Code, run: Run, onward: int) -> tuple[int, int, int]:
        """Append the thunk; returns where it is entered by another one, its last jump, its way back."""
        inner = emit_displaced(code, self.place) if self.place.is_late else code.here
        stack = CallStack(code, self.place, self.probe.trail.number, by_number=self.probe.cookie_step)
        code.move_stack_pointer(-RED_ZONE)
        self._save(stack)
        if self.is_note:
            self._note(stack)
            self._restore(stack)
            return inner, *emit_onward(code, self.place, onward)
        if self.probe.leaves:
            return inner, *self._behind(stack, run, onward)
        return inner, *self._before(stack, run, onward)

    # --- before the call

    def _before(self, stack: CallStack, run: Run, onward: int) -> tuple[int, int]:
        code, kept = stack.code, stack.depth
        if self.probe.trail.number < 0:
            stack.push("rax")
            stack.saved[NUMBER] = stack.depth
        test = emit_test(code, self.probe.tests)
        depth = stack.depth
        call_program(stack, run, moves_argument=True)
        leaves = self._asks_to_leave_out(code, run)
        deepest = stack.depth
        code.move_stack_pointer(deepest - depth)
        test.lead_here(code)
        code.move_stack_pointer(depth - kept)
        self._restore(stack)
        jump, back = emit_onward(code, self.place, onward)
        test.put_table(code)
        if leaves:
            code.set_jump(leaves)
            self._leave_out(stack, run, deepest - kept)
        return jump, back

    @staticmethod
    def _asks_to_leave_out(code: Code, run: Run) -> int:
        """Append the question whether a program has set the result; returns the end of its jump, 0 none."""
        words = run.image.words
        if OVERRIDE_FLAG not in words:
            return 0
        code.load_stack("r11", 8 * words.index(OVERRIDE_FLAG))
        code.raw(TEST_R11 + JNZ + bytes(4))
        return len(code.bytes)

    def _leave_out(self, stack: CallStack, run: Run, above: int) -> None:
        """Append what goes on behind the call with a program's result."""
        code = stack.code
        code.load_stack("r11", 8 * run.image.words.index(OVERRIDE_VALUE))
        code.move_stack_pointer(above)
        self._restore(stack)
        code.raw(b"\x4c\x89\xd8")  # mov rax, r11
        code.jump(self.probe.trail.end)

    # --- behind it

    def _behind(self, stack: CallStack, run: Run, onward: int) -> tuple[int, int]:
        code, kept = stack.code, stack.depth
        table = skip = 0
        if self.probe.trail.number < 0:
            table = self._ask_number(stack)
            if self.probe.tests is not None or self.probe.trail.goes_on:
                code.raw(TEST_R11 + JS + bytes(4))
                skip = len(code.bytes)
        depth = stack.depth
        call_program(stack, run, moves_argument=False)
        set_result(code, run)
        code.move_stack_pointer(stack.depth - depth)
        if skip:
            code.set_jump(skip)
        code.move_stack_pointer(depth - kept)
        self._restore(stack)
        jump, back = emit_onward(code, self.place, onward)
        if table:
            code.set_jump(table)
            code.raw(bitmap_of(self.probe.tests))
        return jump, back

    def _ask_number(self, stack: CallStack) -> int:
        """Append what finds the number that was noted before the call; it is in r11 then, and on the stack.

        It is -1 where it is none of those that are wanted. Returns the end of the instruction that takes the
        address of their table.
        """
        code = stack.code
        for register in BEHIND:
            stack.push(register)
        self._name_call(stack)
        code.raw(b"\x48\x8d\x15" + bytes(4) if self.probe.tests is not None else b"\x31\xd2")  # lea/xor rdx
        table = len(code.bytes) if self.probe.tests is not None else 0
        code.far_call(self.target.resolve(self.session, "agent:call_number"))
        stack.push("rax")
        stack.saved[NUMBER] = stack.depth
        for register in BEHIND:
            code.load_stack(register, stack.depth - stack.saved[register])
        code.load_stack("r11", 0)
        return table

    # --- both

    def _note(self, stack: CallStack) -> None:
        """Append what keeps the number, which is in rax."""
        code = stack.code
        for register in BEFORE:
            code.push(register)
        stack.depth += 8 * len(BEFORE)
        self._name_call(stack)
        code.raw(b"\x89\xc2")  # mov edx, eax
        code.far_call(self.target.resolve(self.session, "agent:call_note"))
        for register in reversed(BEFORE):
            code.pop(register)
        stack.depth -= 8 * len(BEFORE)

    def _name_call(self, stack: CallStack) -> None:
        """Append: rdi is the place of the call, rsi the stack pointer there; they name it in its thread."""
        there = stack.depth + RED_ZONE
        if self.probe.leaves:
            there += pushed_between(self.probe.trail, self.place)
        stack.code.raw(b"\x48\xbf" + struct.pack("<Q", self.probe.trail.address))  # mov rdi, place
        stack.code.raw(b"\x48\x8d\xb4\x24" + struct.pack("<i", there))  # lea rsi, [rsp + there]

    @property
    def _keeps_flags(self) -> bool:
        is_behind = self.probe.leaves and not is_moved(self.place)
        return self.probe.trail.flags_matter(self.place.address if is_behind else self.probe.trail.end)

    @property
    def _keeps_r11(self) -> bool:
        place, trail = self.place, self.probe.trail
        return self.probe.leaves and not is_moved(place) and place.address != trail.end

    def _save(self, stack: CallStack) -> None:
        """Append the saving of what the function still wants beside the registers that no program changes."""
        if self._keeps_r11:
            stack.push("r11")
        if self._keeps_flags:
            stack.push("rax")
            stack.code.raw(bytes.fromhex("9f0f90c0"))  # lahf; seto al
            stack.code.push("rax")
            stack.depth += 8
            stack.code.load_stack("rax", 8)

    def _restore(self, stack: CallStack) -> None:
        """Append what puts it back; rax stays as it is now, and r11 unless it was saved."""
        code = stack.code
        if self._keeps_flags:
            code.store_stack("rax", 8)
            code.pop("rax")
            code.raw(bytes.fromhex("047f9e"))  # add al, 127; sahf
            code.pop("rax")
        if self._keeps_r11:
            code.pop("r11")
        code.move_stack_pointer(RED_ZONE)
