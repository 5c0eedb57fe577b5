"""Scripts of `tests/cases/cudatrace/*.toml`: `bpftime trace` on programs of a stub driver whose kernels really run."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from attachers.cuda.assemble.tools import found
from tests.tools.cuda import APPS, app, driver
from tests.tools.cuda.server import Server, environment

FOLDER = Path(__file__).parents[1] / "cases" / "cudatrace"
ROOT = Path(__file__).parents[2]
CASES = [
    pytest.param(case, id=case["name"])
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
]
LIMIT = 60


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict, tmp_path: Path) -> None:
    name, *arguments = case.get("target", "vecadd vecadd.ptx").split()
    words = [str(APPS / word) if (APPS / word).exists() else word for word in arguments]
    if case.get("needs_ptxas") and not any(tool.name == "ptxas" for tool in found()):
        pytest.skip("no ptxas")
    if name == "python":
        pytest.importorskip("cuda.bindings.driver")
        name = sys.executable
    command = [name if name.startswith("/") else str(app(name, *case.get("flags", ()))), *words]
    log = tmp_path / "log"
    log.mkdir()
    with Server(tmp_path) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bpftime_cli", "trace", "--cuda-assembler", "driver"),
                *(*case.get("options", ()), "-e", case["program"], "--", *command),
            ],
            cwd=ROOT,
            env={**os.environ, **environment(server, driver(), log), **case.get("env", {})},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    assert bool(server.faults) == case.get("faults", False), server.faults
    assert done.returncode == case.get("status", 0), done.stderr
    for text in case.get("stderr_has", ()):
        assert text in done.stderr
    assert done.stdout.replace("done\n", "") == case["stdout"].lstrip("\n")


def test_kernels_of_a_program_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    file = app("registered")
    words = (sys.executable, "-m", "bpftime_cli", "trace", "-l", f"cuda:{file}:*,cudalaunch:{file}:sc*")
    subprocess.run(words, cwd=ROOT, check=True, timeout=LIMIT)
    assert capfd.readouterr().out == "cuda:scale<3>\ncuda:vecadd\ncudalaunch:scale<3>\n"
