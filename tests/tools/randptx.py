"""Random structured kernels that end: nested conditions, loops, jump tables, early ends, calls, memory of all kinds.

Every thread writes only to its own places, or adds to common ones, so that the result has one value.
"""

from __future__ import annotations

import random

SLOT = 256  # bytes of a thread
REGISTERS = 8
HEAD = ".version 7.0\n.target sm_75\n.address_size 64\n.const .align 8 .b8 fixed[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};\n"
BODY = (
    ".reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .pred %p<8>; .reg .b16 %h<4>; .reg .f32 %f<4>;"
    " .reg .b32 %v<8>; .reg .b64 %w<4>;"
)


class Writer:
    """One kernel in the making."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.labels = 0
        self.functions = []
        self.in_function = False

    def label(self):
        self.labels += 1
        return f"$L{self.labels}"

    def register(self):
        return f"%r{self.rng.randrange(2, 2 + REGISTERS)}"

    def predicate(self):
        return f"%p{self.rng.randrange(1, 4)}"

    def operand(self):
        return self.register() if self.rng.random() < 0.7 else str(self.rng.randrange(1, 1000))

    def guard(self):
        return f"@{self.rng.choice(['', '!'])}{self.predicate()} "

    # --- statements

    def block(self, depth, count):
        return "\n".join(self.statement(depth) for _ in range(count))

    def statement(self, depth):
        simple = [
            self.arithmetic,
            self.compare,
            self.load,
            self.store,
            self.vector,
            self.atomic,
            self.shared,
            self.local,
        ]
        nested = [self.condition, self.loop, self.table, self.scope, self.ending, self.call]
        kind = self.rng.choice(simple + (nested if depth else [self.ending]))
        return kind(depth)

    def arithmetic(self, _depth):
        name = self.rng.choice(
            ["add.u32", "sub.u32", "mul.lo.u32", "xor.b32", "min.s32", "shl.b32", "shr.u32", "or.b32"]
        )
        second = str(self.rng.randrange(8)) if name[:2] == "sh" else self.operand()
        guard = self.guard() if self.rng.random() < 0.2 else ""
        return f"{guard}{name} {self.register()}, {self.register()}, {second};"

    def compare(self, _depth):
        how = self.rng.choice(["lt", "ge", "eq", "ne"])
        return f"setp.{how}.u32 {self.predicate()}, {self.register()}, {self.operand()};"

    def place(self, size):
        return f"[%rd1+{self.rng.randrange(SLOT // size) * size}]"

    def load(self, _depth):
        guard = self.guard() if self.rng.random() < 0.4 else ""
        kind = self.rng.choice(
            ["global.u32", "u32", "global.volatile.u32", "const.u32", "global.u8", "global.s16"]
        )
        if kind == "const.u32":
            return f"{guard}ld.const.u32 {self.register()}, [fixed+{self.rng.randrange(16) * 4}];"
        size = {"u8": 1, "s16": 2}.get(kind.rpartition(".")[2], 4)
        return f"{guard}ld.{kind} {self.register()}, {self.place(size)};"

    def store(self, _depth):
        guard = self.guard() if self.rng.random() < 0.4 else ""
        kind, size = self.rng.choice([("global.u32", 4), ("u32", 4), ("global.u16", 2), ("global.u8", 1)])
        return f"{guard}st.{kind} {self.place(size)}, {self.operand()};"

    def vector(self, _depth):
        a, b = self.register(), self.register()
        if self.rng.random() < 0.5:
            return f"st.global.v2.u32 {self.place(8)}, {{{a}, {b}}};"
        second = "_" if a == b else b
        return f"{self.guard()}ld.global.v2.u32 {{{a}, {second}}}, {self.place(8)};"

    def atomic(self, _depth):
        where = f"[%rd3+{self.rng.randrange(4) * 4}]"
        if self.rng.random() < 0.5:
            return f"{self.guard()}red.global.add.u32 {where}, {self.operand()};"
        how = self.rng.choice(["add.u32", "exch.b32", "max.u32", "cas.b32"])
        more = f", {self.operand()}" if how == "cas.b32" else ""
        return f"{self.guard()}atom.global.{how} {self.register()}, {self.place(4)}, {self.operand()}{more};"

    def shared(self, _depth):
        at = f"[%r1+{self.rng.randrange(4) * 4}]"
        if self.rng.random() < 0.5:
            return f"{self.guard()}st.shared.u32 {at}, {self.operand()};"
        return f"{self.guard()}ld.shared.u32 {self.register()}, {at};"

    def local(self, _depth):
        at = f"[depot+{self.rng.randrange(8) * 4}]"
        return self.rng.choice(
            [f"st.local.u32 {at}, {self.operand()};", f"ld.local.u32 {self.register()}, {at};"]
        )

    def condition(self, depth):
        other, end = self.label(), self.label()
        then, otherwise = (
            self.block(depth - 1, self.rng.randrange(1, 4)),
            self.block(depth - 1, self.rng.randrange(3)),
        )
        return f"{self.guard()}bra {other};\n{then}\nbra.uni {end};\n{other}:\n{otherwise}\n{end}:"

    def loop(self, depth):
        counter, top, out = f"%v{depth}", self.label(), self.label()
        body = self.block(depth - 1, self.rng.randrange(1, 4))
        leave = f"{self.guard()}bra {out};" if self.rng.random() < 0.5 else ""
        return (
            f"mov.u32 {counter}, {self.rng.randrange(1, 5)};\n{top}:\n{body}\n{leave}\nsub.u32 {counter}, {counter}, 1;\n"
            f"setp.ne.u32 %p0, {counter}, 0;\n@%p0 bra {top};\n{out}:"
        )

    def table(self, depth):
        ways = [self.label() for _ in range(3)]
        end, table = self.label(), self.label()
        parts = "\n".join(f"{way}:\n{self.block(depth - 1, 1)}\nbra {end};" for way in ways)
        return (
            f"rem.u32 %r15, {self.register()}, 3;\n{table}: .branchtargets {', '.join(ways)};\n"
            f"brx.idx %r15, {table};\n{parts}\n{end}:"
        )

    def scope(self, depth):
        inner = self.register()
        return (
            f"{{ .reg .b32 {inner}; mov.u32 {inner}, {self.rng.randrange(99)};\n"
            f"{self.block(depth - 1, 2)}\nst.global.u32 {self.place(4)}, {inner}; }}"
        )

    def ending(self, _depth):
        word = self.rng.choice(["exit"] if self.in_function else ["ret", "exit"])
        return f"setp.eq.u32 %p7, %r0, {self.rng.randrange(64)};\n@{self.rng.choice(['', '', ''])}%p7 {word};"

    def call(self, depth):
        if self.in_function:
            return self.arithmetic(depth)
        if not self.functions or self.rng.random() < 0.3:
            self._function()
        name, result = f"f{self.rng.randrange(len(self.functions))}", self.register()
        return (
            f"{{ .param .b32 q0; .param .b64 q1; .param .b32 q2; st.param.b32 [q0], {self.register()};\n"
            f"st.param.b64 [q1], %rd1; .param .b32 back; call (back), {name}, (q0, q1); ld.param.b32 {result}, [back]; }}"
        )

    def _function(self):
        self.in_function = True
        body = self.block(2, 4)
        self.in_function = False
        name = f"f{len(self.functions)}"
        self.functions.append(
            f".func (.param .b32 out) {name}(.param .b32 a, .param .b64 at)\n{{\n{BODY}\n.local .align 4 .b8 depot[32];\n"
            f"mov.u32 %r0, %tid.x; ld.param.b32 %r2, [a]; ld.param.b64 %rd1, [at];\n{_CLEAR}{_COMMON}{_SHARED}"
            f"{body}\nst.param.b32 [out], %r2; ret;\n}}\n"
        )

    def text(self):
        """Give a module with a kernel `k(u64 own, u64 common)`."""
        body = self.block(3, self.rng.randrange(4, 10))
        last = self.rng.choice(["ret;", "exit;", "", f"{self.guard()}ret;", f"{self.label()}:"])
        functions = "".join(self.functions)
        return (
            f"{HEAD}.global .align 8 .u64 common;\n.shared .align 4 .b8 scratch[4096];\n{functions}"
            f".visible .entry k(.param .u64 own, .param .u64 both)\n{{\n{BODY}\n.local .align 4 .b8 depot[32];\n"
            f"mov.u32 %r0, %tid.x; ld.param.u64 %rd1, [own]; mad.wide.u32 %rd1, %r0, {SLOT}, %rd1;\n"
            f"ld.param.u64 %rd3, [both]; st.global.u64 [common], %rd3; mov.u32 %r2, %r0;\n{_CLEAR}{_SHARED}"
            f"{body}\nst.global.u32 [%rd1], %r2; {last}\n}}\n"
        )


_CLEAR = (
    "".join(f"add.u32 %r{i}, %r{i - 1}, {i * 13};\n" for i in range(3, 2 + REGISTERS))
    + "".join(f"setp.lt.u32 %p{i}, %r0, {i * 9};\n" for i in range(1, 4))
    + "".join(f"st.local.u32 [depot+{i * 4}], %r{2 + i};\n" for i in range(8))
)
_COMMON = "ld.global.u64 %rd3, [common];\n"
_SHARED = "mov.u32 %r1, scratch; mad.lo.u32 %r1, %r0, 16, %r1;\n" + "".join(
    f"st.shared.u32 [%r1+{i * 4}], {i};\n" for i in range(4)
)


def kernel(seed):
    """Give the PTX of one random kernel."""
    return Writer(seed).text()
