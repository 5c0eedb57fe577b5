"""Bad input from `tests/cases/badinput/*.toml`: one message with a next step, the right status, no traceback, no harm.

`{NAME}` in a case stands for a thing made here: a process (`{zombie}`, `{kernel_thread}`, `{gone}`, `{traced}`,
`{others}`), a file (`{static}`, `{stripped}`, `{loop}`), or the case's own folder `{dir}` with its `files`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, environment

FOLDER = Path(__file__).parent.parent / "cases" / "badinput"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(FOLDER.glob("*.toml"))
    for case in tomllib.loads(file.read_text())["case"]
]
ZOMBIE = "import os, sys; pid = os.fork(); pid or os._exit(0); print(pid, flush=True); sys.stdin.read()"
STRANGER = 65534  # nobody


class Things:
    """Makes what a case names; ends the processes afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Running] = []

    def of(self, name: str) -> str:
        make: dict[str, Callable[[], object]] = {
            "dir": lambda: self.folder, "zombie": self.zombie, "gone": self.gone, "kernel_thread": lambda: 2,
            "traced": self.traced, "python": self.python, "waiting": self.waiting, "self": lambda: "self",
            "static": lambda: build("loop", "-static", as_name="still"), "loop": lambda: build("loop"),
            "stripped": lambda: build("loop", "-s", as_name="bare"), "plain": lambda: build("plain"),
        }  # fmt: skip
        return str(make[name]())

    def python(self) -> int:
        self.running.append(
            Running(sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()")
        )
        return self.running[-1].pid

    def waiting(self) -> int:
        self.running.append(Running(build("loop"), "1", "1"))
        return self.running[-1].pid

    def zombie(self) -> int:
        parent = Running(sys.executable, "-c", ZOMBIE, wait=False)
        self.running.append(parent)
        pid = int(parent.until(b"\n"))
        while "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
            os.sched_yield()
        return pid

    def gone(self) -> int:
        process = subprocess.Popen(["true"])
        process.wait()
        return process.pid

    def traced(self) -> int:
        """A process that strace holds already."""
        if not shutil.which("strace"):
            pytest.skip("no strace")
        pid = self.waiting()
        tracer = Running("strace", "-q", "-o", "/dev/null", "-p", str(pid), wait=False)
        self.running.insert(0, tracer)
        while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
            os.sched_yield()
        return pid

    def close(self) -> None:
        for one in self.running:
            one.__exit__(None, None, None)


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict, tmp_path: Path) -> None:
    if case.get("user") and (os.geteuid() != 0 or not shutil.which("setpriv")):
        pytest.skip("changing the user takes root and setpriv")
    if case.get("needs") == "kernel_threads" and not Path("/proc/2/exe").parent.exists():
        pytest.skip("no kernel threads are visible here")
    for name, text in case.get("files", {}).items():
        (tmp_path / name).write_bytes(bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode())
        (tmp_path / name).chmod(case.get("mode", 0o644))
    things = Things(tmp_path)
    try:
        argv = [re.sub(r"\{([a-z_]+)\}", lambda m: things.of(m[1]), word) for word in case["argv"]]
        lives = [t.process for t in things.running]
        done = run(argv, case)
        assert all(p.poll() is None for p in lives), "a target died"
    finally:
        things.close()
    err = done.stderr.decode("utf-8", "surrogateescape")
    assert "Traceback" not in err
    assert "BUG" not in err
    assert done.returncode == case["status"], err
    if "stderr" in case:
        assert normal(err, tmp_path) == case["stderr"]
    for text in case.get("stderr_has", ()):
        assert text in normal(err, tmp_path)
    assert done.stdout.decode("utf-8", "surrogateescape") == case.get("stdout", "")


def run(argv: list[str], case: dict) -> subprocess.CompletedProcess[bytes]:
    # A process that is its own target: the shell's number stays that of the command it becomes.
    command = [*BPFTIME, *argv]
    if "self" in argv:
        quoted = " ".join(f"'{w}'" if w != "self" else "$$" for w in command)
        command = ["sh", "-c", f"exec {quoted}"]
    if case.get("user"):
        # Another user who may read every file (an interpreter under /root too), but trace nobody else's process.
        command = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups",
                   "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command]  # fmt: skip
    env = environment(**case.get("env", {}), **({"HOME": "/nonexistent"} if case.get("user") else {}))
    return subprocess.run(
        command,
        input=case.get("stdin", "").encode(),
        capture_output=True,
        timeout=PATIENCE,
        env=env,
        check=False,
    )


def normal(text: str, folder: Path) -> str:
    """The message without what differs from run to run and machine to machine."""
    text = text.replace(str(folder), "DIR")
    text = re.sub(r"/tmp/bpftime-targets-\d+/[0-9a-f]+/", "TARGETS/", text)
    text = re.sub(r"/(usr/)?lib(/x86_64-linux-gnu|64)?/", "LIB/", text)
    text = re.sub(r"\b(by|of|to|process|PID|kill) \d+\b", r"\1 N", text)
    text = re.sub(r"\([\d,]+ functions\)", "(N functions)", text)
    return re.sub(r"among the \d+ files", "among the N files", text)
