"""What has happened between a function's start and a site behind it, and how to see or undo it.

A probe may sit behind instructions that only save registers, make room on the stack or fill registers that
were saved: the arguments are still where they were, and the rest can be read back from the stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from attachers.patch.displace import Instruction

SAVED_BY_CALLEE = ("rbx", "rbp", "r12", "r13", "r14", "r15")
_WHOLE = {**{n: n for n in SAVED_BY_CALLEE}, "ebx": "rbx", "ebp": "rbp"} | {
    f"r{n}d": f"r{n}" for n in range(12, 16)
}
_SUBTRACT = re.compile(r"rsp, (0x[0-9a-f]+|\d+)")
_FILLS = frozenset(("mov", "lea", "xor", "movsxd", "movzx", "movsx"))


@dataclass
class Walk:
    """State of the stack and of the callee-saved registers after some instructions.

    `depth`: bytes between rsp now and the return address. `slots`: where each register was saved, as bytes
    above the rsp of that moment's depth. `changed`: registers that hold something else now.
    """

    depth: int = 0
    slots: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def step(self, insn: Instruction) -> bool:
        """Take one instruction into account; False where it does more than may be walked past."""
        if insn.base in ("endbr64", "nop"):
            return True
        if insn.base == "push" and insn.operands.isalnum() and insn.operands[0] == "r":
            self.depth += 8
            self.slots.setdefault(insn.operands, self.depth)
            return True
        found = _SUBTRACT.fullmatch(insn.operands) if insn.base == "sub" else None
        if found and int(found[1], 0) < 1 << 20:
            self.depth += int(found[1], 0)
            return True
        return insn.base in _FILLS and self._fill(insn)

    def _fill(self, insn: Instruction) -> bool:
        """A saved register gets a new value, from registers and constants only."""
        left, _, right = insn.operands.partition(", ")
        register = _WHOLE.get(left, "")
        if register not in self.slots or ("[" in right and insn.base != "lea"):
            return False
        if insn.base == "xor" and left != right:
            return False
        if register not in self.changed:
            self.changed.append(register)
        return True

    def slot(self, register: str) -> int:
        """Return where a saved register lies, in bytes above rsp as it is now."""
        return self.depth - self.slots[register]


def walk(instructions: tuple[Instruction, ...]) -> Walk:
    """Return the state behind instructions that may all be walked past."""
    state = Walk()
    for insn in instructions:
        state.step(insn)
    return state
