"""One LLVM function while it is written: instructions as text, registers as SSA values within a block.

A value is a string: an SSA name, a decimal constant or a constant expression, always of type i64 unless
said otherwise. The eleven eBPF registers are allocas that LLVM turns into SSA; inside a block their current
values are remembered, so that most instructions need no load or store.
"""

from __future__ import annotations

import re

CONSTANT = re.compile(r"-?\d+\Z")
MASK64 = (1 << 64) - 1


def signed(value: int, bits: int) -> int:
    """Reduce to `bits` and give the two's-complement value."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Code:
    """Text of one function. `stack`: bytes of the eBPF frame, a multiple of 16. `entry`: not a subprogram."""

    def __init__(self, stack: int, *, entry: bool = True) -> None:
        self.stack = stack
        self.entry = entry
        self.head: list[str] = []
        self.lines: list[str] = []
        self.count = 0
        self.values: dict[int, str] = {}
        self.dirty: set[int] = set()
        self.closed = False

    def name(self) -> str:
        """Give a fresh SSA name."""
        self.count += 1
        return f"%t{self.count}"

    def label(self) -> str:
        """Give a fresh block label."""
        self.count += 1
        return f"l{self.count}"

    def op(self, text: str) -> str:
        """Add an instruction with a result; give its name."""
        name = self.name()
        self.lines.append(f"{name} = {text}")
        return name

    def add(self, text: str) -> None:
        """Add an instruction without a result."""
        self.lines.append(text)

    # Registers

    def get(self, register: int) -> str:
        """Give a register's value."""
        if register == 10:
            return self.op(f"ptrtoint ptr {self.stack_at(0)} to i64")
        if register not in self.values:
            self.values[register] = self.op(f"load i64, ptr %R{register}")
        return self.values[register]

    def set(self, register: int, value: str) -> None:
        """Make a register hold a value."""
        self.values[register] = value
        self.dirty.add(register)

    def forget(self, register: int) -> None:
        """Drop what a register holds: a call has changed it."""
        self.values.pop(register, None)
        self.dirty.discard(register)

    def flush(self) -> None:
        """Store what changed, before the block ends or memory of registers is read elsewhere."""
        for register in sorted(self.dirty):
            self.add(f"store i64 {self.values[register]}, ptr %R{register}")
        self.dirty.clear()

    # Blocks

    def begin(self, label: str) -> None:
        """Start an eBPF block: nothing is known about registers."""
        if not self.closed:
            self.jump(label)
        self.add(f"{label}:")
        self.values = {}
        self.dirty = set()
        self.closed = False

    def inner(self, label: str) -> None:
        """Start a block inside the lifting of one instruction: what dominates it stays known."""
        self.add(f"{label}:")

    def jump(self, label: str) -> None:
        """End the block."""
        self.flush()
        self.add(f"br label %{label}")
        self.closed = True

    def branch(self, condition: str, taken: str, other: str) -> None:
        """End the block on an i1."""
        self.flush()
        self.add(f"br i1 {condition}, label %{taken}, label %{other}")
        self.closed = True

    def split(self, condition: str, taken: str, other: str) -> None:
        """End a block inside the lifting of one instruction."""
        self.add(f"br i1 {condition}, label %{taken}, label %{other}")

    # Widths

    def narrow(self, value: str, bits: int) -> str:
        """Give the low bits of an i64 as iBITS."""
        if bits == 64:
            return value
        if CONSTANT.match(value):
            return str(signed(int(value), bits))
        return self.op(f"trunc i64 {value} to i{bits}")

    def widen(self, value: str, bits: int, *, sign: bool = False) -> str:
        """Extend an iBITS to i64."""
        if bits == 64:
            return value
        if CONSTANT.match(value):
            wide = signed(int(value), bits)
            return str(wide if sign else wide & (1 << bits) - 1)
        return self.op(f"{'sext' if sign else 'zext'} i{bits} {value} to i64")

    # Pointers

    def pointer(self, value: str) -> str:
        """Turn an i64 into a pointer."""
        return self.op(f"inttoptr i64 {value} to ptr")

    def number(self, pointer: str) -> str:
        """Turn a pointer into an i64."""
        return self.op(f"ptrtoint ptr {pointer} to i64")

    def at(self, pointer: str, offset: int) -> str:
        """Give a pointer some bytes further."""
        return self.op(f"getelementptr i8, ptr {pointer}, i64 {offset}") if offset else pointer

    def stack_at(self, offset: int) -> str:
        """Give a pointer into the own frame; `offset` counts from the frame pointer and is not positive."""
        return self.op(f"getelementptr i8, ptr %stack, i64 {self.stack + offset}")

    def alloca(self, name: str, type_: str = "i64", align: int = 8) -> None:
        """Reserve a local variable in the function's head."""
        self.head.append(f"{name} = alloca {type_}, align {align}")

    def text(self, signature: str) -> str:
        """Give the whole function."""
        registers = [f"%R{n} = alloca i64, align 8" for n in range(10)]
        stack = [f"%stack = alloca [{self.stack} x i8], align 16"] if self.stack else ["%stack = alloca i8"]
        body = "\n".join([*registers, *stack, *self.head, *self.lines])
        return f"define {signature} #0 {{\n{body}\n}}\n"
