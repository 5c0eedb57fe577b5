"""From verified eBPF to one LLVM module for a device.

Control flow and arithmetic are those of `runtime/jit/lift.py`; memory, maps, helpers and the context are the
device's. Everything ends up in one function: a body cannot call, and local memory would cost each copy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runtime.ebpf import insn as isa
from runtime.ebpf.insn import Insn
from runtime.jit.control import Control, lift_functions, signature
from runtime.jit.convention import DUMMY_CONTEXT
from runtime.jit.memory import READ_ONLY
from runtime.nvptx import call, memory

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.nvptx.unit import Unit
    from runtime.verify.result import Call

LAYOUT = "e-p6:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"
TRIPLE = "nvptx64-nvidia-cuda"
DECLARATIONS = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
attributes #0 = { nounwind convergent "no-builtins" "no-jump-tables"="true" }
!0 = !{}
!1 = distinct !{!1, !2}
!2 = !{!"llvm.loop.unroll.disable"}
"""


def lift(unit: Unit) -> str:
    """Give the LLVM IR of a whole program; `unit` then knows what was used.

    Raises:
        Unsupported: the program asks for what a device cannot do.
    """
    (_, entry), *others = lift_functions(unit.verified, partial(DeviceFunction, unit))
    texts = [_entry(unit, entry), *(_subprogram(start, code) for start, code in others)]
    head = f'target datalayout = "{LAYOUT}"\ntarget triple = "{TRIPLE}"'
    return "\n".join([head, *unit.declarations.values(), *texts, DECLARATIONS])


def _entry(unit: Unit, code: Code) -> str:
    """Finish the entry function: now all slots are known."""
    setup: list[str] = []
    if "fuel" in unit.slots:
        setup.append(f"%slot_fuel = getelementptr i8, ptr %cx, i64 {unit.slots['fuel']}")
        setup.append(f"store i64 {unit.fuel}, ptr %slot_fuel")
    for name, offset in unit.slots.items():
        if name.startswith(("record", "sequence")):
            setup.append(f"%slot_{name} = getelementptr i8, ptr %cx, i64 {offset}")
            setup.append(f"store i64 0, ptr %slot_{name}")
    code.head[:0] = [f"%cx = alloca [{max(8 * len(unit.slots), 8)} x i8], align 8", *setup]
    return code.text("void @probe()")


def _subprogram(start: int, code: Code) -> str:
    return code.text(f"internal i64 {signature(start)} alwaysinline")


class DeviceFunction(Control):
    """Lifts one function of a program for a device."""

    def __init__(self, unit: Unit, insns: list[Insn | None], start: int, end: int) -> None:
        super().__init__(unit, insns, start, end)
        self.unit = unit

    def _arguments(self) -> None:
        if self.start:
            for number in range(5):
                self.code.set(number + 1, f"%a{number}")
        else:
            self.code.set(1, str(DUMMY_CONTEXT))

    def _end(self) -> None:
        code = self.code
        if self.out_of_fuel:
            code.inner("out_of_fuel")
            code.add("store i64 0, ptr %R0")
            code.add("br label %exit")
        code.inner("exit")
        code.add("ret void" if code.entry else f"ret i64 {code.op('load i64, ptr %R0')}")

    def _access(self, index: int, insn: Insn) -> None:
        if insn.kind == isa.LDX:
            memory.load(self.code, self.unit, index, insn)
        elif insn.is_atomic:
            memory.atomic(self.code, self.unit, index, insn)
        else:
            memory.store(self.code, self.unit, index, insn)

    def _helper(self, index: int, found: Call) -> None:
        call.lift(call.Site(self.code, self.unit, index, found))

    def _map(self, insn: Insn, name: str) -> str:
        if insn.src in (isa.SRC_MAP_VALUE, isa.SRC_VALUE_INDEX):
            address = self.unit.value_at(self.code, name, insn.high)
            spec = self.unit.maps[name]
            if spec.flags & READ_ONLY and spec.initial is not None:
                self.unit.texts[address] = spec.initial[insn.high :]
            return address
        return self.unit.head(self.code, name)

    def _legacy(self, insn: Insn) -> None:
        del insn
        raise self.unit.refused(self.start, "packet loads need a packet")
