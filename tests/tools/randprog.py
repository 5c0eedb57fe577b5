"""Random eBPF programs that end, with a defined result: a hash of all registers and the stack."""

from __future__ import annotations

import random
import struct

EDGES = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000),
    *(1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 2),
)
IMMEDIATES = (0, 1, 2, 7, 31, 32, 63, -1, -2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, -(1 << 31))
SLOTS = 8  # eight-byte words of stack that programs use, from r10 - 64
KEEP = -8 * (SLOTS + 1)
MULTIPLIER = 0x5BD1E995
ALU = (0x00, 0x10, 0x20, 0x40, 0x50, 0xA0)
SHIFTS = (0x60, 0x70, 0xC0)
JUMPS = (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
ATOMICS = (0x00, 0x40, 0x50, 0xA0, 0x01, 0x41, 0x51, 0xA1, 0xE1, 0xF1)
SIZES = {0x10: 1, 0x08: 2, 0x00: 4, 0x18: 8}


def insn(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", op, dst | src << 4, off, imm)


def wide(dst: int, value: int) -> bytes:
    low, high = struct.unpack("<ii", struct.pack("<Q", value))
    return insn(0x18, dst, 0, 0, low) + insn(0, 0, 0, 0, high)


class Generator:
    """One program; `items` are instructions, a jump is (opcode, dst, src, imm, how many items ahead)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.items: list[bytes | tuple[int, int, int, int, int]] = []

    def imm(self) -> int:
        pick = self.random
        return pick.choice(IMMEDIATES) if pick.random() < 0.6 else pick.randrange(-(1 << 31), 1 << 31)

    def value(self) -> int:
        pick = self.random
        return pick.choice(EDGES) if pick.random() < 0.7 else pick.getrandbits(64)

    def register(self) -> int:
        return self.random.randrange(10)

    def alu(self) -> bytes:
        pick, kind = self.random, self.random.choice((4, 7))
        op = pick.choice((*ALU, *SHIFTS, 0x30, 0x90, 0xB0, 0x80, "swap", "movsx"))
        dst, src = self.register(), self.register()
        if op == "swap":
            return insn(pick.choice((0xD4, 0xDC, 0xD7)), dst, 0, 0, pick.choice((16, 32, 64)))
        if op == "movsx":
            return insn(0xB8 | kind, dst, src, pick.choice((8, 16, 32) if kind == 7 else (8, 16)))
        if op == 0x80:
            return insn(0x80 | kind, dst)
        off = pick.randrange(2) if op in (0x30, 0x90) else 0
        if pick.random() < 0.5:
            return insn(op | 8 | kind, dst, src, off)
        imm = self.imm()
        if op in SHIFTS:
            imm &= 63 if kind == 7 else 31
        if op in (0x30, 0x90) and imm == 0:
            imm = 3
        return insn(op | kind, dst, 0, off, imm)

    def slot(self, size: int) -> int:
        return -8 * SLOTS + self.random.randrange(8 * SLOTS // size) * size

    def memory(self) -> bytes:
        pick = self.random
        bits = pick.choice(tuple(SIZES))
        size, register = SIZES[bits], self.register()
        form = pick.randrange(4)
        if form == 0:
            return insn(0x61 | bits, register, 10, self.slot(size))
        if form == 1:
            signed = pick.choice((0x10, 0x08, 0x00))
            return insn(0x81 | signed, register, 10, self.slot(SIZES[signed]))
        if form == 2:
            return insn(0x62 | bits, 10, 0, self.slot(size), self.imm())
        return insn(0x63 | bits, 10, register, self.slot(size))

    def atomic(self) -> bytes:
        bits = self.random.choice((0x00, 0x18))
        return insn(0xC3 | bits, 10, self.register(), self.slot(SIZES[bits]), self.random.choice(ATOMICS))

    def jump(self) -> tuple[int, int, int, int, int]:
        pick, kind = self.random, self.random.choice((5, 6))
        ahead = pick.randrange(1, 7)
        if pick.random() < 0.08:
            return (0x05, 0, 0, 0, 1)  # further ahead it would leave dead code, which the kernel refuses
        op = pick.choice(JUMPS) | kind
        if pick.random() < 0.5:
            return (op | 8, self.register(), self.register(), 0, ahead)
        return (op, self.register(), 0, self.imm(), ahead)

    def program(self, length: int, *, hidden: bool) -> bytes:
        """Give a program; `hidden`: no verifier or optimiser can know the initial values."""
        pick = self.random
        start = b""
        if hidden:
            start = insn(0x85, 0, 0, 0, 7) + insn(0x77, 0, 0, 0, 32) + insn(0x7B, 10, 0, KEEP)
        for register in range(10):
            start += wide(register, self.value())
        if hidden:
            start += insn(0x7B, 10, 0, KEEP - 8) + insn(0x79, 0, 10, KEEP)
            start += b"".join(insn(0x0F, r, 0) for r in range(1, 10))
            start += insn(0xBF, 9, 0) + insn(0x79, 0, 10, KEEP - 8) + insn(0x0F, 0, 9)
        start += b"".join(insn(0x7B, 10, pick.randrange(10), -8 * slot) for slot in range(1, SLOTS + 1))
        makers = (*[self.alu] * 6, *[self.memory] * 3, self.atomic, self.jump, self.jump)
        for _ in range(length):
            self.items.append(pick.choice(makers)())
        return start + self.resolve() + self.finish()

    def resolve(self) -> bytes:
        out = b""
        for index, item in enumerate(self.items):
            if isinstance(item, bytes):
                out += item
                continue
            op, dst, src, imm, ahead = item
            ahead = min(ahead, len(self.items) - index)
            out += insn(op, dst, src, ahead - 1, imm)
        return out

    def finish(self) -> bytes:
        out = insn(0x7B, 10, 0, KEEP) + insn(0xB7, 0, 0, 0, 17)
        for register in range(1, 10):
            out += insn(0x27, 0, 0, 0, MULTIPLIER) + insn(0x0F, 0, register)
        for slot in range(1, SLOTS + 2):
            out += insn(0x79, 1, 10, -8 * slot) + insn(0x27, 0, 0, 0, MULTIPLIER) + insn(0x0F, 0, 1)
        out += insn(0xBF, 1, 0) + insn(0x77, 1, 0, 0, 32) + insn(0xAF, 0, 1)
        return out + insn(0x95)


def random_program(seed: int, length: int = 60) -> bytes:
    """Give the program of a seed; every second one hides its initial values."""
    return Generator(seed).program(length, hidden=bool(seed & 1))
