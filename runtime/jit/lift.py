"""From verified eBPF to one LLVM module: control flow, calls between functions, entry and end.

The entry function is `@program`; subprograms and callbacks are internal functions `@sub_N`, N their first
instruction. Blocks are named after their first instruction.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runtime.ebpf import insn as isa
from runtime.ebpf.context import LAYOUTS
from runtime.ebpf.insn import Insn
from runtime.errors import Unsupported
from runtime.jit import alu, calls, context, memory
from runtime.jit.code import Code
from runtime.jit.control import Control, lift_functions, signature
from runtime.jit.convention import DUMMY_CONTEXT, FRAMELESS
from runtime.types import ContextKind

if TYPE_CHECKING:
    from runtime.jit.unit import Unit
    from runtime.verify.result import Call

TAIL_CALL = 12
MAX_TAIL_CALLS = 33
ENOENT = -2
DECLARATIONS = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare ptr @llvm.addressofreturnaddress()
attributes #0 = { nounwind noimplicitfloat "no-builtins" "no-jump-tables"="true" }
"""


def lift(unit: Unit) -> str:
    """Give the LLVM IR of a whole program.

    Raises:
        Unsupported: the program asks for what user space cannot serve.
    """
    (_, entry), *others = lift_functions(unit.verified, partial(Function, unit))
    texts = [_entry(unit, entry), *(_subprogram(start, code) for start, code in others)]
    return "\n".join([*unit.declarations.values(), *texts, DECLARATIONS])


def _entry(unit: Unit, code: Code) -> str:
    """Finish the entry function: now all slots and inherited inputs are known."""
    parameters = unit.inputs.parameters
    size = 8 * len(unit.slots)
    fills = {"fuel": str(unit.build.fuel), "scratch": "0"}
    setup = [f"%cx = alloca [{size} x i8], align 8"]
    for name in unit.inherited:
        if name == "words":
            setup += ["%aora = call ptr @llvm.addressofreturnaddress()", "%words = ptrtoint ptr %aora to i64"]
            fills[name] = "%words"
        else:
            fills[name] = f"%a{parameters.index(name)}"
    for name, value in fills.items():
        if name in unit.slots:
            setup.append(f"%slot_{name} = getelementptr i8, ptr %cx, i64 {unit.slots[name]}")
            setup.append(f"store i64 {value}, ptr %slot_{name}")
    code.head[:0] = setup
    arguments = ", ".join(f"i64 %a{i}" for i in range(len(parameters)))
    return code.text(f"preserve_mostcc {'i64' if unit.returns else 'void'} @program({arguments})")


def _subprogram(start: int, code: Code) -> str:
    return code.text(f"internal preserve_mostcc i64 {signature(start)}")


class Function(Control):
    """Lifts one function of a program for a target."""

    CONVENTION = "preserve_mostcc "

    def __init__(self, unit: Unit, insns: list[Insn | None], start: int, end: int) -> None:
        super().__init__(unit, insns, start, end)
        self.unit = unit

    def _arguments(self) -> None:
        inputs = self.unit.inputs
        if self.start:
            for number in range(5):
                self.code.set(number + 1, f"%a{number}")
        elif inputs.kind is ContextKind.MEMORY:
            self.code.set(1, "%a0")
            self.code.set(2, "%a1")
        else:
            self.code.set(1, "%a0" if inputs.frame else str(DUMMY_CONTEXT))

    def _end(self) -> None:
        code, unit = self.code, self.unit
        if self.out_of_fuel:
            code.inner("out_of_fuel")
            unit.call(code, "fuel_out", [unit.address("region")], returns=False)
            code.add("store i64 0, ptr %R0")
            code.add("br label %exit")
        code.inner("exit")
        if code.entry and "scratch" in unit.slots:
            scratch = code.op(f"load i64, ptr {unit.slot(code, 'scratch')}")
            unit.call(code, "frame_leave", [scratch], returns=False)
        if code.entry and not unit.returns:
            code.add("ret void")
        else:
            code.add(f"ret i64 {code.op('load i64, ptr %R0')}")

    def _access(self, index: int, insn: Insn) -> None:
        if insn.kind == isa.LDX:
            memory.load(self.code, self.unit, index, insn)
        elif insn.is_atomic:
            memory.atomic(self.code, self.unit, index, insn)
        else:
            memory.store(self.code, self.unit, index, insn)

    def _map(self, insn: Insn, name: str) -> str:
        """Give what a 64-bit load of a map's name yields."""
        if insn.src in (isa.SRC_MAP_VALUE, isa.SRC_VALUE_INDEX):
            return self.unit.value_at(name, insn.high)
        return self.unit.address(f"head:{name}")

    def _helper(self, index: int, call: Call) -> None:
        site = calls.Site(self.code, self.unit, index, call)
        if call.helper == TAIL_CALL:
            self._tail_call(site)
        else:
            calls.lift(site)

    def _tail_call(self, site: calls.Site) -> None:
        """Jump to another program's image; fall through where the slot is empty or the limit is reached."""
        code, unit = self.code, self.unit
        if unit.inputs.kind in FRAMELESS or not code.entry:
            if not code.entry:
                raise Unsupported(f"insn {site.index}: a tail call from a subprogram")
            code.set(0, str(ENOENT))
            return
        spec = site.known()
        index = code.widen(code.narrow(site.arg(3), 32), 32)
        count = code.pointer(code.op(f"add i64 %a0, {LAYOUTS[unit.inputs.kind].size}"))
        done = code.op(f"load i64, ptr {count}")
        look, go, fall = (code.label() for _ in range(3))
        small = code.op(f"icmp ult i64 {index}, {spec.max_entries}")
        few = code.op(f"icmp ult i64 {done}, {MAX_TAIL_CALLS}")
        code.split(code.op(f"and i1 {small}, {few}"), look, fall)
        code.inner(look)
        table = unit.symbol(f"progs:{spec.name}", 8 * spec.max_entries)
        slot = code.op(f"getelementptr i64, ptr {table}, i64 {index}")
        entry = code.op(f"load ptr, ptr {slot}")
        code.split(code.op(f"icmp ne ptr {entry}, null"), go, fall)
        code.inner(go)
        code.add(f"store i64 {code.op(f'add i64 {done}, 1')}, ptr {count}")
        if "scratch" in unit.slots:
            scratch = code.op(f"load i64, ptr {unit.slot(code, 'scratch')}")
            unit.call(code, "frame_leave", [scratch], returns=False)
        # LLVM would jump through a register that it has just restored; the stub jumps through memory.
        size = LAYOUTS[unit.inputs.kind].size
        code.add(f"store ptr {entry}, ptr {code.at(count, 8)}")
        stub = unit.function(f"tail_jump_{size}", 1, returns=unit.returns)
        if unit.returns:
            code.add(f"ret i64 {code.op(f'musttail call preserve_mostcc i64 {stub}(i64 %a0)')}")
        else:
            code.add(f"musttail call preserve_mostcc void {stub}(i64 %a0)")
            code.add("ret void")
        code.inner(fall)
        code.set(0, str(ENOENT))

    def _legacy(self, insn: Insn) -> None:
        """Lift a packet load: big-endian, and outside the packet the program ends with 0."""
        code, unit, bits = self.code, self.unit, insn.size * 8
        if unit.inputs.kind is not ContextKind.MEMORY:
            raise Unsupported("packet loads need a packet")
        base, length = (context.read(code, unit, name) for name in ("address", "length"))
        start = str(insn.imm)
        if insn.op >= 0x40:
            start = code.op(f"add i64 {code.widen(code.narrow(code.get(insn.src), 32), 32)}, {insn.imm}")
        end = code.op(f"add i64 {start}, {insn.size}")
        inside = code.op(f"icmp ule i64 {end}, {length}")
        positive = code.op(f"icmp sge i64 {start}, 0")
        yes, no = code.label(), code.label()
        code.split(code.op(f"and i1 {inside}, {positive}"), yes, no)
        code.inner(no)
        code.add("store i64 0, ptr %R0")
        code.add("br label %exit")
        code.inner(yes)
        place = code.pointer(code.op(f"add i64 {base}, {start}"))
        value = code.widen(code.op(f"load i{bits}, ptr {place}, align 1"), bits)
        code.set(0, value if bits == 8 else alu.swap(code, value, bits))
