"""Random programs over the whole instruction set: in a kernel they give what the compiled ones give on the host."""

from __future__ import annotations

import pytest

from runtime.ebpf.asm import assemble
from runtime.ebpf.object import Program
from runtime.jit.compile import Build, compile_program
from runtime.jit.local import LocalProgram
from runtime.maps.spec import MapSpec
from runtime.types import ContextKind
from runtime.verify.check import verify
from tests.tools.devicerun import KEEP_AND_END, DeviceRun
from tests.tools.randprog import random_program

OUT = MapSpec("out", 1503, 4, 8, 1)
MAIN = f"""
call local f
*(u32 *)(r10 - 4) = 0
{KEEP_AND_END.format(register="r0")}
f:
"""
BLOCK = 40


def on_host(code: bytes) -> int:
    verified = verify(Program("random", "", ContextKind.MEMORY, "", code), {})
    image = compile_program(verified, {}, Build("plain", 1, cheap=True), returns=True)
    return LocalProgram(image, {})(0, 0) & (1 << 64) - 1


def in_kernel(code: bytes) -> Program:
    """Make the program a function whose result goes to a map."""
    main = assemble(f"{MAIN}r0 = 0\nexit\n")
    head = main.code[: -2 * 8]
    return Program(
        "random", "cuda", ContextKind.CUDA, "k", head + code, main.map_refs, subprograms={len(head) // 8: "f"}
    )


@pytest.mark.parametrize("first", range(0, 120, BLOCK))
def test_results_are_those_of_the_host(first: int) -> None:
    codes = [random_program(seed) for seed in range(first, first + BLOCK)]
    run = DeviceRun([in_kernel(code) for code in codes], [OUT])
    for number, code in enumerate(codes):
        run.launch(number, 1, 1)
        assert run.number("out") == on_host(code), f"seed {first + number}"
