"""The table of `tests/cases/attach`: every case by both backends, launched and at a running process.

Cases of one group share a run: their scripts are joined, and each finds its own lines by its tag. A case says
which backend refuses it, and with which words.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.tools.cases import attached, launched
from tests.tools.target import build

FOLDER = Path(__file__).parent.parent / "cases" / "attach"
BACKENDS, HOW = ("inline", "frida"), ("launch", "pid")
CASES = {
    f"{file.stem}{number}": case
    for file in sorted(FOLDER.glob("*.toml"))
    for number, case in enumerate(tomllib.loads(file.read_text())["case"])
}


def group_of(tag: str) -> str:
    """What runs together: the cases of one group of one file, else the case alone."""
    file = tag.rstrip("0123456789")
    return f"{file}/{CASES[tag]['group']}" if "group" in CASES[tag] else tag


@cache
def run(group: str, backend: str, how: str) -> tuple[dict[str, str], str, int, str]:
    """Run the cases of a group; gives each one's lines, the messages, the status, and what the target said."""
    members = [tag for tag in CASES if group_of(tag) == group]
    first = CASES[members[0]]
    name, *arguments = first["target"].split()
    target = [str(build(name)), *arguments]
    program = "\n".join(CASES[tag]["program"].replace("TAG", tag) for tag in members)
    options = ("-v", "--backend", backend, *first.get("options", ()))
    fails = backend in first.get("refused", {}) and len(members) == 1
    if how == "launch":
        with tempfile.TemporaryDirectory() as folder:
            ended, said = launched(program, options, target, Path(folder))
    else:
        lingers = backend in first.get("lingers", ())
        ended, said = attached(program, options, target, fails=fails, lingers=lingers)
    return {tag: lines_of(tag, ended.out) for tag in members}, ended.err, ended.status, said


def lines_of(tag: str, out: str) -> str:
    """The lines of one case without its tag."""
    found = re.findall(rf"^(@?){tag}(?:_| |(?=\[|:))(.*\n)", out, re.M)
    return "".join(at + text for at, text in found)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tag", CASES, ids=lambda tag: f"{tag}: {CASES[tag]['name']}")
def test_case(tag: str, backend: str, how: str) -> None:
    case = CASES[tag]
    lines, messages, status, said = run(group_of(tag), backend, how)
    refusal = case.get("refused", {}).get(backend)
    if refusal:
        assert refusal in messages
        assert lines[tag] == case.get("left", "")
        return
    assert status == 0, messages
    assert lines[tag] == case["stdout"], messages
    assert f"wrong {case.get('wrong', 0)}\n" in said
