"""The interpreter computes what the PTX ISA says; it is the measure for woven kernels."""

from __future__ import annotations

import struct

import pytest

from tests.tools.ptxrun import Fault, Machine
from tests.tools.ptxrun.numbers import p16, p32, p64

HEAD = ".version 8.0\n.target sm_90\n.address_size 64\n"
REGISTERS = (
    ".reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .pred %p<9>; .reg .b16 %h<9>; .reg .f32 %f<9>; .reg .f64 %fd<9>;"
)
ONE, NAN32 = p32(1.0), 0x7FFFFFFF

# instructions (%r1 = 0x80000001, %r2 = 3, %r3 = 0x12345678) → %r0 afterwards
WORDS = [
    ("add.u32 %r0, %r1, %r1;", 2),
    ("sub.s32 %r0, %r2, %r3;", 0xEDCBA98B),
    ("mul.lo.s32 %r0, %r1, %r2;", 0x80000003),
    ("mul.hi.u32 %r0, %r1, %r2;", 1),
    ("mul.hi.s32 %r0, %r1, %r2;", 0xFFFFFFFE),
    ("mad.lo.u32 %r0, %r2, %r2, 5;", 14),
    ("mul24.lo.u32 %r0, %r2, %r2;", 9),
    ("div.s32 %r0, -7, 2;", 0xFFFFFFFD),
    ("div.u32 %r0, %r3, 0;", 0xFFFFFFFF),
    ("rem.s32 %r0, -7, 2;", 0xFFFFFFFF),
    ("shl.b32 %r0, %r2, 32;", 0),
    ("shr.s32 %r0, %r1, 40;", 0xFFFFFFFF),
    ("shr.u32 %r0, %r1, 31;", 1),
    ("min.s32 %r0, %r1, %r2;", 0x80000001),
    ("max.u32 %r0, %r1, %r2;", 0x80000001),
    ("abs.s32 %r0, %r1;", 0x7FFFFFFF),
    ("neg.s32 %r0, %r2;", 0xFFFFFFFD),
    ("not.b32 %r0, %r2;", 0xFFFFFFFC),
    ("cnot.b32 %r0, %r2;", 0),
    ("popc.b32 %r0, %r3;", 13),
    ("clz.b32 %r0, %r3;", 3),
    ("brev.b32 %r0, %r3;", 0x1E6A2C48),
    ("bfind.u32 %r0, %r3;", 28),
    ("bfind.s32 %r0, -1;", 0xFFFFFFFF),
    ("bfind.shiftamt.u32 %r0, %r3;", 3),
    ("bfe.u32 %r0, %r3, 4, 8;", 0x67),
    ("bfe.s32 %r0, %r1, 31, 1;", 0xFFFFFFFF),
    ("bfi.b32 %r0, %r2, %r3, 8, 4;", 0x12345378),
    ("lop3.b32 %r0, %r1, %r2, %r3, 0x96;", 0x80000001 ^ 3 ^ 0x12345678),
    ("lop3.b32 %r0, %r1, %r2, %r3, 0xEA;", (0x80000001 & 3) | 0x12345678),
    ("prmt.b32 %r0, %r3, %r2, 0x0123;", 0x78563412),
    ("prmt.b32 %r0, %r3, %r1, 0xF540;", 0xFF000178),
    ("shf.l.wrap.b32 %r0, %r1, %r3, 8;", 0x34567880),
    ("shf.r.clamp.b32 %r0, %r1, %r3, 40;", 0x12345678),
    ("sad.u32 %r0, %r2, 10, 1;", 8),
    ("dp4a.u32.u32 %r0, %r3, 0x01010101, 1;", 0x12 + 0x34 + 0x56 + 0x78 + 1),
    ("szext.wrap.s32 %r0, %r3, 4;", 0xFFFFFFF8),
    ("bmsk.clamp.b32 %r0, 4, 8;", 0xFF0),
    ("setp.lt.s32 %p1, %r1, %r2; selp.u32 %r0, 7, 8, %p1;", 7),
    ("setp.lo.u32 %p1|%p2, %r1, %r2; selp.u32 %r0, 7, 8, %p2;", 7),
    ("setp.eq.and.u32 %p1, %r2, 3, !%p3; selp.u32 %r0, 7, 8, %p1;", 7),
    ("set.gt.u32.s32 %r0, %r2, 1;", 0xFFFFFFFF),
    ("slct.u32.s32 %r0, 5, 6, %r1;", 6),
    ("add.cc.u32 %r4, 0xFFFFFFFF, 1; addc.u32 %r0, 0, 0;", 1),
    ("sub.cc.u32 %r4, 0, 1; subc.u32 %r0, 5, 0;", 4),
    ("cvt.s32.s8 %r0, 0xFF;", 0xFFFFFFFF),
    ("cvt.u16.u32 %h1, %r3; cvt.u32.u16 %r0, %h1;", 0x5678),
    ("cvt.sat.s8.s32 %r0, 1000;", 127),
    ("mov.b64 %rd1, {%r2, %r3}; mov.b64 {_, %r0}, %rd1;", 0x12345678),
    ("mul.wide.s32 %rd1, %r1, %r2; shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r0, %rd1;", 0xFFFFFFFE),
    ("bfi.b64 %rd1, 5, 7, 32, 32; shr.u64 %rd1, %rd1, 32; cvt.u32.u64 %r0, %rd1;", 5),
    ("mov.f32 %f1, 0f3F800000; add.f32 %f2, %f1, 0f40000000; mov.b32 %r0, %f2;", p32(3.0)),
    ("fma.rn.f32 %f1, 0f40000000, 0f40400000, 0f3F800000; mov.b32 %r0, %f1;", p32(7.0)),
    ("div.rn.f32 %f1, 0f3F800000, 0f00000000; mov.b32 %r0, %f1;", 0x7F800000),
    ("sqrt.rn.f32 %f1, 0fBF800000; mov.b32 %r0, %f1;", NAN32),
    ("add.sat.f32 %f1, 0f40000000, 0f3F800000; mov.b32 %r0, %f1;", ONE),
    ("min.f32 %f1, 0f7FFFFFFF, 0f3F800000; mov.b32 %r0, %f1;", ONE),
    ("cvt.rzi.s32.f32 %r0, 0fC0600000;", 0xFFFFFFFD),
    ("cvt.rni.s32.f32 %r0, 0f40200000;", 2),
    ("cvt.rzi.u32.f32 %r0, 0fBF800000;", 0),
    ("cvt.rn.f32.s32 %f1, %r1; mov.b32 %r0, %f1;", p32(-2147483647.0)),
    ("mov.f64 %fd1, 0d3FF8000000000000; cvt.rn.f32.f64 %f1, %fd1; mov.b32 %r0, %f1;", p32(1.5)),
    ("cvt.rn.f16.f32 %h1, 0f3FC00000; cvt.u32.u16 %r0, %h1;", p16(1.5)),
    ("mov.b32 %r4, 0x3C003C00; add.f16x2 %r0, %r4, %r4;", 0x40004000),
    ("setp.gtu.f32 %p1, 0f7FFFFFFF, 0f3F800000; selp.u32 %r0, 1, 0, %p1;", 1),
    ("setp.gt.f32 %p1, 0f7FFFFFFF, 0f3F800000; selp.u32 %r0, 1, 0, %p1;", 0),
    ("copysign.f32 %f1, 0fBF800000, 0f40000000; mov.b32 %r0, %f1;", p32(-2.0)),
]


def words(code, lanes=1, before=""):
    """Run code in one warp; gives %r0 of each lane."""
    text = (
        f"{HEAD}{before}.entry k(.param .u64 out)\n{{ {REGISTERS}\nmov.u32 %r1, 0x80000001; mov.u32 %r2, 3; mov.u32 %r3, 0x12345678;\n"
        f"setp.ne.u32 %p3, %r2, 3; mov.u32 %r8, %laneid;\n{code}\nld.param.u64 %rd8, [out]; mov.u32 %r7, %tid.x;\n"
        "mad.wide.u32 %rd8, %r7, 4, %rd8; st.global.u32 [%rd8], %r0; }\n"
    )
    machine = Machine(limit=100_000)
    address, view = machine.memory.allocate(4 * lanes)
    machine.load(text).launch("k", (1, 1, 1), (lanes, 1, 1), struct.pack("<Q", address))
    return struct.unpack(f"<{lanes}I", view)


@pytest.mark.parametrize(("code", "expected"), WORDS)
def test_what_an_instruction_computes(code, expected):
    assert words(code) == (expected,)


LANES = [
    ("shfl.sync.down.b32 %r0, %r8, 1, 31, -1;", [*range(1, 32), 31]),
    ("shfl.sync.up.b32 %r0, %r8, 2, 0, -1;", [0, 1, *range(30)]),
    ("shfl.sync.bfly.b32 %r0, %r8, 16, 31, -1;", [*range(16, 32), *range(16)]),
    ("shfl.sync.idx.b32 %r0|%p1, %r8, 5, 31, -1;", [5] * 32),
    ("shfl.sync.idx.b32 %r0, %r8, 1, 0x181f, -1;", [8 * (i // 8) + 1 for i in range(32)]),
    ("setp.lt.u32 %p1, %r8, 5; vote.sync.ballot.b32 %r0, %p1, -1;", [31] * 32),
    ("setp.lt.u32 %p1, %r8, 5; vote.sync.any.pred %p2, !%p1, -1; selp.u32 %r0, 1, 0, %p2;", [1] * 32),
    ("shr.u32 %r4, %r8, 4; match.any.sync.b32 %r0, %r4, -1;", [0xFFFF] * 16 + [0xFFFF0000] * 16),
    ("match.all.sync.b32 %r0|%p1, %r2, -1;", [0xFFFFFFFF] * 32),
    ("redux.sync.add.s32 %r0, %r8, -1;", [496] * 32),
    ("redux.sync.max.u32 %r0, %r8, -1;", [31] * 32),
    (
        "setp.lt.u32 %p1, %r8, 9; @%p1 activemask.b32 %r0; @!%p1 activemask.b32 %r0;",
        [511] * 9 + [0xFFFFFE00] * 23,
    ),
    ("mov.u32 %r0, %lanemask_lt;", [(1 << i) - 1 for i in range(32)]),
    ("elect.sync %r4|%p1, -1; selp.u32 %r0, 1, 0, %p1;", [1] + [0] * 31),
    ("setp.lt.u32 %p1, %r8, 7; bar.red.popc.u32 %r0, 0, %p1;", [7] * 32),
]


@pytest.mark.parametrize(("code", "expected"), LANES)
def test_what_lanes_do_together(code, expected):
    assert list(words(code, 32)) == expected


def test_lanes_that_part_meet_again():
    code = """
        setp.lt.u32 %p1, %r8, 16; @%p1 bra A; mov.u32 %r0, 1; bra B;
        A: mov.u32 %r0, 2; mov.u32 %r0, 3;
        B: activemask.b32 %r0;"""
    assert words(code, 32) == (0xFFFFFFFF,) * 32


def test_lanes_wait_for_those_of_their_mask():
    code = """
        mov.u32 %r4, 0;
        L: setp.ge.u32 %p1, %r4, %r8; @%p1 bra E; add.u32 %r4, %r4, 1; bra L;
        E: shfl.sync.idx.b32 %r0, %r4, 31, 31, -1;"""
    assert words(code, 32) == (31,) * 32


def test_waits_without_end_are_found():
    with pytest.raises(Fault, match="wait for ever"):
        words(
            "setp.eq.u32 %p1, %r8, 0; @%p1 bar.warp.sync -1; @!%p1 bra L; mov.u32 %r0, 1; L: @!%p1 bar.sync 0;",
            32,
        )
    with pytest.raises(Fault, match="more than"):
        words("L: bra L;")


def test_functions_call_themselves():
    function = """
        .func (.param .u32 r) fib(.param .u32 n)
        {
            .reg .u32 a, b, c; .reg .pred p;
            ld.param.u32 a, [n]; st.param.u32 [r], a; setp.lt.u32 p, a, 2; @p ret;
            { .param .u32 x; .param .u32 y; sub.u32 b, a, 1; st.param.u32 [x], b; call (y), fib, (x); ld.param.u32 b, [y]; }
            { .param .u32 x; .param .u32 y; sub.u32 c, a, 2; st.param.u32 [x], c; call (y), fib, (x); ld.param.u32 c, [y]; }
            add.u32 b, b, c; st.param.u32 [r], b; ret;
        }
    """
    code = "and.b32 %r4, %r8, 7; { .param .u32 x; .param .u32 y; st.param.u32 [x], %r4; call (y), fib, (x); ld.param.u32 %r0, [y]; }"
    assert words(code, 32, function) == (0, 1, 1, 2, 3, 5, 8, 13) * 4


def test_variables_have_their_values():
    variables = (
        ".global .align 8 .u64 there = generic(table)+8;\n.const .align 4 .u32 table[3] = {1, 0x22, 3};\n"
        ".global .align 8 .f64 half = 0d3FE0000000000000;\n.global .align 4 .b8 bytes[8] = {65, 66};"
    )
    variables = "\n".join(
        [variables.split("\n")[1], *[v for v in variables.split("\n") if "table[" not in v]]
    )
    assert words("ld.global.u64 %rd1, [there]; ld.u32 %r0, [%rd1];", before=variables) == (3,)
    assert words("ld.const.u32 %r0, [table+4];", before=variables) == (0x22,)
    assert words("ld.global.u32 %r0, [half+4];", before=variables) == (p64(0.5) >> 32,)
    assert words("ld.global.u16 %r0, [bytes];", before=variables) == (0x4241,)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ld.global.u32 %r0, [%rd1];", "no memory at 0x0"),
        ("ld.param.u64 %rd1, [out]; ld.global.u64 %rd2, [%rd1+4];", "not aligned"),
        ("tex.2d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [t, {%r1, %r2}];", r"tex\.2d"),
        ("trap;", "trap"),
        ("shfl.sync.idx.b32 %r0, %r8, 0, 31, 2;", "not in their mask"),
    ],
)
def test_what_a_gpu_would_stop_at_is_a_fault(code, message):
    with pytest.raises(Fault, match=message):
        words(code)
