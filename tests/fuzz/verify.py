"""Random bytecode: the verifier may only raise `Problem`, and what it proves must hold in a run."""

from __future__ import annotations

import random
import time

from runtime.ebpf.insn import Insn, encode
from runtime.ebpf.object import Program
from runtime.errors import Problem
from runtime.maps.spec import MapSpec
from runtime.types import ContextKind
from runtime.verify import verify
from tests.tools.machine import Machine, Wrong

MAPS = {
    "hash": MapSpec("hash", 1, 4, 16, 8),
    "array": MapSpec("array", 2, 4, 64, 8),
    ".data": MapSpec(".data", 2, 4, 32, 1, initial=bytes(range(32))),
    ".rodata": MapSpec(".rodata", 2, 4, 32, 1, flags=0x80, initial=bytes(range(32))),
    "ring": MapSpec("ring", 27, 0, 0, 4096),
}
EDGES = [0, 1, 2, 3, 7, 8, 15, 16, 31, 63, 64, 255, 256, -1, -2, -8, 0x7FFF, 2**31 - 1, -(2**31)]
SIZES = [0x00, 0x08, 0x10, 0x18]
HELPERS = [5, 7, 14, 8, 1, 1, 1, 2, 3, 131, 132, 133, 112, 114, 16, 181, 100001]


class Writer:
    """Writes one random program: mostly sensible pieces, some nonsense."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.units: list[bytes] = []
        self.refs: dict[int, str] = {}
        self.functions: list[int] = []
        self.set = {1, 10}

    def add(self, op, dst=0, src=0, off=0, imm=0, high=0) -> None:
        raw = encode(Insn(op, dst, src, off, imm, high))
        self.units += [raw[at : at + 8] for at in range(0, len(raw), 8)]

    def reg(self) -> int:
        good = sorted(self.set - {10})
        return self.rng.choice(good) if good and self.rng.random() < 0.95 else self.rng.randrange(11)

    def imm(self) -> int:
        return self.rng.choice(EDGES) if self.rng.random() < 0.7 else self.rng.randrange(-100, 100)

    def alu(self) -> None:
        rng = self.rng
        op, kind = rng.choice([0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 9, 10, 11, 11, 12]), rng.choice([4, 7, 7])
        dst = rng.randrange(10) if op == 11 else self.reg()
        if rng.random() < 0.5:
            off = rng.choice([0, 0, 0, 1]) if op in (3, 9) else rng.choice([0, 0, 8, 16]) if op == 11 else 0
            self.add(op << 4 | 8 | kind, dst, self.reg(), off)
        else:
            self.add(op << 4 | kind, dst, 0, 0, self.imm())
        self.set.add(dst)

    def unary(self) -> None:
        dst = self.reg()
        if self.rng.random() < 0.5:
            self.add(0x80 | self.rng.choice([4, 7]), dst)
        else:
            self.add(self.rng.choice([0xD4, 0xDC, 0xD7]), dst, imm=self.rng.choice([16, 32, 64]))

    def stack(self) -> None:
        rng = self.rng
        size = rng.choice(SIZES)
        off = -8 * rng.randrange(1, 5) + rng.choice([0, 0, 0, 4, 2, 1])
        kind = rng.random()
        if kind < 0.5:
            self.add(0x63 | size, 10, self.reg(), off)
        elif kind < 0.6:
            self.add(0x62 | size, 10, 0, off, self.imm())
        else:
            dst = rng.randrange(10)
            self.add((0x61 if rng.random() < 0.8 or size == 0x18 else 0x81) | size, dst, 10, off)
            self.set.add(dst)

    def access(self) -> None:
        rng = self.rng
        size, off = rng.choice(SIZES), rng.choice([0, 0, 4, 8, 12, 16, 24, 56, 60, 64, 112, 160])
        if rng.random() < 0.5:
            dst = rng.randrange(10)
            self.add(0x61 | size, dst, self.reg(), off)
            self.set.add(dst)
        else:
            self.add(0x63 | size, self.reg(), self.reg(), off)

    def atomic(self) -> None:
        rng = self.rng
        imm = rng.choice([0, 0x40, 0x50, 0xA0, 1, 0x41, 0x51, 0xA1, 0xE1, 0xF1, 0x100, 0x110])
        base = rng.choice([10, self.reg()])
        off = -8 * rng.randrange(1, 4) if base == 10 else rng.choice([0, 8, 4])
        op = rng.choice([0xC3, 0xDB])
        other = self.reg()
        dst, src = (other, base) if imm == 0x100 else (base, other)
        self.add(op, dst, src, off, imm)

    def jump(self) -> None:
        rng = self.rng
        kind = rng.choice([5, 5, 6])
        op = rng.choice([1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13])
        off = rng.choice([1, 1, 2, 3, 4, 6, 10]) if rng.random() < 0.85 else -rng.randrange(1, 12)
        if rng.random() < 0.4:
            self.add(op << 4 | 8 | kind, self.reg(), self.reg(), off)
        elif rng.random() < 0.95:
            self.add(op << 4 | kind, self.reg(), 0, off, self.imm())
        else:
            self.add(rng.choice([0x05, 0xE5]), off=off)

    def constant(self) -> None:
        rng = self.rng
        dst = rng.randrange(10)
        pick = rng.random()
        if pick < 0.3:
            self.add(0x18, dst, 0, 0, self.imm(), self.imm())
        else:
            name = rng.choice([".data", ".rodata"])
            self.refs[len(self.units)] = name
            self.add(0x18, dst, 2, 0, 0, rng.choice([0, 0, 4, 8, 31]))
        self.set.add(dst)

    def lookup(self) -> None:
        rng = self.rng
        name = rng.choice(["hash", "array"])
        self.add(0x62, 10, 0, -4, rng.randrange(10))
        self.refs[len(self.units)] = name
        self.add(0x18, 1, 1)
        self.add(0xBF, 2, 10)
        self.add(0x07, 2, 0, 0, -4)
        self.add(0x85, imm=1)
        self.set -= {1, 2, 3, 4, 5}
        self.set.add(0)
        if rng.random() < 0.9:
            self.add(0x55, 0, 0, 2)
            self.add(0xB7, 0, 0, 0, 0)
            self.add(0x95)
        keep = rng.choice([0, 6, 7, 8])
        if keep:
            self.add(0xBF, keep, 0)
            self.set.add(keep)

    def index(self) -> None:
        """A limited number added to a pointer."""
        rng = self.rng
        number, pointer = self.reg(), self.reg()
        if rng.random() < 0.7:
            self.add(0x57, number, 0, 0, rng.choice([1, 3, 7, 8, 15, 31, 63]))
        else:
            self.add(rng.choice([0x25, 0x2D & ~8, 0xA5]), number, 0, 1, rng.choice([3, 7, 15]))
        self.add(0x0F, pointer, number)

    def loop(self) -> None:
        rng = self.rng
        counter = rng.randrange(6, 10)
        self.add(0xB7, counter, 0, 0, rng.choice([0, 0, 1, 5]))
        self.set.add(counter)
        start = len(self.units)
        for _ in range(rng.randrange(1, 5)):
            rng.choice([self.alu, self.stack, self.access, self.index])()
        self.add(rng.choice([0x07, 0x04]), counter, 0, 0, rng.choice([1, 1, 1, 2, 8, -1]))
        back = start - len(self.units) - 1
        op = rng.choice([0xA5, 0x55, 0xC5, 0xB5, 0xA6, 0x56])
        self.add(op, counter, 0, back, rng.choice([4, 8, 10, 16, 64, 100]))

    def record(self) -> None:
        rng = self.rng
        self.refs[len(self.units)] = "ring"
        self.add(0x18, 1, 1)
        self.add(0xB7, 2, 0, 0, rng.choice([8, 16, 24]))
        self.add(0xB7, 3)
        self.add(0x85, imm=131)
        self.add(0x55, 0, 0, 2)
        self.add(0xB7, 0)
        self.add(0x95)
        self.set -= {1, 2, 3, 4, 5}
        self.set.add(0)
        self.add(0xBF, 6, 0)
        self.set.add(6)
        for _ in range(rng.randrange(3)):
            self.add(0x7A, 6, 0, rng.choice([0, 8, 16]), 1)
            rng.choice([self.alu, self.stack])()
        self.add(0xBF, 1, 6)
        self.add(0xB7, 2)
        self.add(0x85, imm=rng.choice([132, 133]))
        self.set -= {1, 2, 3, 4, 5, 6}

    def helper(self) -> None:
        rng = self.rng
        number = rng.choice(HELPERS)
        if number in (112, 114, 16):
            self.add(0xBF, 1, 10)
            self.add(0x07, 1, 0, 0, rng.choice([-8, -16, -24, -32]))
            self.add(0xB7, 2, 0, 0, rng.choice([1, 4, 8, 16]))
            self.add(0xB7, 3, 0, 0, 0)
        elif number == 100001:
            self.add(0xBF, 1, self.reg())
        self.add(0x85, imm=number)
        self.set -= {1, 2, 3, 4, 5}
        self.set.add(0)

    def local(self) -> None:
        self.functions.append(len(self.units))
        self.add(0x85, 0, 1, 0, 0)
        self.set -= {1, 2, 3, 4, 5}
        self.set.add(0)

    def callback(self) -> None:
        self.add(0xB7, 1, 0, 0, self.rng.choice([1, 3, 10, 64]))
        self.functions.append(len(self.units))
        self.add(0x18, 2, 4)
        self.add(0xBF, 3, self.rng.choice([10, self.reg()]))
        self.add(0xB7, 4)
        self.add(0x85, imm=181)
        self.set -= {1, 2, 3, 4, 5}
        self.set.add(0)

    def body(self, pieces: int) -> None:
        rng = self.rng
        common = [self.alu, self.alu, self.alu, self.stack, self.stack, self.jump, self.constant, self.unary]
        rare = [self.access, self.access, self.atomic, self.lookup, self.index, self.loop, self.record]
        rare += [self.helper, self.local, self.callback]
        for _ in range(pieces):
            rng.choice(common if rng.random() < 0.6 else rare)()
        if 0 not in self.set or rng.random() < 0.3:
            self.add(0xB7, 0, 0, 0, rng.choice([0, 0, 1]))
        self.add(0x95)

    def program(self) -> Program:
        rng = self.rng
        for register in rng.sample([0, 6, 7, 8, 9], 3):
            self.add(0xB7, register, 0, 0, self.imm())
            self.set.add(register)
        if rng.random() < 0.5:
            self.add(0x79, 7, 1, 112)  # an unknown number
            self.set.add(7)
        for offset in (-8, -16, -24, -32):
            if rng.random() < 0.8:
                self.add(0x7A, 10, 0, offset, self.imm())
        self.body(rng.randrange(1, 14))
        calls, self.functions = self.functions, []
        if calls:
            start = len(self.units)
            self.set = {1, 2, 10}
            self.body(rng.randrange(1, 6))
            self.functions = calls
            for at in calls:
                self.units[at] = self.units[at][:4] + (start - at - 1).to_bytes(4, "little", signed=True)
        context = rng.choice([ContextKind.UPROBE, ContextKind.UPROBE, ContextKind.MEMORY])
        return Program("fuzz", "", context, "", b"".join(self.units), self.refs)


def garbage(rng: random.Random) -> Program:
    """Bytes with hardly any sense."""
    code = bytearray(rng.randbytes(8 * rng.randrange(1, 30)))
    for at in range(0, len(code), 8):
        if rng.random() < 0.8:
            code[at] = rng.choice(
                [0xB7, 0xBF, 0x07, 0x0F, 0x61, 0x79, 0x63, 0x7B, 0x55, 0x05, 0x85, 0x95, 0x18, 0xDB]
            )
            code[at + 1] &= 0x9A
            code[at + 2 : at + 8] = rng.choice(EDGES[:12]).to_bytes(2, "little") + bytes(
                [code[at + 4] & 15, 0, 0, 0]
            )
    return Program("garbage", "", ContextKind.UPROBE, "", bytes(code))


def one(seed: int) -> str:
    """Try one seed; returns what became of it, raises on a fault of the verifier."""
    rng = random.Random(seed)
    program = garbage(rng) if rng.random() < 0.05 else Writer(rng).program()
    started = time.monotonic()
    try:
        verified = verify(program, MAPS)
    except Problem:
        return "refused"
    finally:
        if time.monotonic() - started > 20:
            raise Wrong("verification takes too long")
    for _ in range(4):
        Machine(program, verified, MAPS, rng).run()
    return "accepted"


def run(seconds: float, seed: int) -> dict[str, int]:
    """Try seeds until the time is over."""
    counts: dict[str, int] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            outcome = one(seed)
        except Exception:
            print(f"verify: seed {seed}")
            raise
        counts[outcome] = counts.get(outcome, 0) + 1
        seed += 1
    return counts
