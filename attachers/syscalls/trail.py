"""What a function does right before and right behind one of its `syscall` instructions.

Before: the straight run of instructions that leads there, and the number in rax at its end, if that is known.
Behind: the run up to the first instruction that branches. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.displace import Instruction, can_displace
from attachers.patch.function import Function
from runtime.jit.disasm import registers

LONGEST = 25  # instructions looked at before a call
BEHIND = 8  # instructions looked at behind it
NEVER_RETURN = frozenset((60, 231))  # exit, exit_group: a branch back from behind one never happens
ENDS = frozenset(("call", "jmp", "ret", "syscall", "leave", "endbr64", "ud2", "hlt"))
# Instructions that write all flags and read none, so those of before are dead.
SETTERS = frozenset(("cmp", "test", "sub", "add", "and", "or", "xor", "neg"))


@dataclass(frozen=True, slots=True)
class Trail:
    """One `syscall` at `address`; `number` -1 is not known.

    `before`: what leads to it, in order; whoever reaches it has passed all of these. `behind`: what follows,
    in order, all of it whenever the first was reached. `keeps_flags`: the flags may be read behind it.
    `is_shared`: other code jumps to the instruction behind.
    """

    address: int
    number: int
    before: tuple[Instruction, ...]
    behind: tuple[Instruction, ...]
    keeps_flags: bool
    is_shared: bool

    @property
    def end(self) -> int:
        """Return the address behind the instruction."""
        return self.address + 2


def trail_of(function: Function, address: int) -> Trail:
    """Return what surrounds the `syscall` at an address of a function."""
    index = next(i for i, one in enumerate(function.instructions) if one.address == address)
    number, exact = _number(function, index)
    behind = _behind(function, index)
    return Trail(
        address,
        number,
        _before(function, index, loops_matter=not (number in NEVER_RETURN and exact)),
        behind,
        _flags_live(behind),
        address + 2 in function.targets,
    )


def _before(function: Function, index: int, *, loops_matter: bool) -> tuple[Instruction, ...]:
    run: list[Instruction] = []
    targets = _targets(function, index, loops_matter=loops_matter)
    at = function.instructions[index].address
    for instruction in reversed(function.instructions[max(index - LONGEST, 0) : index]):
        if at in targets or instruction.base in ENDS or not can_displace(instruction):
            break
        run.insert(0, instruction)
        at = instruction.address
    return tuple(run)


def _targets(function: Function, index: int, *, loops_matter: bool) -> frozenset[int]:
    """Return where branches lead; those from behind a call that never returns do not count."""
    if loops_matter:
        return function.targets
    early = function.instructions[:index]
    return frozenset(i.target for i in early if i.target is not None and i.base != "call")


def _behind(function: Function, index: int) -> tuple[Instruction, ...]:
    run: list[Instruction] = []
    for instruction in function.instructions[index + 1 : index + 1 + BEHIND]:
        if run and instruction.address in function.targets:
            break
        run.append(instruction)
        if instruction.base in ENDS or instruction.is_conditional:
            break
    return tuple(run)


def _flags_live(behind: tuple[Instruction, ...]) -> bool:
    for instruction in behind:
        if instruction.base in SETTERS or instruction.is_return:
            return False
        if "rflags" in registers(instruction.data)[0] or not instruction.falls_through:
            return True
    return True


# --- the number


def _number(function: Function, index: int) -> tuple[int, bool]:
    """Return the number in rax, -1 for unknown; and whether it holds although branches lead in between.

    Only the straight way is followed. A branch to it from behind the call matters as well: rax is the result
    by then. Where the value comes through another register, that one is still what it was.
    """
    wanted, at = "rax", function.instructions[index].address
    crossed = False
    forward = _targets(function, index, loops_matter=False)
    for instruction in reversed(function.instructions[max(index - LONGEST, 0) : index]):
        if at in forward or instruction.base in ENDS:
            return -1, False
        crossed = crossed or at in function.targets
        at = instruction.address
        if instruction.is_conditional or wanted not in registers(instruction.data)[1]:
            continue
        value, wanted = _source(instruction, wanted)
        if value >= 0:
            return (value, crossed) if not crossed or value in NEVER_RETURN else (-1, False)
        if not wanted:
            return -1, False
    return -1, False


def _source(instruction: Instruction, register: str) -> tuple[int, str]:
    """Return the constant that an instruction loads (-1 none), and the register that it copies ("" none)."""
    to, _, source = instruction.operands.partition(", ")
    if instruction.base == "xor" and to == source:
        return 0, ""
    if instruction.base not in ("mov", "movabs") or register not in registers(instruction.data)[1]:
        return -1, ""
    if source.isdigit() or source.startswith("0x"):
        return int(source, 0), ""
    read = registers(instruction.data)[0]
    is_plain = "[" not in source and len(read) == 1 and source[0] in "er"
    return -1, next(iter(read)) if is_plain else ""
