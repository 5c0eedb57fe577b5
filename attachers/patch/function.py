"""One function of the target, decoded: instructions, branches inside, exits. Pure; bytes in, facts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from attachers.patch.displace import Instruction
from runtime.jit.disasm import decode

PADDING = {"nop", "int3", "xchg"}


@dataclass
class Function:
    """A function's code as it is in memory now. `start` and `size` in the target; `tail` are the bytes behind it.

    `others` are ranges that belong to it as well (`name.cold`): jumps there are no exits.
    """

    name: str
    start: int
    code: bytes
    tail: bytes = b""
    others: tuple[tuple[int, int], ...] = ()
    decoded: list[Instruction] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Return the address behind the last byte."""
        return self.start + len(self.code)

    @cached_property
    def instructions(self) -> list[Instruction]:
        """Return all instructions of a linear decode."""
        return [self._make(row) for row in decode(self.code, self.start)]

    def first(self, count: int) -> list[Instruction]:
        """Return the first `count` instructions without decoding the rest."""
        return [self._make(row) for row in decode(self.code[: 15 * count], self.start)[:count]]

    def _make(self, row: tuple[int, int, str, str]) -> Instruction:
        at = row[0] - self.start
        return Instruction(row[0], self.code[at : at + row[1]], row[2], row[3])

    @cached_property
    def is_whole(self) -> bool:
        """Return whether the decode reached the last byte."""
        return bool(self.instructions) and self.instructions[-1].end == self.end

    @cached_property
    def targets(self) -> frozenset[int]:
        """Return the addresses inside that direct branches of the function go to."""
        found = (i.target for i in self.instructions if i.target is not None and i.base != "call")
        return frozenset(t for t in found if self.start <= t < self.end)

    def owns(self, address: int) -> bool:
        """Return whether an address is part of this function."""
        return self.start <= address < self.end or any(a <= address < b for a, b in self.others)

    @cached_property
    def returns(self) -> list[Instruction]:
        """Return its `ret` instructions."""
        return [i for i in self.instructions if i.is_return]

    @cached_property
    def leaves(self) -> list[Instruction]:
        """Return the jumps by which it may leave: tail calls, direct or through a register or memory."""
        found = []
        for i in self.instructions:
            if i.base == "jmp" and i.target is None and not i.mnemonic.startswith("notrack"):
                found.append(i)
            elif i.target is not None and i.base != "call" and not self.owns(i.target):
                found.append(i)
        return found

    @cached_property
    def padding(self) -> int:
        """Return how many bytes right behind the function are padding that nobody executes."""
        count = 0
        for address, size, mnemonic, operands in decode(self.tail, self.end):
            if mnemonic.split(" ")[-1] not in PADDING or (mnemonic == "xchg" and operands != "ax, ax"):
                break
            count = address + size - self.end
        return count


def inner_padding(function: Function) -> list[tuple[int, int]]:
    """Return (address, bytes) of nops that no thread executes: behind a jump or return, no branch goes there."""
    found = []
    start = 0
    previous: Instruction | None = None
    for instruction in function.instructions:
        is_nop = instruction.base in PADDING and instruction.base != "xchg"
        if is_nop and start == 0 and previous is not None and not previous.falls_through:
            start = instruction.address
        elif not is_nop and start:
            found.append((start, instruction.address - start))
            start = 0
        previous = instruction
    if start and function.is_whole:
        found.append((start, function.end - start))
    return [(a, n) for a, n in found if n >= 5 and not any(a <= t < a + n for t in function.targets)]
