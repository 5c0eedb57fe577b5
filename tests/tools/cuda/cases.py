"""The cases of `tests/cases/cudatrace/*.toml`: their commands, what they must say, which of them need no stub."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.tools.cuda import APPS, app

FOLDER = Path(__file__).parents[2] / "cases" / "cudatrace"
CASES = [case for file in sorted(FOLDER.glob("*.toml")) for case in tomllib.loads(file.read_text())["case"]]
OF_STUB = ("env", "faults", "needs_ptxas", "of_stub")


def runs_on_devices(case: dict) -> bool:
    """Whether a case says the same of any device: nothing of it is arranged, it needs no double of the runtime."""
    name = case.get("target", "vecadd").split()[0]
    return name in ("vecadd", "python", "/bin/true") and not any(key in case for key in OF_STUB)


def command(case: dict, bound: bool = True) -> list[str]:
    """The program under test, `bound` to the stub driver or not."""
    name, *arguments = case.get("target", "vecadd vecadd.ptx").split()
    words = [str(APPS / word) if (APPS / word).exists() else word for word in arguments]
    if name == "python":
        return [sys.executable, *words]
    return [name if name.startswith("/") else str(app(name, *case.get("flags", ()), bound=bound)), *words]


def judge(case: dict, done: subprocess.CompletedProcess[str]) -> None:
    """Fail unless status, output and messages are those of the case."""
    assert done.returncode == case.get("status", 0), done.stderr
    for text in case.get("stderr_has", ()):
        assert text in done.stderr
    assert done.stdout.replace("done\n", "") == case["stdout"].lstrip("\n")
