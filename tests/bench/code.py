"""How long the code is: programs of the tracing language beside the same ones in C through clang."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtime.ebpf.object import Object
from runtime.elf import load
from runtime.jit.compile import compile_program
from runtime.jit.disasm import instructions
from runtime.jit.unit import Build
from runtime.lang import compile_script
from runtime.maps.layout import possible_cpus
from runtime.verify import verify
from tests.bench.row import Row
from tests.tools.compile_bpf import TARGETS, compile_bpf

SCRIPTS = {
    "p0_count": "uprobe:a:b { @ = count(); }",
    "p1_sum": "uprobe:a:b { @ = sum(arg0); }",
    "p2_arithmetic": "uprobe:a:b { @ = sum((arg0 * 3 + arg1) >> 2); }",
    "p3_predicate": "uprobe:a:b /arg0 > 10 && arg1 != 0/ { @ = count(); }",
    "p4_key": "uprobe:a:b { @[arg0] = count(); }",
    "p5_two_keys": "uprobe:a:b { @[arg0, arg1] = count(); }",
    "p6_histogram": "uprobe:a:b { @ = hist(arg0); }",
    "p7_begin": "uprobe:a:b { @s[tid] = nsecs; }",
    "p8_end": "uprobe:a:b /@s[tid]/ { @ = hist(nsecs - @s[tid]); delete(@s, tid); } uprobe:a:c { @s[tid] = nsecs; }",
    "p9_text": "config = { max_strlen = 64 } uprobe:a:b { @[str(arg0)] = count(); }",
    "p10_record": 'uprobe:a:b { printf("%lld %lld %lld\\n", arg0, arg1, arg2); }',
}


def lengths(programs: Object, name: str) -> tuple[int, int]:
    """Instructions of one program: eBPF, and native ones."""
    maps = {spec.name: spec for spec in programs.maps}
    program = next(p for p in programs.programs if p.name == name)
    image = compile_program(verify(program, maps), maps, Build("rseq", possible_cpus(), "tsc"))
    return len(program.insns) // 8, len(list(instructions(image.code)))


def rows() -> Iterator[Row]:
    """Two rows a program; none where clang is missing."""
    source = Path(TARGETS / "ten.bpf.c")
    data = compile_bpf(source)
    if data is None:
        return
    theirs = load(data, str(source))
    for name, text in SCRIPTS.items():
        script = compile_script(text).object
        ours = lengths(replace(script, programs=script.programs[:1]), script.programs[0].name)
        hand = lengths(theirs, name)
        for kind, own, other in zip(("eBPF", "native"), ours, hand, strict=True):
            yield Row(
                f"{name[1:].replace(chr(95), chr(32), 1)}: {kind}",
                own,
                "in",
                f"{other} of clang",
                own / other,
            )
