"""The ready scripts: each is accepted, has a page, and tells of a real program what it should."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from bpftime_cli import scripts
from tests.tools.target import build
from tests.tools.tracing import bpftime

FILE = Path(__file__).parent.parent / "cases" / "scripts.toml"
CASES = tomllib.loads(FILE.read_text())["case"]
PYTHON = "/usr/bin/python3.11"


@pytest.mark.parametrize("name", scripts.names())
def test_accepted_without_a_target(name: str) -> None:
    done = bpftime("check", name)
    assert (done.returncode, done.stderr) == (0, b"")
    params = ["libc.so.6", "malloc", "5"]
    dry = bpftime("trace", "--dry-run", name, *params)
    assert (dry.returncode, dry.stdout, dry.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", scripts.names())
def test_page(name: str) -> None:
    done = bpftime("trace", "--help-script", name)
    first, *rest = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert first.endswith(".")
    assert any(line.startswith(f"usage: bpftime trace {name}") for line in rest)
    assert any(line.startswith("cost: about ") for line in rest)


def test_list_of_all() -> None:
    done = bpftime("trace", "--help-script", "all")
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == scripts.names()


def test_every_script_has_a_case() -> None:
    assert {case["script"] for case in CASES} == set(scripts.names())


def test_a_name_that_is_nearly_right() -> None:
    done = bpftime("trace", "opensnop", "--", "true")
    assert done.returncode == 1
    assert b"did you mean opensnoop" in done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([case["script"], *case.get("set", ())]))
def test_on_a_real_program(case: dict) -> None:
    argv = [_word(word) for word in case["command"]]
    if reason := _missing(case, argv[0]):
        pytest.skip(reason)
    options = [word for one in case.get("set", ()) for word in ("--set", one)]
    params = [_word(word) for word in case.get("params", ())]
    done = bpftime(
        "trace", "-q", *options, case["script"], *params, "--", *argv, stdin=case.get("stdin", "").encode()
    )
    out = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, done.stderr
    for pattern in case["has"]:
        assert re.search(pattern, out), f"no {pattern!r} in\n{out}\n{done.stderr.decode()}"
    for pattern in case.get("lacks", ()):
        assert not re.search(pattern, out), f"{pattern!r} in\n{out}"


def _word(word: str) -> str:
    if word.startswith("{target:"):
        return str(build(word[8:-1]))
    return {"{python}": sys.executable, "{python3.11}": PYTHON}.get(word, word)


def _missing(case: dict, program: str) -> str:
    if shutil.which(program) is None:
        return f"{program} is not installed"
    if "python markers" in case.get("needs", ()):
        return "" if b"stapsdt" in Path(PYTHON).read_bytes() else "this Python has no markers"
    return ""
