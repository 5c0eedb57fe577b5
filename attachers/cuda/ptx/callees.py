"""Which device functions a kernel reaches, and how a call of one is written anew for its copy."""

from __future__ import annotations

from dataclasses import dataclass

from attachers.cuda.ptx.reader import body_of
from attachers.cuda.ptx.scopes import outermost, walk
from attachers.cuda.ptx.syntax import Function, Instruction, Module
from attachers.cuda.ptx.tokens import split


@dataclass(frozen=True, slots=True)
class Call:
    """A call taken apart: `target` is a function's name, or the register that holds its address."""

    instruction: Instruction
    returns: str
    target: str
    arguments: str


def call_of(instruction: Instruction) -> Call | None:
    """Take a `call` apart; None for all other instructions."""
    if instruction.opcode.partition(".")[0] != "call":
        return None
    operands = split(instruction.operands)
    returns = operands[0] if operands and operands[0].startswith("(") else ""
    rest = operands[1:] if returns else operands
    if not rest:
        return None
    arguments = rest[1] if len(rest) > 1 and rest[1].startswith("(") else ""
    return Call(instruction, returns, rest[0], arguments)


def definitions(module: Module) -> dict[str, Function]:
    """Give the device functions that have a body, by name."""
    return {f.name: f for f in module.functions if f.body and not f.is_entry}


def calls_in(module: Module, function: Function) -> list[Call]:
    """Give a function's calls."""
    steps = walk(body_of(module, function), outermost(function))
    found = (call_of(item) for item, _, _ in steps if isinstance(item, Instruction))
    return [call for call in found if call]


def reached(module: Module, kernel: Function, known: dict[str, Function]) -> tuple[dict[str, Function], bool]:
    """Give the functions that a kernel reaches by direct calls, and whether it calls through pointers.

    `known`: what `definitions` gives.
    """
    found: dict[str, Function] = {}
    through_pointers = False
    waiting = [kernel]
    while waiting:
        for call in calls_in(module, waiting.pop()):
            function = known.get(call.target)
            through_pointers |= call.target.startswith("%")
            if function and function.name not in found:
                found[function.name] = function
                waiting.append(function)
    return found, through_pointers


def rewritten(call: Call, name: str, carried: dict[str, str]) -> str:
    """Give the call of a copy: another name, and behind the arguments the `carried` values.

    `carried`: name of an input → PTX that sets its register; the register of `%bte` stands already.
    """
    old = call.arguments[1:-1].strip()
    arguments = ", ".join([*([old] if old else []), *(f"{key[1:]}q" for key in carried)])
    guard = call.instruction.guard and f"@{'!' * call.instruction.negated}{call.instruction.guard} "
    returns = f"{call.returns}, " if call.returns else ""
    lines = [f"{guard}{call.instruction.opcode} {returns}{name}, ({arguments});"]
    if not arguments:
        lines = [f"{guard}{call.instruction.opcode} {returns}{name};"]
    for key, code in reversed(carried.items()):
        declared = "" if key == "%bte" else f".reg .b64 {key}; "
        lines.insert(0, f".param .b64 {key[1:]}q; {declared}{code} st.param.b64 [{key[1:]}q], {key};")
    if not carried:
        return lines[0]
    return "\n".join(["{ .reg .b32 %btw, %btv; .reg .b64 %btx;", *lines, "}"])
