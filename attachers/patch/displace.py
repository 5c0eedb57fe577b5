"""Move one instruction of the target into a thunk, so that it does there what it did at its place."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from attachers.patch.assemble import Code, relative
from runtime.errors import AttachProblem
from runtime.jit.disasm import displacement_offset

_IMMEDIATE = re.compile(r"^(0x[0-9a-f]+|\d+)$")
LOOPS = {"loop", "loope", "loopne", "jrcxz", "jecxz"}
ENDS = {"ret", "jmp", "ud2", "hlt", "repz ret", "bnd ret", "bnd jmp", "notrack jmp", "retf"}
REFUSED = {"xbegin", "lcall", "ljmp", "int3", "int", "iretq", "popfq", "std", "cld"}


class Instruction(NamedTuple):
    """One decoded instruction of the target."""

    address: int
    data: bytes
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        """Return the address behind it."""
        return self.address + len(self.data)

    @property
    def target(self) -> int | None:
        """Return where a direct branch or call goes, else None."""
        is_branch = self.base[0] == "j" or self.base in LOOPS or self.base == "call"
        return int(self.operands, 0) if is_branch and _IMMEDIATE.match(self.operands) else None

    @property
    def base(self) -> str:
        """Return the mnemonic without prefixes such as `notrack` or `bnd`."""
        return self.mnemonic.rpartition(" ")[2]

    @property
    def is_return(self) -> bool:
        """Return whether it is a near return."""
        return self.base == "ret"

    @property
    def is_conditional(self) -> bool:
        """Return whether it may branch or fall through."""
        return (self.base[0] == "j" and self.base != "jmp") or self.base in LOOPS

    @property
    def falls_through(self) -> bool:
        """Return whether the next instruction may follow it."""
        return self.mnemonic not in ENDS and self.base not in ENDS


def can_displace(instruction: Instruction) -> bool:
    """Return whether an instruction does the same elsewhere after `displace`."""
    return instruction.base not in REFUSED and not (
        instruction.base == "call" and instruction.target is None and "rsp" in instruction.operands
    )


def displace(code: Code, instruction: Instruction) -> None:
    """Append an instruction of the target to a thunk, rewritten for its new place.

    Raises:
        AttachProblem: it cannot be moved, or its operand is out of reach from here.
    """
    if not can_displace(instruction):
        raise AttachProblem(f"'{instruction.mnemonic}' at {instruction.address:#x} cannot be moved", errno=95)
    target = instruction.target
    if instruction.base == "endbr64":
        return
    if target is not None:
        _branch(code, instruction, target)
    elif "rip" in instruction.operands:
        _rip_relative(code, instruction)
    else:
        code.raw(instruction.data)


def _branch(code: Code, instruction: Instruction, target: int) -> None:
    base = instruction.base
    if base == "call":
        code.call(target)
    elif base == "jmp":
        code.jump(target)
    elif base in LOOPS:
        prefix = instruction.data[:-2]
        code.raw(prefix + instruction.data[-2:-1] + b"\x02\xeb\x05")
        code.jump(target)
    else:
        condition = instruction.data[-1 - 1] & 15 if len(instruction.data) < 6 else instruction.data[-5] & 15
        code.raw(bytes([0x0F, 0x80 | condition]) + relative(target, code.here + 6))


def _rip_relative(code: Code, instruction: Instruction) -> None:
    at = displacement_offset(instruction.data)
    (old,) = struct.unpack_from("<i", instruction.data, at)
    moved = relative(instruction.end + old, code.here + len(instruction.data))
    code.raw(instruction.data[:at] + moved + instruction.data[at + 4 :])
