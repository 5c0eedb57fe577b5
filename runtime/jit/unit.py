"""One program while it is compiled: its symbols, inputs, shared slots and the facts of the verifier.

All functions of a program share one small block of memory on the entry function's frame (`%cx`): the fuel,
base pointers of guarded accesses, and the inputs that subprograms need. Where nothing but the entry
function uses it, LLVM dissolves it into registers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.jit.convention import Inputs
from runtime.maps.layout import MapLayout

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.maps.spec import MapSpec
    from runtime.verify.result import Verified

FUEL = 1 << 23  # back jumps of unproven loops in one run: as many as the kernel's bpf_loop() goes round


@dataclass(frozen=True, slots=True)
class Build:
    """What of the target is compiled in, and so part of the cache key.

    `kind`: `rseq` (glibc 2.35 and later: CPU and thread through fs) or `plain`. `cpus`: possible CPUs.
    `arguments`: the registers of a function's arguments, C's or Go's. `clock`: `tsc` or `vdso`.
    `fuel`: back jumps of loops without a proven bound.
    """

    kind: str = "rseq"
    cpus: int = 1
    clock: str = "vdso"
    fuel: int = FUEL
    cheap: bool = False
    arguments: tuple[str, ...] = ARGUMENT_REGISTERS


@dataclass(slots=True)
class Unit:
    """State of compiling one program; see the module's text."""

    verified: Verified
    maps: dict[str, MapSpec]
    build: Build
    inputs: Inputs
    returns: bool
    symbols: dict[str, str] = field(default_factory=dict)
    declarations: dict[str, str] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=lambda: {"fuel": 0})
    inherited: list[str] = field(default_factory=list)

    def symbol(self, name: str, size: int = 8) -> str:
        """Give the IR name of a symbol of the target, declared as `size` bytes of data."""
        ir = self.name_of(name)
        self.declarations.setdefault(ir, f"@{ir} = external global [{size} x i8], align 8")
        return f"@{ir}"

    def name_of(self, name: str) -> str:
        """Give the plain name that stands for a symbol of the target in IR and assembly."""
        for ir, known in self.symbols.items():
            if known == name:
                return ir
        ir = f"s{len(self.symbols)}"
        self.symbols[ir] = name
        return ir

    def function(self, name: str, arguments: int, *, returns: bool = True) -> str:
        """Give the IR name of a function of the agent with so many i64 parameters."""
        ir = self.name_of(f"agent:{name}")
        result = "i64" if returns else "void"
        parameters = ", ".join(["i64"] * arguments)
        self.declarations.setdefault(
            ir, f"declare dso_local preserve_mostcc {result} @{ir}({parameters}) nounwind"
        )
        return f"@{ir}"

    def call(self, code: Code, name: str, arguments: list[str], *, returns: bool = True) -> str:
        """Call a function of the agent; give its result."""
        function = self.function(name, len(arguments), returns=returns)
        text = ", ".join(f"i64 {argument}" for argument in arguments)
        if returns:
            return code.op(f"call preserve_mostcc i64 {function}({text})")
        code.add(f"call preserve_mostcc void {function}({text})")
        return "0"

    def call_c(self, code: Code, name: str, arguments: list[str]) -> str:
        """Call a C function by its symbol; give its result."""
        ir = self.name_of(name)
        parameters = ", ".join(["i64"] * len(arguments))
        self.declarations.setdefault(ir, f"declare dso_local i64 @{ir}({parameters}) nounwind")
        return code.op(f"call i64 @{ir}({', '.join(f'i64 {one}' for one in arguments)})")

    def address(self, name: str, size: int = 8) -> str:
        """Give the address of a symbol as an i64 value."""
        return f"ptrtoint (ptr {self.symbol(name, size)} to i64)"

    def value_at(self, name: str, offset: int) -> str:
        """Give the address of a byte in the first value of an array as an i64 value."""
        layout = MapLayout.of(self.maps[name], self.build.cpus)
        symbol = self.symbol(f"map:{name}", layout.cells * layout.block)
        return f"ptrtoint (ptr getelementptr (i8, ptr {symbol}, i64 {offset}) to i64)"

    def slot(self, code: Code, name: str) -> str:
        """Give a pointer to an 8-byte slot that all functions of the program share."""
        offset = self.slots.setdefault(name, 8 * len(self.slots))
        return code.op(f"getelementptr i8, ptr %cx, i64 {offset}")

    def inherit(self, name: str) -> None:
        """Have the entry function put an input into its slot, for subprograms."""
        if name not in self.inherited:
            self.inherited.append(name)
