"""One function of the target, decoded: instructions, branches inside, exits. Pure; bytes in, facts out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from attachers.patch.displace import ENDS, Instruction
from runtime.jit.disasm import decode

PADDING = {"nop", "int3", "xchg"}
# A return or jump, then the start of a long nop, or a run of one-byte ones.
_MAYBE_PADDING = re.compile(rb"(?:\xc3|\xe9.{4}|\xeb.|\xff.)(?:[\x66\x2e]*\x0f\x1f|[\x90\xcc]{5})", re.S)
MOST_SCANNED = 1 << 16  # bytes
_SHORT_BRANCH = re.compile(rb"[\x70-\x7f\xeb\xe0-\xe3]")  # jcc, jmp, loop, jrcxz with a rel8


@dataclass
class Function:
    """A function's code as it is in memory now. `start` and `size` in the target; `tail`: bytes behind it.

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

    def one_at(self, offset: int) -> list[Instruction]:
        """Return the instruction at an offset, decoded alone; empty where there is none."""
        return [self._make(row) for row in decode(self.code[offset : offset + 15], self.start + offset, 1)]

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

    def is_targeted(self, address: int) -> bool:
        """Return whether a branch of the function goes to an address inside; decodes it only when one may."""
        return self._may_be_targeted(address - self.start) and address in self.targets

    def _may_be_targeted(self, offset: int) -> bool:
        """Look for bytes that could be a branch to `offset`: cheap, and never misses one."""
        code = self.code
        if len(code) > MOST_SCANNED:
            return True
        low = max(offset - 129, 0)
        for found in _SHORT_BRANCH.finditer(code, low, min(offset + 128, len(code) - 1)):
            at = found.start() + 1
            if code[at] == (offset - at - 1) & 255:
                return True
        # A rel32 within 64 KiB ends in two bytes of ff where it leads back, of 00 where it leads on.
        return self._has_long_branch(offset, b"\xff\xff", offset, len(code)) or self._has_long_branch(
            offset, b"\0\0", 3, offset
        )

    def _has_long_branch(self, offset: int, high: bytes, start: int, end: int) -> bool:
        """Look for a `jmp` or `jcc` to `offset` whose displacement's high half, `high`, lies in a range."""
        code = self.code
        at = code.find(high, max(start, 3), end)
        while at >= 0:
            opcode = code[at - 3]
            is_branch = opcode == 0xE9 or (opcode & 0xF0 == 0x80 and code[at - 4] == 0x0F)
            if is_branch and at + 2 + int.from_bytes(code[at - 2 : at + 2], "little", signed=True) == offset:
                return True
            at = code.find(high, at + 1, end)
        return False

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
            is_indirect = i.base == "jmp" and i.target is None and not i.mnemonic.startswith("notrack")
            leaves = i.target is not None and i.base != "call" and not self.owns(i.target)
            if is_indirect or leaves:
                found.append(i)  # two conditions with names
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


def may_hold_padding(code: bytes) -> bool:
    """Return whether a piece of code has bytes that look like nops behind a jump or return: a quick look."""
    return _MAYBE_PADDING.search(code) is not None


def inner_padding(code: bytes, start: int) -> list[tuple[int, int]]:
    """Return (address, bytes) of nops that no thread executes: behind a jump or return, no branch goes there.

    `code` begins with a function's first instruction, at `start`.
    """
    found: list[tuple[int, int]] = []
    targets = set()
    first = 0
    ended = False
    end = start
    for address, size, mnemonic, operands in decode(code, start):
        end = address + size
        if mnemonic in ("nop", "int3"):
            first = first or (address if ended else 0)
            ended = False
            continue
        if first:
            found.append((first, address - first))
            first = 0
        if mnemonic[0] == "j" and operands.startswith("0x"):
            targets.add(int(operands, 16))
        ended = mnemonic in ENDS
    if first and end == start + len(code):
        found.append((first, end - first))
    return [(a, n) for a, n in found if n >= 5 and not any(a <= t < a + n for t in targets)]
