"""The benchmark of probes in kernels does what it claims, on the stub driver: what times say there is not looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from attachers.cuda.assemble.cubin import usage_of
from attachers.cuda.assemble.result import AssemblerProblem
from attachers.cuda.assemble.tools import found
from tests.bench.cuda import CASES, COUNTER, PROBES, THREADS, Bench, reassembled
from tests.tools.cuda import driver
from tests.tools.cuda.machine import Machine, look, stubbed
from tests.tools.tracing import environment

if TYPE_CHECKING:
    from pathlib import Path


def test_one_kernel_with_every_probe_gives_the_output_that_it_gives_without(tmp_path: Path) -> None:
    with stubbed() as machine:
        rows = list(Bench(machine, CASES[0], tmp_path, (1, 2)).rows())
        assert not machine.stub.faults
    every = "original", "probe switched off", COUNTER.name, *(p.name for p in PROBES), THREADS.name
    assert [row.name for row in rows] == [f"vector_add: {name}" for name in every]
    assert [row.name for row in rows if row.skipped.startswith(("WRONG", "FAILED"))] == []
    assert all(row.value > 0 for row in rows if not row.skipped)


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.kernel)
def test_each_kernel_runs_and_is_counted(case: object, tmp_path: Path) -> None:
    with stubbed() as machine:
        bench = Bench(machine, case, tmp_path, (0, 1))
        probed, after, said = bench._traced(COUNTER)
        row = bench.judged("counted", probed, 0, said=said)
        assert not machine.stub.faults
    assert not row.skipped
    assert probed.output == after.output == bench.original.output
    assert len(set(bench.original.output)) > 1  # it is no empty one


def test_what_is_wrong_is_no_figure(tmp_path: Path) -> None:
    with stubbed() as machine:
        bench = Bench(machine, CASES[0], tmp_path, (0, 1))
        good = bench.original
    assert not bench.judged("same", good, 1, said=f"@[1]: {good.threads}\n").skipped
    assert bench.judged("same", replace(good, us=2 * good.us), 1).value == pytest.approx(2)
    assert "output" in bench.judged("other", replace(good, output=good.output[:-1] + b"!"), 1).skipped
    assert "woven" in bench.judged("none", replace(good, woven=False), 1).skipped
    assert "counted" in bench.judged("few", good, 1, said=f"@[1]: {good.threads - 1}\n").skipped


def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    with stubbed() as machine:
        broken = replace(machine, environment={**machine.environment, "BPFTIME_STUB_DEVICES": "0"})
        rows = list(Bench(broken, CASES[0], tmp_path, (0, 1)).rows())
    assert len(rows) > len(PROBES)
    assert all("cuInit: error 100" in row.skipped or "no clang" in row.skipped for row in rows)


@pytest.mark.parametrize("arch", [75, 90, 100, 120])
def test_the_image_of_the_middle_figure_has_every_kernel(arch: int) -> None:
    if not found():
        pytest.skip("no assembler")
    image = reassembled(Machine("any", 4, arch, 99000), "auto")
    assert set(usage_of(image)) == {case.kernel for case in CASES}
    assert reassembled(Machine("any", 4, arch, 99000), "driver") == b""


def test_an_assembler_too_new_for_the_driver_is_said_to_be_that() -> None:
    if not any(tool.name == "ptxas" for tool in found()):
        pytest.skip("no ptxas")
    assert reassembled(Machine("old", 4, 90, 11000), "auto") == b""
    with pytest.raises(AssemblerProblem, match="the driver, of CUDA 11, loads no code made by ptxas"):
        reassembled(Machine("old", 4, 90, 11000), "ptxas")


def test_a_machine_without_a_device_is_found_to_have_none() -> None:
    here = environment(LD_LIBRARY_PATH=str(driver().parent), BPFTIME_STUB_DEVICES="0")
    assert look(here) is None
