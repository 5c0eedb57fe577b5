"""Adapters: what Frida's Interceptor calls in place of a thunk, `void adapter(GumInvocationContext *)`.

Interceptor has saved all registers in a GumX64CpuContext and puts them back from there. So an adapter gives a
program its registers and words out of that structure, and keeps rbx only. Source: gum/guminterceptor.h and
gum/gumdefs.h of Frida 17: `cpu_context` follows one pointer in GumInvocationContext.
"""

from __future__ import annotations

import struct

from attachers.patch.assemble import NUMBERS, Code
from attachers.patch.displace import Instruction
from attachers.patch.override import emit_override, emit_replace
from attachers.patch.plan import When
from attachers.patch.site import Place
from attachers.patch.thunk import (
    CONSTANTS,
    FRAME_BYTES,
    FRAME_ORDER,
    OVERRIDE_FLAG,
    OVERRIDE_VALUE,
    Moment,
    Run,
)
from runtime.agent.protocol import SiteKind
from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.errors import AttachProblem

CPU_CONTEXT = 8  # offset in GumInvocationContext
# struct _GumX64CpuContext, 8 bytes each
GUM_ORDER = "rip r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rsp rbx rdx rcx rax".split()
PLACES = {name: 8 * index for index, name in enumerate(GUM_ORDER)}


def emit_adapter(code: Code, moment: Moment, run: Run) -> None:
    """Append an adapter that runs one program."""
    code.push("rbx")
    code.raw(b"\x48\x8b\x5f" + bytes([CPU_CONTEXT]))  # mov rbx, [rdi + 8]
    words = run.image.words
    size = 8 * len(words) + (FRAME_BYTES if run.image.frame else 0)
    pad = size % 16  # the stack pointer is a multiple of 16 here
    if pad:
        code.move_stack_pointer(-pad)
    if run.image.frame:
        code.push_constant(0)
        code.push_constant(0)
        for name in FRAME_ORDER:
            _push_word(code, name, moment, run)
    for name in reversed(words):
        _push_word(code, name, moment, run)
    if run.image.frame:
        code.raw(b"\x48\x8d\xbc\x24" + struct.pack("<i", 8 * len(words)))  # lea rdi, [rsp + words]
    else:
        for name in ARGUMENT_REGISTERS:
            _load(code, name, PLACES[name])
    code.call(run.entry)
    if moment is Moment.EXIT and OVERRIDE_FLAG in words:
        _set_result(code, words)
    if size:
        code.move_stack_pointer(size + pad)
    code.pop("rbx")
    code.raw(b"\xc3")


def emit_guard(code: Code, counter: int) -> tuple[int, int]:
    """Append what counts the calls on Interceptor's stack; returns the addresses for enter and leave.

    `counter`: the address of a u64 in the target.
    """
    addresses = []
    for operation in (b"\xf0\x49\xff\x03", b"\xf0\x49\xff\x0b"):  # lock inc qword [r11]; lock dec …
        addresses.append(code.here)
        code.raw(b"\x49\xbb" + struct.pack("<Q", counter) + operation + b"\xc3")
    return addresses[0], addresses[1]


def emit_replacement(code: Code, when: When, run: Run, window: list[Instruction]) -> None:
    """Append what takes a function's place while its program decides whether it runs.

    It is entered as the function is, with all arguments where they were; so it does what the inline backend's
    thunk does, and goes on behind the instructions that Interceptor has overwritten.
    """
    place = Place(SiteKind.NEAR5, window[0].address, 0, tuple(window))
    if when is When.REPLACE:
        emit_replace(code, place, run, 0)
    else:
        emit_override(code, place, run, 0, 0)


def _set_result(code: Code, words: tuple[str, ...]) -> None:
    """Append: where the program has set a return value, Interceptor restores that as rax."""
    code.load_stack("r11", 8 * words.index(OVERRIDE_FLAG))
    code.raw(b"\x4d\x85\xdb\x0f\x84" + bytes(4))  # test r11, r11; jz behind
    skip = len(code.bytes)
    code.load_stack("r11", 8 * words.index(OVERRIDE_VALUE))
    code.raw(b"\x4c\x89\x9b" + struct.pack("<i", PLACES["rax"]))  # mov [rbx + place], r11
    code.set_jump(skip)


def _push_word(code: Code, name: str, moment: Moment, run: Run) -> None:
    """Push the value that `name` had when the probe was reached, as the inline backend gives it."""
    if name in CONSTANTS:
        code.push_constant(CONSTANTS[name])
    elif name in ("cookie", "func"):
        code.push_constant(run.cookie if name == "cookie" else run.function)
    elif name == "flags":
        code.push_constant(0)  # Interceptor keeps them, but not in the structure
    elif name == "ip":
        _push_place(code, moment, run)
    elif name in PLACES:
        code.raw(b"\xff\xb3" + struct.pack("<i", PLACES[name]))  # push [rbx + place]
        if name == "rsp" and moment is Moment.EXIT:
            code.raw(b"\x48\x83\x04\x24\x08")  # add qword [rsp], 8: Interceptor counts the return address in
    else:
        raise AttachProblem(f"a function probe has no '{name}'", errno=95)


def _push_place(code: Code, moment: Moment, run: Run) -> None:
    """Push the probed address; at an exit the return address, to which rsp points in Interceptor's view."""
    if moment is not Moment.EXIT:
        code.push_constant(run.function)
        return
    _load(code, "r11", PLACES["rsp"])
    code.raw(b"\x41\xff\x33")  # push [r11]


def _load(code: Code, register: str, place: int) -> None:
    """Append `mov register, [rbx + place]`."""
    number = NUMBERS[register]
    code.raw(bytes([0x48 | (number > 7) << 2, 0x8B, 0x83 | (number & 7) << 3]) + struct.pack("<i", place))
