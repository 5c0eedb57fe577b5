"""Scripts in a kernel's only thread print what they print in the tracer, or are refused by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from runtime.errors import Problem
from tests.tools.devicescript import once

FOLDER = Path(__file__).parents[1] / "cases" / "lang"
FILES = ("aggregations", "control", "formats", "hist", "loops", "maps", "operators", "values_in_maps")
PROBE = re.compile(r"\b(?:begin|BEGIN)\b(?=\s*[{/])")
OTHERS = re.compile(r"\b(?:end|END|interval|uprobe|self|test|bench)\b\s*[{:/]|\bprobe\b")
REFUSED = re.compile("GPU kernels|not known to be valid|requires 0 arguments|on a device")


def in_kernel(case: dict) -> str:
    """Give a case's program with its probe in a kernel, "" where it has others."""
    if {"status", "calls", "stderr", "unsafe", "checks"} & set(case) or OTHERS.search(case["program"]):
        return ""
    text, count = PROBE.subn("cuda:k", case["program"])
    return text if count == 1 else ""


CASES = [
    pytest.param(case, id=f"{name}: {case['name']}")
    for name in FILES
    for case in tomllib.loads((FOLDER / f"{name}.toml").read_text())["case"]
    if in_kernel(case)
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict) -> None:
    form = "json" if "json" in case else "text"
    try:
        out, session = once(in_kernel(case), form, tuple(case.get("params", ())))
    except Problem as problem:
        assert REFUSED.search(str(problem))
        return
    assert out == case.get("json" if form == "json" else "stdout", "")
    assert all(body.local == 0 for body in session.device.bodies)


def test_most_cases_run() -> None:
    assert len(CASES) > 120
