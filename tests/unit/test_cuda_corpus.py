"""Every kind of kernel that compilers make: woven at every kind of place it assembles, runs, and does the same."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from attachers.cuda.assemble import tools
from attachers.cuda.assemble.cubin import code_bytes
from attachers.cuda.assemble.ptxas import assemble
from attachers.cuda.making import target_of
from attachers.cuda.ptx.probe import Op
from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.weave import weave
from bpftime_cli.pipeline.weaving import compiled_probes
from tests.tools.cudacorpus import FILES, LAUNCHES, run, text_of
from tests.tools.cudaprobes import PLACES, entry, leaving, memory

ARCHS = (75, 90, 100)
SCRIPTS = (
    "cuda:* { @calls[smid] = count(); }",
    'cuda:* /tid == 0/ { printf("%d %d", bid, arg0); }',
    "cudaret:* { @took = hist(elapsed); @lanes[kernel, warp] = stats(lane); }",
    "cudamem:* { @ops[op, size] = count(); @where[addr, line] = sum(data); }",
    "cudamem:*:ld:shared { @shared = count(); }",
)
OPS = {"ld": Op.LOAD, "ldu": Op.LOAD, "st": Op.STORE, "atom": Op.ATOMIC, "red": Op.REDUCE}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", FILES)
def test_woven_text_assembles(file, place):
    tool = next((tool for tool in tools.found() if tool.name == "ptxas"), None)
    if tool is None:
        pytest.skip("no ptxas on this machine")
    module = parse(text_of(file.removesuffix(".ptx")))
    for arch in sorted({max(arch, module.arch) for arch in ARCHS}):
        woven = weave(module, PLACES[place], arch)
        assert woven.kernels
        found = assemble(woven.text.encode("latin-1"), target_of(module, arch), (), tool)
        assert {kernel.name for kernel in woven.kernels} <= set(found.usage)


@pytest.mark.parametrize(("name", "kernel"), LAUNCHES)
def test_woven_kernels_do_the_same_and_are_seen(name, kernel):
    plain, _, machine = run(name, kernel)
    grid, block, *_ = LAUNCHES[name, kernel]
    threads = math.prod(grid) * math.prod(block)
    for probes in PLACES.values():
        assert run(name, kernel, probes)[0] == plain
    _, words, _ = run(name, kernel, (entry(), leaving(), memory(("z", "o"))))
    assert words[:2] == (threads, threads)
    indirect = kernel == "_Z8pointersPi" and name.endswith(
        "-G"
    )  # what is called through pointers is not watched
    if (
        not indirect and "gridwide" not in kernel
    ):  # how often that asks whether others are there depends on speed
        accesses = machine.accesses
        assert words[2] == accesses.total()
        assert words[3] == sum(size * count for (_, size), count in accesses.items())
        assert words[4] == sum(OPS[op] * count for (op, _), count in accesses.items())


def test_many_sites_call_one_function():
    (kernel,) = weave(parse(text_of("flow")), (memory(kernels=("locals",)),)).kernels
    assert len(kernel.sites) > 32
    assert kernel.called == (2,)
    (few,) = weave(parse(text_of("flow")), (memory(kernels=("choose",)),)).kernels
    assert few.called == ()


def test_what_is_not_watched_is_told():
    woven = weave(parse(text_of("ampere")), (memory(),))
    assert woven.uncovered == {"wmma.load": 2, "wmma.store": 1}
    pointers = weave(parse(text_of("flow-G")), (memory(kernels=("pointers",)),))
    assert pointers.uncovered == {"calls through pointers": 1}


def test_the_context_leaves_a_full_constant_bank():
    assert ".weak .global .align 8 .b8 __bpftime_ctx" in weave(parse(text_of("constants")), (entry(),)).text


def test_debug_sections_stay_at_the_end():
    text = text_of("samples-G")
    woven = weave(parse(text), PLACES["all"]).text
    at = text.index(".section")
    assert woven.endswith(text[at:])


def test_lines_of_the_source_are_known():
    (kernel,) = weave(parse(text_of("samples")), (memory(kernels=("copy4",)),)).kernels
    assert [site.line for site in kernel.sites] == [24, 24]
    assert [site.size for site in kernel.sites] == [16, 16]


@pytest.mark.parametrize("file", FILES)
def test_kernels_with_probes_of_scripts_assemble(file):
    tool = next((tool for tool in tools.found() if tool.name == "ptxas"), None)
    if tool is None:
        pytest.skip("no ptxas on this machine")
    probes = compiled_probes("\n".join(SCRIPTS))
    module = parse(text_of(file.removesuffix(".ptx")))
    for arch in sorted({max(arch, module.arch) for arch in ARCHS}):
        woven = weave(module, probes, arch)
        assemble(woven.text.encode("latin-1"), target_of(module, arch), (), tool)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(
    ("script", "most_bytes"),
    [
        ("cuda:* { @ = count(); }", 512),
        ("cudaret:* { @ = count(); }", 768),
        ("cuda:* { @[smid] = count(); }", 4096),
        ("cudaret:*a* { @ = hist(elapsed); }", 2048),
    ],
)
def test_what_probes_add_to_machine_code(arch, script, most_bytes):
    tool = next((tool for tool in tools.found() if tool.name == "ptxas"), None)
    if tool is None:
        pytest.skip("no ptxas on this machine")
    text = text_of("samples")
    woven = weave(parse(text), compiled_probes(script))
    before, after = (assemble(t.encode("latin-1"), f"sm_{arch}", (), tool) for t in (text, woven.text))
    old, new = code_bytes(before.cubin), code_bytes(after.cubin)
    for kernel in woven.kernels:
        used, was = after.usage[kernel.name], before.usage[kernel.name]
        assert new[kernel.name] - old[kernel.name] <= most_bytes
        assert (used.spilled, used.stack) == (was.spilled, was.stack)
        if "[" not in script:
            assert used.registers - was.registers <= 4


def test_a_large_body_of_several_sites_is_called():
    small = memory(kernels=("vecadd",))
    large = replace(small, body=replace(small.body, text="mov.u64 %rd2, 1;\n" * 400 + small.body.text))
    for probe, called in ((small, ()), (large, (2,))):
        (kernel,) = weave(parse(text_of("samples")), (probe,)).kernels
        assert (len(kernel.sites), kernel.called) == (3, called)
