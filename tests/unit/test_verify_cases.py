"""Verdicts of the verifier: the cases of tests/cases/verify.toml and real programs compiled from C."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from runtime.ebpf.asm import assemble
from runtime.ebpf.hexprog import from_hex
from runtime.ebpf.insn import Insn, encode
from runtime.ebpf.object import Program
from runtime.elf import load_object
from runtime.errors import ObjectProblem, Refused
from runtime.types import ContextKind
from runtime.verify import Access, verify
from tests.fuzz.elf import damaged
from tests.fuzz.elf import one as damaged_object
from tests.fuzz.verify import MAPS
from tests.fuzz.verify import one as random_program
from tests.tools.compile_bpf import compile_bpf, sources

CASES = tomllib.loads((Path(__file__).parents[1] / "cases" / "verify.toml").read_text())["case"]


def program_of(case: dict) -> Program:
    context = ContextKind(case.get("context", "uprobe"))
    if "hex" in case:
        return from_hex(case["hex"], context).programs[0]
    assembled = assemble(case["asm"])
    return Program("case", "", context, "", assembled.code, assembled.map_refs)


def proof(access: Access) -> str:
    return access.proof.value + (f"{access.offset:+d}" if access.offset is not None else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case):
    if "refused" in case:
        with pytest.raises(Refused) as caught:
            verify(program_of(case), MAPS)
        assert case["refused"] in str(caught.value)
        return
    verified = verify(program_of(case), MAPS)
    if "proofs" in case:
        assert [proof(verified.accesses[pc]) for pc in sorted(verified.accesses)] == case["proofs"]
    if "result" in case:
        assert verified.r0_constant == case["result"]
    if "fuel" in case:
        assert verified.fuel == case["fuel"]
    assert verified.needs == frozenset(case.get("needs", []))


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_real_programs_are_accepted(source):
    data = compile_bpf(source)
    if data is None:
        pytest.skip("needs clang and libbpf's headers")
    found = load_object(data, source.name)
    maps = {spec.name: spec for spec in found.maps}
    for program in found.programs:
        verified = verify(program, maps, found.btf)
        assert verified.reachable
        assert program.lines


def test_random_programs_keep_what_was_proven():
    outcomes = [random_program(seed) for seed in range(300)]
    assert outcomes.count("accepted") > 30


def test_damaged_objects_are_refused_politely():
    import random

    data = compile_bpf(sources()[0])
    if data is None:
        pytest.skip("needs clang and libbpf's headers")
    for seed in range(300):
        damaged_object(damaged(data, random.Random(seed)))


@pytest.mark.parametrize("data", [b"", b"\x7fELF", bytes(64), b"\x7fELF" + bytes(60)])
def test_files_that_are_no_objects(data):
    with pytest.raises(ObjectProblem):
        load_object(data)


def test_long_and_branching_programs_end():
    zero, leave = encode(Insn(0xB7, 0, 0, 0, 0)), encode(Insn(0x95, 0, 0, 0, 0))
    straight = Program("long", "", ContextKind.UPROBE, "", zero * 100_000 + leave)
    assert verify(straight, {}).r0_constant == 0
    branch = encode(Insn(0x25, 1, 0, 0, 5)) + encode(Insn(0x0F, 0, 1, 0, 0))
    many = zero + encode(Insn(0x79, 1, 1, 112, 0)) + branch * 20_000 + leave
    verify(Program("branches", "", ContextKind.UPROBE, "", many), {})


def test_calls_that_multiply_are_refused_as_too_complex():
    # Each function calls the next one eight times: 8^7 paths.
    text = "r6 = *(u64 *)(r1 + 112)\n" + "r1 = r6\ncall local f1\n" * 8 + "exit\n"
    for depth in range(1, 7):
        text += f"f{depth}: r6 = r1\nr0 = 0\n" + f"r1 = r6\ncall local f{depth + 1}\n" * 8 + "exit\n"
    text += "f7: r0 = r1\nexit\n"
    with pytest.raises(Refused, match="too complex"):
        verify(Program("deep", "", ContextKind.UPROBE, "", assemble(text).code), {})
