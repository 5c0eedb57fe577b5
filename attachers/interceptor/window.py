"""May Frida's Interceptor hook an address? It moves all instructions of the first five bytes elsewhere.

Interceptor does not look whether a branch goes between them, pushes onto the bytes below the stack pointer,
and leaves a call's return address in memory that no unwinder knows. So this is asked before it is.
"""

from __future__ import annotations

import re

from attachers.patch.callthrough import NEVER
from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from attachers.patch.plan import Probe, When
from attachers.patch.site import boundary
from runtime.errors import AttachProblem

JUMP = 5
LINE = 64  # two bytes in one of them are changed at once
# Below rsp; or below rbp in a function that makes no room by moving rsp, as one without calls need not.
_BELOW_STACK = re.compile(r"\[rsp[^]]* - ")
_BELOW_FRAME = re.compile(r"\[rbp[^]]* - ")


def check_window(function: Function, probe: Probe, *, unwinds: bool, danger: str) -> list[Instruction]:
    """Return the instructions that Interceptor overwrites: as many as hold a jump, filled up with nops.

    `unwinds`: exceptions may pass through the program's functions. `danger`: what no replaced return address
    would survive, empty where they are allowed.

    Raises:
        AttachProblem: the probe would change what the program does (95), or lies inside an instruction (22).
    """
    if probe.when is When.RETURN or probe.when.decides:
        _check_return(function, danger)
    window = _window(function, probe.at)
    if window[0].base == "jmp":
        raise _refused(function, "it begins with a jump, and Frida would hook where that goes")
    if window[0].address % LINE == LINE - 1:
        raise AttachProblem(
            f"{function.name}: its jump would cross a cache line", errno=28, hint="probe its caller"
        )
    inside = {i.address for i in window[1:]} & function.targets
    if inside:
        raise _refused(
            function, f"a branch goes into the bytes that Frida moves (+{min(inside) - function.start})"
        )
    if unwinds and any(i.base == "call" for i in window):
        raise _refused(function, "it begins with a call, and no exception passes a call that Frida moves")
    if probe.when is When.INSIDE and _uses_red_zone(function):
        raise _refused(function, "it keeps data below the stack pointer, where Frida writes")
    return window


def _window(function: Function, at: int) -> list[Instruction]:
    window: list[Instruction] = []
    for instruction in function.instructions[boundary(function, at) :]:
        if instruction.base == "endbr64" and not window:
            at = instruction.end  # Interceptor leaves it where it is
            continue
        window.append(instruction)
        if instruction.end - at >= JUMP:
            return window
    room = function.end - at
    if room + function.padding < JUMP:
        raise AttachProblem(
            f"{function.name} has {room} bytes there, Frida needs {JUMP}",
            errno=28,
            hint="probe its caller",
        )
    return window


def _check_return(function: Function, danger: str) -> None:
    if function.name in NEVER:
        raise _refused(function, "it saves or reads its return address, which Frida replaces")
    if function.is_whole and not function.returns and not function.leaves:
        raise AttachProblem(f"{function.name} never returns", errno=95, hint="probe its entry: uprobe:…")
    if danger:
        raise AttachProblem(
            f"{danger} in {function.name} would end the program: Frida replaces its return address",
            errno=95,
            hint="probe its entry, or add --allow-return-swap where that cannot happen in it",
        )


def _uses_red_zone(function: Function) -> bool:
    is_leaf = not any(i.base == "call" for i in function.instructions)
    return any(
        _BELOW_STACK.search(i.operands) or (is_leaf and _BELOW_FRAME.search(i.operands))
        for i in function.instructions
    )


def _refused(function: Function, reason: str) -> AttachProblem:
    return AttachProblem(
        f"{function.name} cannot be probed by Frida: {reason}", errno=95, hint="use --backend inline"
    )
