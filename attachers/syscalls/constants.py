"""Which constant rax holds at each `syscall` of a function: the number of the call that is made there.

Constants are followed along all branches until nothing changes. What comes in from outside holds anything:
the function's start, and code that no direct branch leads to (targets of jump tables, landing pads).
"""

from __future__ import annotations

from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from runtime.jit.disasm import registers

Known = dict[str, int]  # register → constant; all others hold anything
CALL_CHANGES = frozenset(("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"))  # System V ABI, 3.2.1
SYSCALL_CHANGES = frozenset(("rax", "rcx", "r11"))


def numbers_in(function: Function) -> dict[int, int]:
    """Return the number at each `syscall` where it is known, by address."""
    before = _before_each(function)
    return {
        i.address: before[i.address]["rax"]
        for i in function.instructions
        if i.base == "syscall" and "rax" in before.get(i.address, {})
    }


def _before_each(function: Function) -> dict[int, Known]:
    """Return what is known before each instruction."""
    index = {i.address: n for n, i in enumerate(function.instructions)}
    outside = _from_outside(function)
    state: dict[int, Known] = {at: {} for at in outside}
    work = sorted(outside, reverse=True)
    while work:
        at = work.pop()
        number = index.get(at)
        if number is None:
            continue
        instruction = function.instructions[number]
        after = _after(instruction, state[at])
        for following in _following(function, instruction):
            have = state.get(following)
            joined = after if have is None else {r: v for r, v in have.items() if after.get(r) == v}
            if have is None or len(joined) < len(have):
                state[following] = dict(joined)
                work.append(following)
    return state


def _from_outside(function: Function) -> set[int]:
    """Return where anything may come in: the start, and what follows a jump and is no branch's target."""
    found = {function.start}
    has_table = any(i.base == "jmp" and i.target is None for i in function.instructions)
    ended = False
    for instruction in function.instructions:
        if ended and instruction.base == "nop":
            continue  # padding
        if ended and (has_table or instruction.address not in function.targets):
            found.add(instruction.address)
        ended = not instruction.falls_through
    return found | (set(function.targets) if has_table else set())


def _following(function: Function, instruction: Instruction) -> list[int]:
    found = [instruction.end] if instruction.falls_through else []
    target = instruction.target
    if target is not None and instruction.base != "call" and function.start <= target < function.end:
        found.append(target)
    return found


def _after(instruction: Instruction, known: Known) -> Known:
    if instruction.base in ("call", "syscall"):
        changed = CALL_CHANGES if instruction.base == "call" else SYSCALL_CHANGES
        return {r: v for r, v in known.items() if r not in changed}
    if instruction.is_conditional or instruction.base in ("nop", "endbr64", "cmp", "test"):
        return known
    read, written = registers(instruction.data)
    value = _value(instruction, read, written, known)
    after = {r: v for r, v in known.items() if r not in written}
    if value is not None:
        after[next(iter(written - {"rflags"}))] = value
    return after


def _value(
    instruction: Instruction, read: frozenset[str], written: frozenset[str], known: Known
) -> int | None:
    """Return the constant that an instruction puts into its one register, None for none."""
    to, _, source = instruction.operands.partition(", ")
    if instruction.base == "mov" and to == "al" and source[:1].isdigit() and "rax" in known:
        return known["rax"] & ~0xFF | int(source, 0) & 0xFF
    if len(written - {"rflags"}) != 1 or to[:1] not in "er" or to.endswith(("w", "b")):
        return None
    if instruction.base == "xor" and to == source:
        return 0
    if instruction.base not in ("mov", "movabs") or "[" in instruction.operands:
        return None
    if source[:1].isdigit():
        return int(source, 0)
    return known.get(next(iter(read))) if len(read) == 1 else None
