"""One program while it is compiled for a device: its maps by index, its inputs, its slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import Span, Unsupported
from runtime.nvptx.body import CONTEXT, WIDE
from runtime.nvptx.layout import BASES, DATA, MAX_MAPS, SLOTS, block_of, has_slots
from runtime.verify.loops import DEVICE_ROUNDS

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.maps.spec import MapSpec
    from runtime.verify.result import Verified

FUEL = DEVICE_ROUNDS  # back jumps of unproven loops in one run of one thread
MODERN = 70  # architecture with release stores, `match` and threads that progress on their own


@dataclass(slots=True)
class Unit:
    """State of compiling one program.

    `order`: names of all maps of the session, in the order of their index. `pinned`: those in host memory.
    `arch`: the architecture that is compiled for, such as 75. `unsafe`: reads of any address are allowed.
    """

    verified: Verified
    maps: dict[str, MapSpec]
    order: tuple[str, ...]
    arch: int
    pinned: frozenset[str] = frozenset()
    unsafe: bool = False
    fuel: int = FUEL
    declarations: dict[str, str] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    frames: dict[int, str] = field(default_factory=dict)  # call that made a frame → its alloca
    texts: dict[str, bytes] = field(default_factory=dict)  # value → read-only data that it points to
    exits: bool = False
    least: tuple[int, tuple[int, int]] = (0, (0, 0))  # architecture and PTX version that some helper needs

    def span(self, index: int) -> Span | None:
        """Source of an instruction, where it is known."""
        lines = self.verified.program.lines
        return lines[max(at for at in lines if at <= index)] if any(at <= index for at in lines) else None

    def refused(self, index: int, text: str, hint: str = "") -> Unsupported:
        """Make the error for an instruction that a device cannot run."""
        span = self.span(index)
        return Unsupported(text if span else f"insn {index}: {text}", span=span, hint=hint)

    def declare(self, name: str, text: str) -> str:
        """Declare an intrinsic once; give its name."""
        self.declarations.setdefault(name, text)
        return name

    def call(self, code: Code, result: str, name: str, arguments: str = "", tail: str = "") -> str:
        """Call an intrinsic, `arguments` as they stand in a call."""
        kinds = ", ".join(one.split()[0] for one in arguments.split(", ") if one)
        function = self.declare(f"@llvm.{name}", f"declare {result} @llvm.{name}({kinds}) nounwind{tail}")
        return code.op(f"call {result} {function}({arguments})")

    def special(self, code: Code, name: str, bits: int = 32) -> str:
        """Give a special register as an i64."""
        value = self.call(code, f"i{bits}", f"nvvm.read.ptx.sreg.{name}")
        return code.widen(value, bits)

    def assembly(self, code: Code, text: str, bits: int = 32) -> str:
        """Give what one instruction without operands puts in a register, as an i64."""
        letter = "l" if bits == 64 else "r"
        return code.widen(code.op(f'call i{bits} asm sideeffect "{text}", "={letter}"()'), bits)

    def input(self, code: Code, name: str) -> str:
        """Give a value that the weaver sets, as an i64."""
        bits, letter = (64, "l") if name in WIDE else (32, "r")
        return code.widen(code.op(f'call i{bits} asm "mov.b{bits} $0, %bt{name};", "={letter}"()'), bits)

    def slot(self, code: Code, name: str) -> str:
        """Give a pointer to an 8-byte slot that all functions of the program share."""
        offset = self.slots.setdefault(name, 8 * len(self.slots))
        return code.op(f"getelementptr i8, ptr %cx, i64 {offset}")

    # The context constant and what hangs on it

    def context(self, code: Code, offset: int, bits: int = 64) -> str:
        """Load a word of the context constant, as an i64."""
        self.declare("@ctx", f"@{CONTEXT} = external addrspace(4) constant [256 x i8], align 8")
        place = f"getelementptr (i8, ptr addrspace(4) @{CONTEXT}, i64 {offset})"
        value = f"load i{bits}, ptr addrspace(4) {place}, align {bits // 8}, !invariant.load !0"
        return code.widen(code.op(value), bits)

    def index(self, name: str) -> int:
        """Give a map's index in the session.

        Raises:
            Unsupported: there is no room for so many maps.
        """
        number = self.order.index(name)
        if number >= MAX_MAPS:
            raise Unsupported(
                f"map '{name}' is number {number + 1}: a GPU program sees {MAX_MAPS} maps",
                hint="use fewer maps in the programs of one session",
            )
        return number

    def head(self, code: Code, name: str) -> str:
        """Give the device address of a map's header, as an i64."""
        return self.context(code, BASES + 8 * self.index(name))

    def data(self, code: Code, name: str, offset: int = 0) -> str:
        """Give the device address of a byte behind a map's header, as an i64."""
        return code.op(f"add i64 {self.head(code, name)}, {DATA + offset}")

    def value_at(self, code: Code, name: str, offset: int) -> str:
        """Give the address of a byte of an array's first value as this multiprocessor sees it, as an i64."""
        address = self.data(code, name, offset)
        if has_slots(self.maps[name]):
            address = code.op(f"add i64 {address}, {self.own_block(code, name)}")
        return address

    def own_block(self, code: Code, name: str) -> str:
        """Give the distance to this multiprocessor's copy of a map's values, as an i64."""
        mask = code.op(f"sub i64 {self.context(code, SLOTS, 32)}, 1")
        slot = code.op(f"and i64 {self.special(code, 'smid')}, {mask}")
        return code.op(f"mul i64 {slot}, {block_of(self.maps[name])}")

    def scope(self, name: str) -> str:
        """Give the scope of atomic operations on a map: wider where the host has its memory."""
        return "sys" if name in self.pinned else "gpu"
