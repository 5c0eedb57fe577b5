"""The language's cases: scripts of `tests/cases/lang/*.toml` run natively, their output compared."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.tools.script import run_script

FOLDER = Path(__file__).parent.parent / "cases" / "lang"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict) -> None:
    form = "json" if "json" in case else "text"
    status, out, err = run_script(
        case["program"],
        params=tuple(case.get("params", ())),
        calls=case.get("calls"),
        form=form,
        unsafe=case.get("unsafe", False),
        checks=case.get("checks", False),
    )
    assert err == case.get("stderr", "")
    assert out == case.get("json" if form == "json" else "stdout", "")
    assert status == case.get("status", 0)
