"""A slow eBPF machine that checks every fact of the verifier while it runs a program.

Addresses are plain integers; memory is a list of regions with gaps between them. `Wrong` means that the
verifier was wrong: a fact does not hold, or an accepted program does what it must not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from runtime.ebpf.insn import ALU64, CMPXCHG, FETCH, LOAD_ACQUIRE, STORE_RELEASE, XCHG, Insn, decode
from runtime.ebpf.object import Program
from runtime.maps.spec import MapSpec
from runtime.verify import Access, Proof, Verified
from runtime.verify import arithmetic as ar
from runtime.verify.branches import OPPOSITE

M32, M64 = 2**32 - 1, 2**64 - 1
MAX_STEPS = 20_000
FUNCTION_BASE, MAP_BASE = 0x7000_0000_0000, 0x7100_0000_0000


class Wrong(AssertionError):
    """A fact of the verifier does not hold."""


@dataclass
class Region:
    base: int
    data: bytearray
    kind: str
    name: str = ""
    live: bool = True
    written: bytearray | None = None


@dataclass
class Frame:
    stack: Region
    entry: int
    back: int = -1
    saved: list[int | None] = field(default_factory=list)
    callback: tuple[int, int, list[int | None]] | None = None  # call pc, runs left, arguments
    results: dict[int, int] = field(default_factory=dict)


class Machine:
    """One run of one verified program with random input."""

    def __init__(self, program: Program, verified: Verified, maps: dict[str, MapSpec], rng: random.Random):
        self.program, self.verified, self.maps, self.rng = program, verified, maps, rng
        self.insns = decode(program.insns)
        self.regions: list[Region] = []
        self.next = 0x10_0000
        self.regs: list[int | None] = [None] * 11
        self.frames: list[Frame] = []
        self.values: dict[tuple[str, bytes], Region] = {}
        self.records: list[Region] = []
        self.context = self.region(bytearray(rng.randbytes(168)), "context")
        self.push(0)
        if program.context.value == "memory":
            size = rng.choice([0, 1, 8, 24, 64])
            self.input = self.region(bytearray(rng.randbytes(size)), "input")
            self.regs[1], self.regs[2] = (self.input.base if size else 0), size
        else:
            self.regs[1] = self.context.base
        self.input_base = self.regs[1]

    def region(self, data, kind, name="", written=None):
        out = Region(self.next, data, kind, name, written=written)
        self.next += 0x10000
        self.regions.append(out)
        return out

    def push(self, entry):
        stack = self.region(bytearray(512), "stack", written=bytearray(512))
        stack.base += 0x400
        self.frames.append(Frame(stack, entry))
        self.regs[10] = stack.base + 512

    def need(self, register):
        value = self.regs[register]
        if value is None:
            raise Wrong(f"insn {self.pc}: r{register} is read but not set")
        return value

    def find(self, address, size):
        for region in self.regions:
            if region.live and region.base <= address and address + size <= region.base + len(region.data):
                return region
        return None

    # --- running

    def run(self):
        self.pc = 0
        self.rounds = 0
        for _ in range(MAX_STEPS):
            if self.pc not in self.verified.reachable:
                raise Wrong(f"insn {self.pc} runs but was not found reachable")
            if self.step(self.insns[self.pc]):
                return self.finish()
        if not self.verified.fuel and self.rounds > 4 * MAX_STEPS:
            raise Wrong("a loop without fuel does not end")
        return None

    def finish(self):
        result = self.need(0)
        if any(record.live for record in self.records):
            raise Wrong("a record is still open")
        known = self.verified.r0_constant
        if known is not None and known != result:
            raise Wrong(f"r0 is {result:#x}, not {known:#x}")
        return result

    def step(self, insn: Insn):
        kind = insn.op & 7
        if kind in (4, 7):
            self.compute(insn)
        elif kind in (5, 6):
            return self.jump(insn)
        elif kind == 0:
            self.wide(insn)
            return False
        else:
            self.memory(insn)
        self.pc += 1
        return False

    def wide(self, insn):
        if insn.src == 0:
            value = insn.imm64
        elif insn.src == 4:
            value = FUNCTION_BASE + 8 * (self.pc + 1 + insn.imm)
        elif insn.src == 1:
            value = MAP_BASE + 4096 * sorted(self.maps).index(self.program.map_refs[self.pc])
        else:
            name = self.program.map_refs[self.pc]
            value = self.value_of(name, bytes(4)).base + (insn.high & M32)
        self.regs[insn.dst] = value
        self.pc += 2

    def compute(self, insn):
        width = 64 if insn.kind == ALU64 else 32
        op, limit = insn.op >> 4, (1 << width) - 1
        if op == 11:
            value = self.need(insn.src) if insn.op & 8 else insn.imm & M64
            if insn.off:
                value = ar.to_signed(value & ((1 << insn.off) - 1), insn.off)
            self.regs[insn.dst] = value & limit
            return
        left = self.need(insn.dst)
        if op == 8:
            self.regs[insn.dst] = -left & limit
        elif op == 13:
            low = left & ((1 << insn.imm) - 1)
            swap = width == 64 or insn.op & 8
            raw = low.to_bytes(insn.imm // 8, "little")
            self.regs[insn.dst] = int.from_bytes(raw, "big" if swap else "little")
        else:
            right = self.need(insn.src) if insn.op & 8 else insn.imm & M64
            exact = ar.concrete_signed if insn.off and op in (3, 9) else ar.concrete
            self.regs[insn.dst] = exact(op, width, left & limit, right & limit)

    # --- memory

    def memory(self, insn):
        fact = self.verified.accesses.get(self.pc)
        if fact is None:
            raise Wrong(f"insn {self.pc}: no fact for an access")
        atomic = insn.kind == 3 and insn.is_atomic
        pointer = insn.src if insn.kind == 1 or (atomic and insn.imm == LOAD_ACQUIRE) else insn.dst
        address = (self.need(pointer) + insn.off) & M64
        store = insn.kind != 1 and not (atomic and insn.imm == LOAD_ACQUIRE)
        region = self.check(fact, address, insn.size, store)
        if insn.kind == 1:
            value = self.load(region, address, insn.size)
            if insn.op >> 5 == 4:
                value = ar.to_signed(value, 8 * insn.size) & M64
            self.regs[insn.dst] = value
        elif atomic:
            self.atomic(insn, region, address)
        else:
            value = insn.imm if insn.kind == 2 else self.need(insn.src)
            self.store(region, address, insn.size, value)

    def check(self, fact: Access, address, size, store):
        region = self.find(address, size)
        if fact.size != size:
            raise Wrong(f"insn {self.pc}: size {fact.size}")
        if fact.proof is Proof.FAULT_SAFE:
            if store:
                raise Wrong(f"insn {self.pc}: fault-safe store")
            return region and Region(region.base, region.data, region.kind)  # may read anything
        if fact.proof is Proof.GUARDED:
            return self.guarded(fact, address, size)
        if region is None:
            raise Wrong(f"insn {self.pc}: {fact} but {address:#x} is not memory")
        self.check_place(fact, region, address)
        return region

    def check_place(self, fact, region, address):
        if fact.proof is Proof.CONTEXT:
            good = region is self.context and fact.offset in (None, address - region.base)
        elif fact.proof is Proof.STACK:
            frame = self.frames[-1 - fact.frame] if fact.frame < len(self.frames) else None
            offset = address - region.base - 512
            good = frame is not None and region is frame.stack and fact.offset in (None, offset)
            good = good and -offset <= self.verified.stack[frame.entry]
        else:
            good = region.kind in ("value", "record", "stack", "scratch", "key")
            if fact.value_of:
                good = region.name == fact.value_of and fact.offset in (None, address - region.base)
        if not good:
            raise Wrong(f"insn {self.pc}: {fact} but it is {region.kind} {region.name} at {address:#x}")

    def guarded(self, fact, address, size):
        if fact.origin == -1:
            base, bound = self.input_base, len(self.input.data)
        elif fact.origin == -2:
            base, bound = self.value_of(fact.value_of, bytes(4)).base, fact.bound
        else:
            base, bound = self.frames[-1].results.get(fact.origin), fact.bound
            if base is None:
                raise Wrong(f"insn {self.pc}: no result of insn {fact.origin} in this function")
        inside = size <= bound and (address - base) & M64 <= bound - size
        region = self.find(address, size) if inside else None
        if inside and (region is None or region.base != base):
            raise Wrong(f"insn {self.pc}: {fact} passes its test at {address:#x}, which is other memory")
        return region

    def load(self, region, address, size):
        if region is None:
            return 0
        at = address - region.base
        if region.written is not None and not all(region.written[at : at + size]):
            raise Wrong(f"insn {self.pc}: reads stack that was never written")
        return int.from_bytes(region.data[at : at + size], "little")

    def store(self, region, address, size, value):
        if region is None:
            return
        if region.name and self.maps[region.name].flags & 0x80:
            raise Wrong(f"insn {self.pc}: writes to a read-only map")
        at = address - region.base
        region.data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        if region.written is not None:
            region.written[at : at + size] = b"\1" * size

    def atomic(self, insn, region, address):
        if address % insn.size:
            raise Wrong(f"insn {self.pc}: misaligned atomic")
        if insn.imm == LOAD_ACQUIRE:
            self.regs[insn.dst] = self.load(region, address, insn.size)
            return
        value = self.need(insn.src)
        if insn.imm == STORE_RELEASE:
            self.store(region, address, insn.size, value)
            return
        limit = (1 << 8 * insn.size) - 1
        old = self.load(region, address, insn.size)
        if insn.imm == CMPXCHG:
            if old == self.need(0) & limit:
                self.store(region, address, insn.size, value)
            self.regs[0] = old
        elif insn.imm == XCHG:
            self.store(region, address, insn.size, value)
            self.regs[insn.src] = old
        else:
            op = {0: 0, 0x40: 4, 0x50: 5, 0xA0: 10}[insn.imm & ~FETCH]
            self.store(region, address, insn.size, ar.concrete(op, 64, old, value))
            if insn.imm & FETCH:
                self.regs[insn.src] = old

    # --- control

    def jump(self, insn):
        op, pc = insn.op >> 4, self.pc
        if op == 0:
            self.go(pc + 1 + (insn.imm if insn.op == 6 else insn.off))
        elif op == 14:
            self.go(pc + 1 + (insn.off if self.rng.random() < 0.3 else 0))
        elif op == 9:
            return self.leave()
        elif op == 8:
            self.call(insn)
        else:
            taken = self.compare(op, 64 if insn.op & 7 == 5 else 32, insn)
            decided = self.verified.decided.get(pc)
            if decided is not None and decided != taken:
                raise Wrong(f"insn {pc}: decided {decided}, but is {taken}")
            self.go(pc + 1 + (insn.off if taken else 0))
        return False

    def go(self, to):
        if to <= self.pc and self.pc not in self.verified.fuel_edges:
            self.rounds += 1
            if self.rounds > 5 * 2**20:
                raise Wrong("a loop without fuel does not end")
        self.pc = to

    def compare(self, op, width, insn):
        assert op in OPPOSITE
        limit = (1 << width) - 1
        a = self.need(insn.dst) & limit
        b = (self.need(insn.src) if insn.op & 8 else insn.imm) & limit
        if op in (6, 7, 12, 13):
            a, b = ar.to_signed(a, width), ar.to_signed(b, width)
        tests = {1: a == b, 2: a > b, 3: a >= b, 4: a & b != 0, 5: a != b, 6: a > b, 7: a >= b}
        tests |= {10: a < b, 11: a <= b, 12: a < b, 13: a <= b}
        return tests[op]

    def leave(self):
        frame = self.frames[-1]
        if len(self.frames) == 1:
            return True
        result = self.regs[0]
        frame.stack.live = False
        self.frames.pop()
        self.regs[:6] = [result, None, None, None, None, None]
        self.regs[6:10] = frame.saved
        self.regs[10] = self.frames[-1].stack.base + 512
        if frame.callback is not None:
            call, left, arguments = frame.callback
            if result not in (0, 1):
                raise Wrong("a callback returned neither 0 nor 1")
            if result == 0 and left > 0:
                self.start_callback(call, frame.entry, left - 1, [(arguments[0] or 0) + 1, *arguments[1:]])
                return False
            self.regs[0] = 7
            self.pc = call + 1
            return False
        self.pc = frame.back + 1
        return False

    def start_callback(self, call, target, left, arguments):
        saved = self.regs[6:10]
        self.push(target)
        frame = self.frames[-1]
        frame.saved, frame.callback = saved, (call, left, arguments)
        self.regs[:6] = [None, *arguments, *[None] * (5 - len(arguments))]
        self.regs[6:10] = [None] * 4
        self.pc = target

    def call(self, insn):
        if insn.src == 1:
            saved, back = self.regs[6:10], self.pc
            self.push(self.pc + 1 + insn.imm)
            self.frames[-1].saved, self.frames[-1].back = saved, back
            self.regs[0] = None
            self.regs[6:10] = [None] * 4
            self.pc = self.frames[-1].entry
            return
        fact = self.verified.calls[self.pc]
        for register, value in fact.constants.items():
            if self.need(register) != value:
                raise Wrong(f"insn {self.pc}: r{register} is not {value}")
        for register, offset in fact.stack.items():
            if self.need(register) != self.regs[10] + offset:
                raise Wrong(f"insn {self.pc}: r{register} is not fp{offset}")
        if insn.imm == 181:
            count, target = self.need(1) & M32, (self.need(2) - FUNCTION_BASE) // 8
            arguments = [0, self.need(3)]
            self.regs[:6] = [0, None, None, None, None, None]
            if 0 < count <= 2**23:
                self.start_callback(self.pc, target, min(count, 40) - 1, arguments)
            else:
                self.pc += 1
            return
        result = self.helper(insn.imm, fact)
        self.frames[-1].results[self.pc] = result
        self.regs[:6] = [result & M64, None, None, None, None, None]
        self.pc += 1

    # --- helpers

    def span(self, register, size, read):
        address = self.need(register)
        if size == 0:
            return None
        region = self.find(address, size)
        if region is None:
            raise Wrong(f"insn {self.pc}: r{register} is not {size} bytes of memory")
        if read:
            for at in range(size):
                self.load(region, address + at, 1)
        return region

    def fill(self, register, size):
        region = self.span(register, size, False)
        for at in range(size):
            self.store(region, self.need(register) + at, 1, self.rng.randrange(256))

    def value_of(self, name, key):
        found = self.values.get((name, key))
        if found is None:
            spec = self.maps[name]
            data = bytearray(spec.initial) if spec.initial else bytearray(spec.value_size)
            found = self.values[name, key] = self.region(data, "value", name)
        return found

    def helper(self, number, fact):
        if number in (1, 2, 3):
            return self.map_helper(number, fact)
        if number == 131:
            return self.reserve()
        if number in (132, 133):
            return self.release()
        if number in (4, 112, 45, 114, 16):
            size = self.need(2)
            self.fill(1, size)
            return 0 if number == 16 else self.rng.choice([0, M64 - 13, size])
        return self.rng.getrandbits(64) if number != 100001 else self.rng.randrange(64)

    def map_helper(self, number, fact):
        spec = self.maps[fact.map]
        region = self.span(2, spec.key_size, True)
        at = self.need(2) - region.base
        key = bytes(region.data[at : at + spec.key_size])
        if fact.key is not None and fact.key != key:
            raise Wrong(f"insn {self.pc}: key is {key}, not {fact.key}")
        if number == 1:
            return 0 if self.rng.random() < 0.3 else self.value_of(fact.map, key).base
        if number == 2:
            self.span(3, spec.value_size, True)
        return self.rng.choice([0, M64])

    def reserve(self):
        if self.rng.random() < 0.3:
            return 0
        record = self.region(bytearray(self.need(2)), "record")
        self.records.append(record)
        return record.base

    def release(self):
        record = next((r for r in self.records if r.live and r.base == self.need(1)), None)
        if record is None:
            raise Wrong(f"insn {self.pc}: released record is not open")
        record.live = False
        return self.rng.getrandbits(64)
