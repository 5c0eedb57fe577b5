"""Scripts of `tests/cases/trace/*.toml` in real processes: launched, and at a running one through both injectors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.tools.cases import attached, launched
from tests.tools.target import build

FOLDER = Path(__file__).parent.parent / "cases" / "trace"
CASES = [
    pytest.param(case, how, id=f"{file.stem}: {case['name']}: {how}")
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
    for how in case.get("how", ("launch", "ptrace", "frida"))
]


@pytest.mark.parametrize(("case", "how"), CASES)
def test_case(case: dict, how: str, tmp_path: Path) -> None:
    name, *arguments = case["target"].split()
    target = [str(build(name)), *arguments]
    program, options = case["program"], case.get("options", ())
    if how == "launch":
        ended, said = launched(program, options, target, tmp_path)
    else:
        with_us = case.get("ends_with_us", True)
        ended, said = attached(program, ("--inject", how, *options), target, ends_with_us=with_us)
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
