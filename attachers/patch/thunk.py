"""Thunks: code in an arena that saves what must be saved, runs a program and goes on as the target would.

A compiled program keeps every register but r11 and the flags. r11 is saved always: callers compiled with
GCC's -fipa-ra may rely on any register a function is known not to touch. At function entry and exit the
flags and the bytes below the stack pointer are dead by the ABI; in the middle of a function they are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from attachers.patch.assemble import JUMP, NUMBERS, Code
from attachers.patch.displace import displace
from attachers.patch.marker import MarkerWords
from attachers.patch.site import Place
from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.errors import AttachProblem
from runtime.jit.image import Image

RED_ZONE = 128
# struct pt_regs from the top down, as it is pushed (asm/ptrace.h)
FRAME_ORDER = (
    "ss rsp flags cs ip orig_rax rdi rsi rdx rcx rax r8 r9 r10 r11 rbx rbp r12 r13 r14 r15"
).split()
FRAME_BYTES = 168 + 16  # and two words behind it: the count of tail calls, and scratch of the programs
OVERRIDE_FLAG, OVERRIDE_VALUE = "override_flag", "override_value"
KEPT = "entry_"  # words of a call's beginning, for programs at its end
FRAME_MARK = b"\x0f\x1f\x80"  # nop dword [rax + imm32] behind a call of a body: the bytes of the frame
RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0"  # rdtsc; shl rdx, 32; or rax, rdx
CONSTANTS = {"ss": 0x2B, "cs": 0x33, "orig_rax": (1 << 64) - 1, OVERRIDE_FLAG: 0, OVERRIDE_VALUE: 0}


class Moment(Enum):
    """When a thunk runs; it decides what is dead."""

    ENTRY = "entry"
    EXIT = "exit"
    INSIDE = "inside"


@dataclass(frozen=True, slots=True)
class Run:
    """One program to run: its code at `entry` in the arena, and the constants and arguments of this probe."""

    image: Image
    entry: int
    cookie: int
    function: int
    marker: MarkerWords | None = None


class Stack:
    """What the thunk has pushed: `depth` bytes since it was entered, and where saved registers are."""

    def __init__(self, code: Code, place: Place, moment: Moment) -> None:
        self.code = code
        self.moment = moment
        self.depth = 0
        self.saved: dict[str, int] = {}
        self.walk = place.walk
        self.walked = self.walk.depth
        self.kept: list[str] = []

    def push(self, register: str) -> None:
        """Push a register as it is now."""
        self.code.push(register)
        self.depth += 8
        self.saved.setdefault(register, self.depth)

    def pad(self) -> None:
        """Make room of 8 bytes."""
        self.code.move_stack_pointer(-8)
        self.depth += 8

    def push_word(self, name: str, run: Run) -> None:
        """Push the value that `name` had when the probe was reached."""
        code = self.code
        if name in CONSTANTS:
            code.push_constant(CONSTANTS[name])
        elif name in ("cookie", "func"):
            code.push_constant(run.cookie if name == "cookie" else run.function)
        elif name in ("ip", "rsp"):
            self._push_place(name, run)
        elif name == "flags":
            self._push_flags()
        elif name in self.kept:
            code.push_stack(self.depth + 8 * self.kept.index(name))
        elif name.startswith("marker") and run.marker is not None:
            run.marker.push(code, name, self._saved_at(), self.depth + RED_ZONE)
        elif name in self.walk.changed:
            code.push_stack(self.depth + self.walk.slot(name))
        elif name in self.saved:
            code.push_stack(self.depth - self.saved[name])
        elif name in NUMBERS:
            code.push(name)
        else:
            raise AttachProblem(f"a function probe has no '{name}'", errno=95)
        self.depth += 8

    def _saved_at(self) -> dict[str, int]:
        """Return how far above rsp the registers lie that the thunk has pushed and may have changed since."""
        return {name: self.depth - at for name, at in self.saved.items()}

    def _push_place(self, name: str, run: Run) -> None:
        above = self.depth + (RED_ZONE if self.moment is Moment.INSIDE else 0) + self.walked
        if name == "rsp":
            self.code.push_stack_address(above + (8 if self.moment is Moment.EXIT else 0))
        elif self.moment is Moment.EXIT:
            self.code.push_stack(self.depth + self.walked)
        else:
            self.code.push_constant(run.function)

    def _push_flags(self) -> None:
        self.code.raw(b"\x9c")  # pushfq


def emit_runs(code: Code, place: Place, moment: Moment, runs: list[Run]) -> None:
    """Append the saving, the programs in order, and the restoring."""
    emit_in(Stack(code, place, moment), runs)


def emit_in(stack: Stack, runs: list[Run]) -> None:
    """Append the same for a stack that may hold words below the return address."""
    code, moment = stack.code, stack.moment
    if moment is Moment.INSIDE:
        code.move_stack_pointer(-RED_ZONE)
    stack.push("r11")
    if moment is Moment.INSIDE:
        stack.push("rax")
        code.raw(bytes.fromhex("9f0f90c0"))  # lahf; seto al
        code.push("rax")
        stack.depth += 8
    for run in runs:
        _emit_run(stack, run)
    if moment is Moment.INSIDE:
        code.pop("rax")
        code.raw(bytes.fromhex("047f9e"))  # add al, 127; sahf
        code.pop("rax")
    code.pop("r11")
    if moment is Moment.INSIDE:
        code.move_stack_pointer(RED_ZONE)


def _emit_run(stack: Stack, run: Run) -> None:
    before = stack.depth
    emit_call(stack, run)
    if stack.moment is Moment.EXIT:
        set_result(stack.code, run)
    stack.code.move_stack_pointer(stack.depth - before)
    stack.depth = before


def set_result(code: Code, run: Run) -> None:
    """Append: where the program has set a return value, it becomes the function's; its words are on top."""
    words = run.image.words
    if OVERRIDE_FLAG not in words:
        return
    code.load_stack("r11", 8 * words.index(OVERRIDE_FLAG))
    code.raw(b"\x4d\x85\xdb\x0f\x84" + bytes(4))  # test r11, r11; jz behind
    skip = len(code.bytes)
    code.load_stack("rax", 8 * words.index(OVERRIDE_VALUE))
    code.set_jump(skip)


def emit_call(stack: Stack, run: Run) -> None:
    """Append the pushing of a program's words and its call; the words stay on the stack."""
    code = stack.code
    words = run.image.words
    extra = 8 * len(words) + (FRAME_BYTES if run.image.frame else 0)
    if stack.moment is not Moment.INSIDE and (8 - stack.walked - stack.depth - extra) % 16:
        stack.pad()
    if run.image.frame:
        _push_frame(stack, run)
    for name in reversed(words):
        stack.push_word(name, run)
    if run.image.frame:
        code.raw(b"\x48\x8d\xbc\x24" + (8 * len(words)).to_bytes(4, "little"))  # lea rdi, [rsp + words]
    code.call(run.entry)
    if run.image.frame:
        code.load_stack("rdi", 8 * len(words) + 112)


def _push_frame(stack: Stack, run: Run) -> None:
    """Push a full pt_regs with two zero words above it."""
    for _ in range(2):
        stack.code.push_constant(0)
        stack.depth += 8
    for name in FRAME_ORDER:
        stack.push_word(name, run)


def emit_displaced(code: Code, place: Place) -> int:
    """Append the displaced instructions; returns the address behind them."""
    for instruction in place.displaced:
        displace(code, instruction)
    return code.here


def emit_way_back(code: Code, place: Place) -> None:
    """Append what the site still has to do: at an exit the `ret`, else its instructions and the jump back."""
    if place.ret is not None:
        code.raw(place.ret.data)
        return
    if place.is_late:
        code.jump(place.displaced[-1].end)
        return
    emit_displaced(code, place)
    if place.displaced[-1].falls_through:
        code.jump(place.displaced[-1].end)


def emit_onward(code: Code, place: Place, onward: int) -> tuple[int, int]:
    """Append the end of a thunk: a jump to the next one (0: none), and its own way back.

    Returns the addresses of the jump, which may be changed at any time, and of the way back.
    """
    jump = code.jump_aligned(onward)
    base = code.here
    emit_way_back(code, place)
    return jump, base


def undo_walk(code: Code, place: Place) -> None:
    """Append what takes the stack and the saved registers back to the function's first instruction."""
    state = place.walk
    for register in state.changed:
        code.load_stack(register, state.slot(register))
    code.move_stack_pointer(state.depth)


def kept_words(runs: list[Run]) -> list[str]:
    """Return the words that a call-through thunk keeps from a call's beginning to its end."""
    return sorted({name for run in runs for name in run.image.words if name.startswith(KEPT)})


def emit_call_through(
    code: Code, place: Place, after: list[Run], onward: int, clock: int = 0
) -> tuple[int, int]:
    """Append a thunk that calls the function's body and runs `after` when it comes back.

    What the programs want of the call's beginning lies between the return address and the body's frame.
    `onward`: the thunk that the body starts with, 0 for none; `clock`: address of the agent's clock. Returns
    as `emit_onward`.
    """
    undo_walk(code, place)
    at_entry = Place(place.kind, place.address, place.hole, place.displaced)
    kept = kept_words(after)
    size = frame_of(kept)
    code.move_stack_pointer(-size)
    for index, name in enumerate(kept):
        _keep(code, name, 8 * index, clock)
    body_call = len(code.bytes) + JUMP
    code.call(code.here)
    if kept:
        code.raw(FRAME_MARK + size.to_bytes(4, "little"))
        stack = Stack(code, at_entry, Moment.EXIT)
        stack.walked, stack.kept = size, kept
        emit_in(stack, after)
        code.move_stack_pointer(size)
    else:
        code.move_stack_pointer(size)
        emit_runs(code, at_entry, Moment.EXIT, after)
    code.raw(b"\xc3")
    code.set_jump(body_call)
    for instruction in place.walked:
        displace(code, instruction)
    return emit_onward(code, at_entry, onward)


def frame_of(kept: list[str]) -> int:
    """Return the bytes between a return address and the call of the body: an odd number of words."""
    return 8 * (len(kept) | 1)


def _keep(code: Code, name: str, offset: int, clock: int) -> None:
    """Append the storing of one word at [rsp + offset]; no register is changed but r11 and the flags."""
    if name.startswith("entry_arg"):
        code.store_stack(ARGUMENT_REGISTERS[int(name[len("entry_arg") :])], offset)
        return
    registers = ("rax", "rdx") if name == "entry_tsc" else ("rax", "rdi", "r11")
    for register in registers:
        code.push(register)
    if name == "entry_tsc":
        code.raw(RDTSC)
    else:
        code.raw(b"\xbf" + (1).to_bytes(4, "little"))  # mov edi, CLOCK_MONOTONIC
        code.far_call(clock)
    code.store_stack("rax", offset + 8 * len(registers))
    for register in reversed(registers):
        code.pop(register)


def emit_swap(code: Code, place: Place, run: Run, agent: tuple[int, int], onward: int) -> tuple[int, int]:
    """Append a thunk that replaces the return address by the address of code that runs the program.

    `agent`: addresses of `swap_enter` and `swap_leave`. `onward` and result: as `emit_call_through`.
    """
    entry = Code(code.here)
    saved = ("r11", "rax", "rdi", "rsi")
    for register in saved:
        entry.push(register)
    slot = 8 * len(saved) + place.walk.depth
    entry.raw(b"\x48\x8d\xbc\x24" + slot.to_bytes(4, "little"))  # lea rdi, [rsp + slot]
    stub_load = len(entry.bytes)
    entry.raw(b"\x48\x8d\x35" + bytes(4))  # lea rsi, [rip + stub]
    entry.far_call(agent[0])
    for register in reversed(saved):
        entry.pop(register)
    jump, base = emit_onward(entry, place, onward)
    distance = entry.here - (entry.base + stub_load + 7)
    entry.bytes[stub_load + 3 : stub_load + 7] = distance.to_bytes(4, "little")
    _emit_return(entry, place, run, agent[1])
    code.raw(bytes(entry.bytes))
    return jump, base


def _emit_return(code: Code, place: Place, run: Run, leave: int) -> None:
    """Append where the function returns to: the true address goes back, then the program runs."""
    code.move_stack_pointer(-8)
    for register in ("r11", "rax", "rdi"):
        code.push(register)
    code.raw(b"\x48\x8d\x7c\x24\x18")  # lea rdi, [rsp + 24]: the slot
    code.far_call(leave)
    code.raw(b"\x48\x89\x44\x24\x18")  # mov [rsp + 24], rax
    for register in ("rdi", "rax", "r11"):
        code.pop(register)
    emit_runs(code, Place(place.kind, place.address, place.hole, ()), Moment.EXIT, [run])
    code.raw(b"\xc3")
