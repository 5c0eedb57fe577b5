"""Scripts of `tests/cases/cudatrace/*.toml`: `bpftime trace` on programs of a stub driver whose kernels really run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attachers.cuda.assemble.tools import found
from tests.tools.cuda import app, driver
from tests.tools.cuda.cases import CASES, command, judge
from tests.tools.cuda.server import Server, environment

ROOT = Path(__file__).parents[2]
LIMIT = 60


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_case(case: dict, tmp_path: Path) -> None:
    if case.get("needs_ptxas") and not any(tool.name == "ptxas" for tool in found()):
        pytest.skip("no ptxas")
    if case.get("target", "").startswith("python"):
        pytest.importorskip("cuda.bindings.driver")
    log = tmp_path / "log"
    log.mkdir()
    with Server(tmp_path) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bpftime_cli", "trace", "--cuda-assembler", "driver"),
                *(*case.get("options", ()), "-e", case["program"], "--", *command(case)),
            ],
            cwd=ROOT,
            env={**os.environ, **environment(server, driver(), log), **case.get("env", {})},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    assert bool(server.faults) == case.get("faults", False), server.faults
    judge(case, done)


def test_kernels_of_a_program_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    file = app("registered")
    words = (sys.executable, "-m", "bpftime_cli", "trace", "-l", f"cuda:{file}:*,cudalaunch:{file}:sc*")
    subprocess.run(words, cwd=ROOT, check=True, timeout=LIMIT)
    assert capfd.readouterr().out == "cuda:scale<3>\ncuda:vecadd\ncudalaunch:scale<3>\n"
