"""Woven kernels compute what they did, and every thread is seen: once at entry, once at its end, at each access."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from attachers.cuda.ptx.probe import Op, Space
from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.syntax import PtxProblem
from attachers.cuda.ptx.weave import weave
from tests.tools.cudaprobes import PLACES, bind, body, entry, leaving, memory
from tests.tools.ptxrun import Fault, Machine, Memory

CASES = Path(__file__).parents[1] / "cases/cuda"
HEAD = ".version 7.0\n.target sm_75\n.address_size 64\n"
LAUNCHES = {  # kernel → grid, block, dynamic shared bytes, last parameters
    "_Z6vecaddPKfS0_Pfi": ((4, 1, 1), (64, 1, 1), 0, struct.pack("<i", 200)),
    "_Z5copy4PK6float4PS_i": ((2, 1, 1), (48, 1, 1), 0, struct.pack("<i", 80)),
    "_Z6reducePfS_": ((2, 1, 1), (96, 1, 1), 384, b""),
    "_Z6calledPfS_": ((2, 1, 1), (40, 1, 1), 0, b""),
}


def run(text, kernel, woven=False):
    """Launch a kernel of samples.ptx; gives the buffers' bytes and the words that bodies added to."""
    machine = Machine(Memory())
    loaded = machine.load(text)
    words = bind(machine, loaded) if woven else tuple
    buffers = [machine.memory.allocate(4096) for _ in range(3)]
    for place, (_, view) in enumerate(buffers):
        struct.pack_into("<256f", view, 0, *((i - 20) * (place + 0.5) for i in range(256)))
    grid, block, shared, last = LAUNCHES[kernel]
    count = sum(p.type == "u64" for p in loaded.by_name[kernel].function.params)
    params = b"".join(struct.pack("<Q", address) for address, _ in buffers[:count]) + last
    loaded.launch(kernel, grid, block, params, shared)
    return [bytes(view) for _, view in buffers], words()


@pytest.mark.parametrize("kernel", LAUNCHES)
@pytest.mark.parametrize("place", PLACES)
def test_woven_kernels_compute_the_same(kernel, place):
    text = (CASES / "samples.ptx").read_text()
    plain, _ = run(text, kernel)
    woven, words = run(weave(parse(text), PLACES[place]).text, kernel, woven=True)
    assert woven == plain
    assert any(words)


@pytest.mark.parametrize("kernel", LAUNCHES)
def test_each_thread_enters_and_ends_once(kernel):
    text = (CASES / "samples.ptx").read_text()
    _, words = run(weave(parse(text), (entry(), leaving())).text, kernel, woven=True)
    grid, block, *_ = LAUNCHES[kernel]
    assert words[:2] == (grid[0] * block[0],) * 2


def test_memory_operations_are_counted_with_their_bytes():
    text = (CASES / "samples.ptx").read_text()
    woven = weave(parse(text), (memory(("z", "o")),)).text
    _, words = run(woven, "_Z6vecaddPKfS0_Pfi", woven=True)
    assert words[2:5] == (600, 2400, 200)  # two loads, one store of 4 bytes by 200 threads; a store is 1
    _, words = run(woven, "_Z5copy4PK6float4PS_i", woven=True)
    assert words[2:5] == (160, 2560, 80)
    _, words = run(woven, "_Z6calledPfS_", woven=True)
    assert words[2] == 80 + 2 * 60  # 80 loads; those 20 threads that exit store nothing


ENDS = {
    "three kinds of return": """
        .reg .pred %p<3>; .reg .b32 %r<3>;
        mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 5; @%p1 ret;
        setp.lt.u32 %p2, %r1, 20; @!%p2 exit; ret;""",
    "the closing brace returns": ".reg .b32 %r<2>; mov.u32 %r1, %tid.x;",
    "a label before the closing brace": """
        .reg .pred %p<2>; .reg .b32 %r<2>; mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 9; @%p1 bra E; ret; E:""",
    "a loop back to the first label": """
        .reg .pred %p<2>; .reg .b32 %r<3>; mov.u32 %r2, 0;
        L: add.u32 %r2, %r2, 1; mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r2, %r1; @%p1 bra L; ret;""",
    "a return inside a block": """
        .reg .b32 %r<2>; mov.u32 %r1, %tid.x;
        { .reg .pred p; setp.gt.u32 p, %r1, 7; @p ret; } ret;""",
    "the same names as a probe's": """
        .reg .pred %p<2>; .reg .b64 %rd<2>; mov.u64 %rd1, 7; setp.eq.u64 %p1, %rd1, 7; @%p1 bra $L; trap; $L: ret;""",
}


@pytest.mark.parametrize("name", ENDS)
def test_every_way_to_end_is_seen(name):
    text = f"{HEAD}.visible .entry k()\n{{{ENDS[name]}\n}}\n"
    machine = Machine()
    loaded = machine.load(weave(parse(text), (entry(), leaving())).text)
    words = bind(machine, loaded)
    loaded.launch("k", (1, 1, 1), (32, 1, 1))
    assert words()[:2] == (32, 32)


def test_a_load_may_overwrite_its_address():
    code = (
        "ld.param.u64 %rd1, [p]; @%p1 ld.global.u64 %rd1, [%rd1+8]; @!%p1 ld.global.u64 %rd1, [%rd1+8]; ret;"
    )
    text = f"{HEAD}.entry k(.param .u64 p)\n{{ .reg .b64 %rd<2>; .reg .pred %p<2>; {code} }}"
    machine = Machine()
    loaded = machine.load(weave(parse(text), (memory(("a", "d0")),)).text)
    words = bind(machine, loaded)
    address, view = machine.memory.allocate(16)
    struct.pack_into("<2Q", view, 0, 5, 77)
    loaded.launch("k", (1, 1, 1), (1, 1, 1), struct.pack("<Q", address))
    assert words()[2:5] == (1, address + 8, 77)


def test_ending_threads_early_is_told_where_others_wait_for_them():
    text = (CASES / "samples.ptx").read_text()
    unsafe = replace(entry(), body=replace(body(), unsafe_exit=True))
    woven = weave(parse(text), (unsafe,))
    assert woven.warnings == (
        "_Z6reducePfS_ has barriers: threads that a probe ends no longer arrive at them",
    )


def test_a_body_with_local_memory_is_there_once():
    local = replace(memory(kernels=("vecadd",)), body=replace(body(("z",), 2), local=16))
    (kernel,) = weave(parse((CASES / "samples.ptx").read_text()), (local,)).kernels
    assert kernel.called == (2,)


def test_older_text_is_raised_to_what_a_body_needs():
    old = HEAD.replace("7.0", "6.0").replace("sm_75", "sm_60")
    newer = replace(entry(), body=replace(body(), isa=(6, 3), sm=70))
    text = old + ".entry k() { ret; }"
    assert weave(parse(text), (newer,), 90).text.startswith(".version 6.3\n.target sm_70\n")
    with pytest.raises(PtxProblem, match="the probes need sm_70, this PTX is for sm_60"):
        weave(parse(text), (newer,), 60)
    shuffles = old + ".entry k() { .reg .b32 %r<3>; shfl.up.b32 %r1, %r2, 1, 0; ret; }"
    with pytest.raises(PtxProblem, match="shuffles or votes of older devices"):
        weave(parse(shuffles), (newer,), 90)


def test_parameters_of_any_size_and_alignment_are_read():
    params = ".param .f32 x, .param .align 2 .b8 s[6], .param .align 1 .b8 t[3], .param .u8 c, .param .align 8 .b8 w[24]"
    module = parse(f"{HEAD}.entry k({params}) {{ ret; }}")
    machine = Machine()
    loaded = machine.load(weave(module, (entry(("p0", "p1", "p2", "p3", "p4", "p5")),)).text)
    words = bind(machine, loaded)
    data = struct.pack("<f6s3sB2xQQQ", 1.5, b"\1\0\2\0\3\0", b"\7\x08\x09", 200, 1 << 40, 5, 6)
    loaded.launch("k", (1, 1, 1), (1, 1, 1), data)
    assert words()[:7] == (1, 0x3FC00000, 0x3_0002_0001, 0x090807, 200, 1 << 40, 0)


def test_a_probe_knows_its_number():
    text = (CASES / "samples.ptx").read_text()
    probes = (entry(("q",), number=5), leaving(("q",), word=4, number=9))
    machine = Machine()
    loaded = machine.load(weave(parse(text), probes).text)
    words = bind(machine, loaded, enabled=1 << 5 | 1 << 9)
    loaded.launch("_Z6vecaddPKfS0_Pfi", (1, 1, 1), (32, 1, 1), struct.pack("<QQQi", 0, 0, 0, 0))
    assert words()[:2] + words()[4:6] == (32, 32 * 5, 32, 32 * 9)


CALLS = """
.func deep(.param .u32 v) { .reg .pred q; .reg .u32 a; ld.param.u32 a, [v]; setp.gt.u32 q, a, 20; @q exit; ret; }
.func (.param .u32 r) middle(.param .u32 v)
{ .reg .u32 a; ld.param.u32 a, [v]; { .param .u32 x; st.param.u32 [x], a; call deep, (x); } st.param.u32 [r], a; ret; }
.func bare { .reg .u32 a; .reg .pred q; mov.u32 a, %tid.x; setp.eq.u32 q, a, 3; @q exit; }
.visible .entry k(.param .u64 first, .param .u64 second)
{
 .reg .pred %p<2>; .reg .u32 %r<3>; .reg .u64 %rd<3>;
 mov.u32 %r1, %tid.x; setp.gt.u32 %p1, %r1, 10;
 { .param .u32 x; .param .u32 y; st.param.u32 [x], %r1; @%p1 call (y), middle, (x); }
 @!%p1 call bare;
 ret;
}
"""


def test_what_a_probe_reads_reaches_the_functions_that_end_threads():
    module = parse(HEAD + CALLS)
    woven = weave(module, (entry(("p1",)), leaving(("p1", "k", "e"), word=4)))
    machine = Machine()
    loaded = machine.load(woven.text)
    words = bind(machine, loaded)
    loaded.launch("k", (1, 1, 1), (32, 1, 1), struct.pack("<QQ", 7, 1000))
    assert words()[:2] == (32, 32000)
    assert words()[4:7] == (32, 32000, 32)
    assert words()[7] > 0


def test_a_disabled_probe_does_nothing():
    text = (CASES / "samples.ptx").read_text()
    machine = Machine()
    loaded = machine.load(weave(parse(text), (entry(), leaving())).text)
    words = bind(machine, loaded, enabled=2)
    loaded.launch("_Z6vecaddPKfS0_Pfi", (1, 1, 1), (32, 1, 1), struct.pack("<QQQi", 0, 0, 0, 0))
    assert words()[:2] == (0, 32)


def test_what_does_not_match_stays_as_it_is():
    text = (CASES / "samples.ptx").read_text()
    woven = weave(parse(text), (entry(kernels=("vecsub",)),))
    assert woven.text == text
    assert not woven.kernels


def test_names_of_kernels():
    text = (CASES / "samples.ptx").read_text()
    for pattern in (
        "vecadd",
        "_Z6vecaddPKfS0_Pfi",
        "vec*",
        "vecadd(float const*, float const*, float*, int)",
    ):
        woven = weave(parse(text), (entry(kernels=(pattern,)),))
        assert [k.name for k in woven.kernels] == ["_Z6vecaddPKfS0_Pfi"], pattern


def test_spaces_and_operations_are_chosen():
    text = (CASES / "samples.ptx").read_text()
    shared = memory(spaces=frozenset((Space.SHARED,)), ops=frozenset((Op.STORE,)), kernels=("reduce",))
    (kernel,) = weave(parse(text), (shared,)).kernels
    assert {(s.op, s.space) for s in kernel.sites} == {(Op.STORE, Space.SHARED)}
    assert len(kernel.sites) == 2


def test_woven_text_is_not_woven_again():
    woven = weave(parse((CASES / "samples.ptx").read_text()), (entry(),))
    with pytest.raises(PtxProblem, match="woven already"):
        weave(parse(woven.text), (entry(),))


def test_a_thread_ends_early_only_at_entry():
    unsafe = replace(leaving(), body=replace(body(), unsafe_exit=True))
    with pytest.raises(PtxProblem, match="entry only"):
        weave(parse((CASES / "samples.ptx").read_text()), (unsafe,))


def test_the_machine_stops_at_what_a_gpu_would():
    text = f"{HEAD}.entry k()\n{{ .reg .b64 %rd<2>; mov.u64 %rd1, 64; st.global.u32 [%rd1], 1; ret; }}"
    with pytest.raises(Fault, match=r"st\.global\.u32"):
        Machine().load(text).launch("k", (1, 1, 1), (1, 1, 1))
