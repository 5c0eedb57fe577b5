"""The language's cases once more, as commands in real processes: what they print there is the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import bpftime

FOLDER = Path(__file__).parent.parent / "cases" / "lang"
ATTACHED = r'^{"type": "attached_probes".*\n'

IN_ONE_PROCESS = {  # what only the table's own way of running has
    "the name of a probe as a value and as a key": "every call is said to come from the first probe",
    "the type of a probe": "an interval fires without waiting",
    "interval probes and end probes run": "an interval fires without waiting",
    "cat and system are done in order": "commands are shown, not done",
    "kstack is not served": "told by the verifier there",
    "a place tells ten times at most": "the rest is told at the end of a session",
    "parameters in attach points": "a parameter of `sh` that names a target",
    "kinds of probes by wildcard": "nothing is attached",
    "control groups as keys and values": "groups that do not exist",
    "control groups as JSON": "groups that do not exist",
    "symbols of the program as keys and values": "addresses without names",
    "symbols of the program as JSON": "addresses without names",
    "stacks as keys and values": "no stack above the program",
    "stacks as JSON": "no stack above the program",
}


def _runs(case: dict) -> bool:
    """Tell whether a case says what a whole session prints: a refusal is the same with no process at all."""
    return case["name"] not in IN_ONE_PROCESS and (case.get("status", 0) == 0 or "calls" in case)


CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
    if _runs(case)
]


def _word(word: int | str) -> str:
    return str(word) if isinstance(word, int) else f"s{word.encode().hex()}"


def _behind(case: dict) -> list[str]:
    """Give what stands behind the program: its parameters, or the target with the words of its calls."""
    if not re.search(r"\buprobe:a:b", case["program"]):
        return ["--", *case["params"]] if "params" in case else []
    words = [word for call in case.get("calls", []) for word in ("/", *map(_word, call))]
    return ["--", str(build("words", as_name="a")), *words[1:]]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict) -> None:
    form = ("-f", "json") if "json" in case else ()
    options = [flag for flag, key in (("--unsafe", "unsafe"), ("-k", "checks")) if case.get(key, False)]
    done = bpftime("trace", "-q", *form, *options, "-e", case["program"], *_behind(case))
    assert done.stderr.decode() == case.get("stderr", "")
    said = re.sub(ATTACHED, "", done.stdout.decode("utf-8", "backslashreplace"))
    assert said == case.get("json" if form else "stdout", "")
    assert done.returncode == case.get("status", 0)
