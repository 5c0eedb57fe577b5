"""Compiled programs against the kernel's own eBPF: random programs over the whole instruction set.

More of them: python -m tests.unit.test_jit_differential FIRST COUNT
"""

from __future__ import annotations

import sys

import pytest

from runtime.ebpf.object import Program
from runtime.jit.compile import Build, compile_program
from runtime.jit.local import LocalProgram
from runtime.types import ContextKind
from runtime.verify.check import verify
from tests.tools import kernel_bpf
from tests.tools.randprog import random_program

BLOCK = 50
MASK = 0xFFFFFFFF


def compare(seed: int, *, cheap: bool) -> None:
    code = random_program(seed)
    want = kernel_bpf.run(code)
    verified = verify(Program("random", "", ContextKind.MEMORY, "", code), {})
    image = compile_program(verified, {}, Build("plain", 1, cheap=cheap), returns=True)
    got = LocalProgram(image, {})(0, 0) & MASK
    assert got == want, f"seed {seed}: {got:#x}, the kernel gives {want:#x}: {code.hex()}"


@pytest.mark.skipif(bool(kernel_bpf.reason_missing()), reason=kernel_bpf.reason_missing())
@pytest.mark.parametrize("first", range(0, 300, BLOCK))
def test_random_programs_give_what_the_kernel_gives(first: int):
    for seed in range(first, first + BLOCK):
        compare(seed, cheap=seed % 3 == 0)


if __name__ == "__main__":
    start, count = (int(word) for word in sys.argv[1:3])
    for number in range(start, start + count):
        compare(number, cheap=number % 3 == 0)
