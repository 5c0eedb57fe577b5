"""Control flow of one function while it is lifted: blocks, jumps, fuel; what reaches memory is a subclass's.

Blocks are named after their first instruction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

from runtime.ebpf import insn as isa
from runtime.ebpf.insn import decode
from runtime.errors import Bug, Unsupported
from runtime.jit import alu
from runtime.jit.code import Code
from runtime.verify.result import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.ebpf.insn import Insn
    from runtime.verify.result import Call, Verified


class Lifted(Protocol):
    """The program that a function belongs to."""

    @property
    def verified(self) -> Verified:
        """What verification found."""

    def slot(self, code: Code, name: str) -> str:
        """Give a pointer to an 8-byte slot that all functions of the program share."""


class Control(ABC):
    """Lifts the instructions from `start` to `end`."""

    CONVENTION: ClassVar[str] = ""
    """LLVM's word, and a space, for how functions of the program call each other."""

    def __init__(self, program: Lifted, insns: list[Insn | None], start: int, end: int) -> None:
        self.program, self.insns, self.start, self.end = program, insns, start, end
        facts = program.verified
        stack = max((-(-facts.stack.get(start, 0) // 16)) * 16, 16)
        self.code = Code(stack, entry=start == 0)
        self.reachable = facts.reachable
        self.origins = {a.origin for a in facts.accesses.values() if a.proof is Proof.GUARDED}
        self.out_of_fuel = False

    @abstractmethod
    def _arguments(self) -> None:
        """Set the registers that hold something when the function begins."""

    @abstractmethod
    def _end(self) -> None:
        """Write the blocks that all ends go to: `exit`, and `out_of_fuel` where it is used."""

    @abstractmethod
    def _access(self, index: int, insn: Insn) -> None:
        """Lift a load, store or atomic."""

    @abstractmethod
    def _legacy(self, insn: Insn) -> None:
        """Lift a packet load."""

    @abstractmethod
    def _map(self, insn: Insn, name: str) -> str:
        """Give what a 64-bit load of a map's name yields."""

    @abstractmethod
    def _helper(self, index: int, call: Call) -> None:
        """Call a helper."""

    def lift(self) -> Code:
        """Give the text of the function, without its head."""
        code = self.code
        self._arguments()
        leaders = self._leaders()
        for index in range(self.start, self.end):
            insn = self.insns[index]
            if insn is None or index not in self.reachable:
                continue
            if index in leaders or index == self.start:
                code.begin(f"b{index}")
            if not code.closed:
                self._insn(index, insn)
        if not code.closed:
            raise Bug(f"function at insn {self.start} runs off its end")
        self._end()
        return code

    def _target(self, index: int, insn: Insn) -> int:
        return index + 1 + (insn.imm if insn.op == isa.OP_GOTOL else insn.off)

    def _leaders(self) -> set[int]:
        leaders: set[int] = set()
        for index in range(self.start, self.end):
            insn = self.insns[index]
            if insn is None or index not in self.reachable or insn.kind not in (isa.JMP, isa.JMP32):
                continue
            if insn.op not in (isa.OP_CALL, isa.OP_CALLX, isa.OP_EXIT):
                leaders |= {self._target(index, insn), index + 1}
        return leaders

    def _insn(self, index: int, insn: Insn) -> None:
        code, program = self.code, self.program
        if insn.kind in (isa.ALU32, isa.ALU64):
            alu.lift(code, insn.op, insn.dst, insn.src, (insn.off, insn.imm))
        elif insn.kind in (isa.JMP, isa.JMP32):
            self._jump(index, insn)
        elif insn.op == isa.OP_LD_IMM64:
            self._wide(index, insn)
        elif insn.op in isa.LEGACY_LOADS:
            self._legacy(insn)
        else:
            self._access(index, insn)
        if index in self.origins:
            base = code.get(0 if insn.op == isa.OP_CALL else insn.dst)
            code.add(f"store i64 {base}, ptr {program.slot(code, f'base{index}')}")

    def _jump(self, index: int, insn: Insn) -> None:
        if insn.op == isa.OP_EXIT:
            self.code.jump("exit")
        elif insn.op == isa.OP_CALL:
            self._call(index, insn)
        elif insn.op == isa.OP_CALLX:
            self._call_helper(index)
        elif insn.op in (isa.OP_JA, isa.OP_GOTOL):
            self.code.jump(self._edge(index, self._target(index, insn)))
        elif insn.op == isa.OP_MAY_GOTO:
            self.code.branch(self._burn(), f"b{self._target(index, insn)}", f"b{index + 1}")
        else:
            self._conditional(index, insn)

    def _conditional(self, index: int, insn: Insn) -> None:
        target, decided = self._target(index, insn), self.program.verified.decided.get(index)
        if decided is not None:
            self.code.jump(self._edge(index, target) if decided else f"b{index + 1}")
            return
        test = alu.condition(self.code, insn.op, insn.dst, insn.src, insn.imm)
        if target == index + 1:
            self.code.jump(f"b{target}")
        elif index not in self.program.verified.fuel_edges:
            self.code.branch(test, f"b{target}", f"b{index + 1}")
        else:
            burn = self.code.label()
            self.code.branch(test, burn, f"b{index + 1}")
            self.code.inner(burn)
            self.code.add(f"br label %{self._edge(index, target)}")

    def _burn(self) -> str:
        """Take one unit of fuel; give the i1 that says there was none left."""
        code = self.code
        place = self.program.slot(code, "fuel")
        left = code.op(f"sub i64 {code.op(f'load i64, ptr {place}')}, 1")
        code.add(f"store i64 {left}, ptr {place}")
        return code.op(f"icmp slt i64 {left}, 0")

    def _edge(self, index: int, target: int) -> str:
        """Give the label to jump to; on an edge that costs fuel, end the current text with the test."""
        if index not in self.program.verified.fuel_edges:
            return f"b{target}"
        code, go_on = self.code, self.code.label()
        code.flush()
        self.out_of_fuel = True
        code.split(self._burn(), "out_of_fuel", go_on)
        code.inner(go_on)
        return f"b{target}"

    def _call(self, index: int, insn: Insn) -> None:
        if insn.src == isa.CALL_HELPER:
            self._call_helper(index)
        elif insn.src == isa.CALL_LOCAL:
            self._call_local(index + 1 + insn.imm)
        else:
            raise Unsupported(f"insn {index}: calls to kernel functions cannot be served")

    def _call_local(self, target: int) -> None:
        """Call a function of the program."""
        code = self.code
        arguments = ", ".join(f"i64 {code.get(n)}" for n in range(1, 6))
        code.set(0, code.op(f"call {self.CONVENTION}i64 @sub_{target}({arguments}, ptr %cx)"))
        for register in range(1, 6):
            code.forget(register)

    def _call_helper(self, index: int) -> None:
        """Call a helper, or a function by its address."""
        call = self.program.verified.calls[index]
        if call.helper == 0:
            self._call_local(call.callback)
        else:
            self._helper(index, call)

    def _wide(self, index: int, insn: Insn) -> None:
        code, program = self.code, self.program
        if insn.src == isa.SRC_FUNCTION:
            code.set(insn.dst, f"ptrtoint (ptr @sub_{index + 1 + insn.imm} to i64)")
        elif insn.src == 0:
            value = insn.imm64
            code.set(insn.dst, str(value - (1 << 64) if value >> 63 else value))
        elif index not in program.verified.program.map_refs:
            raise Unsupported(f"insn {index}: ld_imm64 with source {insn.src} names no map")
        else:
            code.set(insn.dst, self._map(insn, program.verified.program.map_refs[index]))


def lift_functions(
    verified: Verified, make: Callable[[list[Insn | None], int, int], Control]
) -> list[tuple[int, Code]]:
    """Lift every function that is reached; gives first instruction and text of each, the entry first."""
    insns = decode(verified.program.insns)
    starts = sorted({0, *verified.stack, *verified.program.subprograms})
    ends = [*starts[1:], len(insns)]
    parts = zip(starts, ends, strict=True)
    return [(start, make(insns, start, end).lift()) for start, end in parts if start in verified.reachable]


def signature(start: int) -> str:
    """Give name and parameters of the function at an instruction."""
    return f"@sub_{start}({', '.join(f'i64 %a{i}' for i in range(5))}, ptr %cx)"
