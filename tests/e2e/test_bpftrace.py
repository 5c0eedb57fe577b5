"""The same scripts under bpftrace and under us, at the same program: equal output (bpftrace needs root and uprobes)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, Tracer

# A copy of its own: the kernel's probes belong to the file and show in every process that runs it.
FOLDER = tempfile.TemporaryDirectory(prefix="bpftime-")
PLAIN = str(shutil.copy(build("plain"), FOLDER.name))
# Its reader of arguments knows no floats and no byte registers, so it gets a program of markers that it knows.
MARKED = str(shutil.copy(build("marked"), FOLDER.name))
TYPED = str(shutil.copy(build("typed"), FOLDER.name))
NAMES = {"PLAIN": PLAIN, "MARKED": MARKED, "TYPED": TYPED}
FOLDER_OF_CASES = Path(__file__).parent.parent / "cases" / "bpftrace"


def cases(name: str) -> list:
    return [
        pytest.param(case, id=case["name"])
        for case in tomllib.loads((FOLDER_OF_CASES / f"{name}.toml").read_text())["case"]
    ]


@cache
def reason() -> str:
    """Why bpftrace cannot be asked; empty when it can."""
    if os.geteuid() != 0 or not shutil.which("bpftrace"):
        return "needs root and bpftrace"
    if not Path("/sys/kernel/tracing/uprobe_events").exists():
        return "tracefs is not mounted"
    done = subprocess.run(
        ["bpftrace", "-e", "BEGIN { exit(); }"], capture_output=True, timeout=30, check=False
    )
    return "" if done.returncode == 0 else "bpftrace does not run here"


EPOLL_WAIT = "232"


def _ended(process: subprocess.Popen[bytes]) -> bytes:
    """What it printed; a signal between its look at the flag and its wait is lost, so it is told again."""
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.communicate()[0]


def program_of(script: str) -> str:
    """The program that a script is about."""
    return next((path for path in NAMES.values() if f":{path}:" in script), PLAIN)


def theirs(script: str) -> str:
    """bpftrace says nothing before its end here; it is ready when it waits for events."""
    with Running(program_of(script), "20") as target:
        argv = ["bpftrace", "-q", "-e", script, "-p", str(target.pid)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            if Path(f"/proc/{process.pid}/syscall").read_text().split()[0] == EPOLL_WAIT:
                break
            time.sleep(0.005)
        target.work()
        time.sleep(0.3)  # it drops lines that it has not read when the signal comes
        out = _ended(process)
        target.end()
    assert process.returncode == 0
    return out.decode("utf-8", "surrogateescape")


def ours(script: str) -> str:
    with Running(program_of(script), "20") as target:
        with Tracer(("-q", "--no-warnings", "-e", script, "-p", str(target.pid))) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert ended.status == 0, ended.err
    return ended.out


def lines(text: str) -> list[str]:
    """Lines without what the two print differently by design: blank lines, blanks behind a histogram's name."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("case", cases("targets"))
def test_same_output_about_a_program(case: dict) -> None:
    if reason():
        pytest.skip(reason())
    script = case["program"]
    for name, path in NAMES.items():
        script = script.replace(f":{name}:", f":{path}:")
    assert sorted(lines(ours(script))) == sorted(lines(theirs(script)))


@pytest.mark.parametrize("case", cases("begin"))
def test_same_output_of_the_tracer(case: dict) -> None:
    if reason():
        pytest.skip(reason())
    words = ("-q", "--unsafe", "-e", case["program"], *case.get("params", ()))
    us, them = (
        subprocess.run([*argv, *words], capture_output=True, timeout=60, check=False)
        for argv in ((*BPFTIME, "trace", "--no-warnings"), ("bpftrace",))
    )
    assert us.returncode == 0, us.stderr
    assert us.stdout.decode() == case.get("ours", us.stdout.decode())
    if "unordered" in case:
        assert sorted(lines(us.stdout.decode())) == sorted(lines(them.stdout.decode()))
    elif "differs" in case:
        assert lines(them.stdout.decode()) != lines(us.stdout.decode()), "the difference is gone"
    else:
        assert lines(us.stdout.decode()) == lines(them.stdout.decode())
