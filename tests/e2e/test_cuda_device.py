"""`bpftime trace` on the machine's own CUDA device, skipped where there is none; the tests themselves run on the stub.

`BPFTIME_CUDA=stub` lets the stub driver stand for the device.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.cuda import APPS, app
from tests.tools.cuda.cases import CASES, command, judge, runs_on_devices
from tests.tools.cuda.machine import NONE, Machine, machine, stubbed
from tests.tools.tracing import BPFTIME, Running, Tracer, counts

ONE_LINER = "cuda:vecadd { @[smid] = count(); } cudaret:vecadd { @done = count(); }"
THREADS = 3 * 128
ON_DEVICES = [pytest.param(case, id=case["name"]) for case in CASES if runs_on_devices(case)]
LIMIT = 120
SANITIZER = "compute-sanitizer"
TOOLS = "memcheck", "racecheck", "synccheck"
FOUND = 9  # status when the sanitizer has something to say
# As the sanitizer does: the program is a child, its trouble the status.
STAND_IN = f'#!/bin/sh\nshift 4\n"$@" || exit {FOUND}\nexit 0\n'


@pytest.fixture(scope="module")
def device() -> Iterator[Machine]:
    with machine() as found:
        if found is None:
            pytest.skip(NONE)
        yield found


@pytest.fixture
def stub() -> Iterator[Machine]:
    with stubbed() as found:
        yield found
        assert not found.stub.faults


def trace(here: Machine, program: str, words: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Trace a program that checks its results."""
    how = ("--cuda-assembler", here.assembler, *options, "-e", program, "--", *words)
    return subprocess.run(
        [*BPFTIME, "trace", *how],
        env={**here.environment, "CHECKS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def count_by_multiprocessor(here: Machine) -> None:
    """Each thread is counted once, on a multiprocessor that there is, and once when it is done."""
    done = trace(here, ONE_LINER, [str(app("vecadd", bound=False)), str(APPS / "vecadd.ptx")], "--exit-code")
    assert done.returncode == 0, done.stderr + done.stdout
    seen = counts(done.stdout.replace(":", "").encode())
    assert seen.pop("@done") == THREADS
    assert sum(seen.values()) == THREADS
    assert set(seen) <= {f"@[{number}]" for number in range(here.processors)}


def sanitize(here: Machine, program: str, tool: str) -> int:
    """Give the status of a sanitizer that runs a probed program."""
    words = (program, "--tool", tool, "--error-exitcode", FOUND)
    own = (app("measured", bound=False), APPS / "measured.ptx", "reduction", 512, 1, 1)
    with Running(*map(str, words + own), env=here.environment) as target:
        [pid] = Path(f"/proc/{target.pid}/task/{target.pid}/children").read_text().split()
        how = ("-q", "--no-warnings", "--cuda-assembler", here.assembler, "-p", pid)
        script = "cuda:reduction { @ = count(); } cudaret:reduction { @t = hist(elapsed); } cudamem:reduction { @m = sum(size); }"
        with Tracer((*how, "-e", script), env=here.environment) as tracer:
            target.work()
            ended = tracer.end()
        assert f"@: {2 * 512}\n" in ended.out, ended.err
        target.process.stdin.close()
        return target.process.wait(timeout=LIMIT)


def test_threads_are_counted_by_multiprocessor_and_when_they_are_done(device: Machine) -> None:
    count_by_multiprocessor(device)


@pytest.mark.parametrize("case", ON_DEVICES)
def test_case(device: Machine, case: dict) -> None:
    if case.get("target", "").startswith("python"):
        pytest.importorskip("cuda.bindings.driver")
    judge(case, trace(device, case["program"], command(case, bound=False), *case.get("options", ())))


@pytest.mark.parametrize("assembler", ["ptxas", "nvjitlink", "driver"])
def test_each_assembler_makes_images_that_the_driver_takes(device: Machine, assembler: str) -> None:
    if device.stub:
        pytest.skip("the stub driver runs text only")
    words = [str(app("vecadd", bound=False)), str(APPS / "vecadd.ptx")]
    done = trace(device, "cuda:vecadd { @ = count(); }", words, "--cuda-assembler", assembler)
    if f"no {assembler} on this machine" in done.stderr or "loads no code" in done.stderr:
        pytest.skip(f"no {assembler} for this driver")
    assert f"@: {THREADS}\n" in done.stdout, done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_a_sanitizer_finds_nothing_in_probed_kernels(device: Machine, tool: str) -> None:
    program = shutil.which(SANITIZER)
    if not program:
        pytest.skip(f"no {SANITIZER}")
    assert sanitize(device, program, tool) == 0


def test_the_count_is_looked_at_on_the_stub_as_it_is_on_a_device(stub: Machine) -> None:
    count_by_multiprocessor(stub)


def test_a_sanitizer_is_run_as_it_is_on_a_device(stub: Machine, tmp_path: Path) -> None:
    stand_in = tmp_path / SANITIZER
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    assert sanitize(stub, str(stand_in), TOOLS[0]) == 0


def test_cases_that_any_device_can_run_are_found() -> None:
    assert len(ON_DEVICES) > len(CASES) / 3
