"""What a function does right before and right behind one of its `syscall` instructions.

Before: the straight run of instructions that leads there.
Behind: the run up to the first instruction that branches. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.displace import Instruction, can_displace
from attachers.patch.function import Function
from runtime.jit.disasm import registers

JUMP, LINE = 5, 64  # bytes of a jump, and of a cache line: its first two bytes lie in one
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
    in order, all of it whenever the first was reached; a `ret` among it leads to the only caller.
    `is_shared`: other code jumps to the instruction behind.
    """

    address: int
    number: int
    before: tuple[Instruction, ...]
    behind: tuple[Instruction, ...]
    is_shared: bool

    @property
    def goes_on(self) -> bool:
        """Return whether `behind` goes on in the function's only caller: also reached without the call."""
        return any(i.is_return for i in self.behind[:-1])

    @property
    def end(self) -> int:
        """Return the address behind the instruction."""
        return self.address + 2

    def flags_matter(self, at: int) -> bool:
        """Return whether the flags may be read from an address behind the call on."""
        for instruction in self.behind:
            if instruction.address < at:
                continue
            if instruction.base in SETTERS or instruction.is_return:
                return False
            if "rflags" in registers(instruction.data)[0] or not instruction.falls_through:
                return True
        return True


def trail_of(function: Function, address: int, number: int) -> Trail:
    """Return what surrounds the `syscall` at an address of a function; `number` of its call, or -1."""
    index = next(i for i, one in enumerate(function.instructions) if one.address == address)
    behind = run_behind(function, index)
    return Trail(
        address,
        number,
        _before(function, index, loops_matter=number not in NEVER_RETURN),
        behind,
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
    wide = [n for n, one in enumerate(run) if len(one.data) >= JUMP and one.address % LINE != LINE - 1]
    return tuple(run[wide[-1] if wide else 0 :])  # nothing before the nearest that has room is ever needed


def _targets(function: Function, index: int, *, loops_matter: bool) -> frozenset[int]:
    """Return where branches lead; those from behind a call that never returns do not count."""
    if loops_matter:
        return function.targets
    early = function.instructions[:index]
    return frozenset(i.target for i in early if i.target is not None and i.base != "call")


def run_behind(function: Function, index: int) -> tuple[Instruction, ...]:
    """Return what follows an instruction of a function, up to the first that branches or is branched to."""
    run: list[Instruction] = []
    for instruction in function.instructions[index + 1 : index + 1 + BEHIND]:
        if run and instruction.address in function.targets:
            break
        run.append(instruction)
        if instruction.base in ENDS or instruction.is_conditional:
            break
    return tuple(run)
