"""Scripts of `tests/cases/trace/*.toml` in real processes: launched, and at a running one through both injectors."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Ended, Running, Tracer, changed, environment, text_of

FOLDER = Path(__file__).parent.parent / "cases" / "trace"
CASES = [
    pytest.param(case, how, id=f"{file.stem}: {case['name']}: {how}")
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
    for how in case.get("how", ("launch", "ptrace", "frida"))
]


def launched(case: dict, target: list[str], folder: Path) -> tuple[Ended, str]:
    out = folder / "data"
    argv = [
        *BPFTIME,
        "trace",
        "-q",
        "-o",
        str(out),
        *case.get("options", ()),
        "-e",
        case["program"],
        "--",
        *target,
    ]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    data = out.read_text(errors="surrogateescape") if out.exists() else ""
    return Ended(data, done.stderr.decode(), done.returncode), done.stdout.decode()


def attached(case: dict, target: list[str], how: str) -> tuple[Ended, str]:
    with Running(*target) as process:
        before = text_of(process.pid)
        options = ("-q", "--inject", how, "-p", str(process.pid), *case.get("options", ()))
        with Tracer((*options, "-e", case["program"])) as tracer:
            process.work()
            ended = tracer.end(2 if case.get("ends_with_us", True) else 0)
        assert changed(before, text_of(process.pid)) == []
        status = process.end()
        assert status == 0
        return ended, process.said.decode()


@pytest.mark.parametrize(("case", "how"), CASES)
def test_case(case: dict, how: str, tmp_path: Path) -> None:
    name, *arguments = case["target"].split()
    target = [str(build(name)), *arguments]
    ended, said = launched(case, target, tmp_path) if how == "launch" else attached(case, target, how)
    assert ended.err == case.get("stderr", "")
    assert ended.status == case.get("status", 0)
    assert "wrong" not in said or "wrong 0\n" in said
    out = ended.out
    if case.get("unordered"):
        assert sorted(out.splitlines()) == sorted(case["stdout"].splitlines())
    elif "stdout" in case:
        assert out == case["stdout"]
    for text in case.get("stdout_has", ()):
        assert text in out
