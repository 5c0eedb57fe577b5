"""Targets in other namespaces, roots, users and sandboxes; launched there, and found there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, Tracer, bpftime, changed, environment, text_of

CASES = tomllib.loads((Path(__file__).parents[1] / "cases" / "places.toml").read_text())["case"]
NEEDED = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")
PROGRAM = "uprobe:{}:step {{ @ = count(); @p[pid] = count(); }}"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A root with a libc: outside pytest's folders, which other users may not enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        programs = (
            build("stage", as_name="stage-dynamic"),
            build("stage", "-static", as_name="stage-static"),
            build("loop"),
            build("loop", "-static", as_name="still"),
        )
        for program in programs:
            shutil.copy(program, folder / program.name)
        for needed in NEEDED:
            if not Path(needed).exists():
                pytest.skip(f"no {needed}")
            place = folder / needed.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(needed, place)
        yield folder


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_launched_there(case: dict, root: Path, tmp_path: Path) -> None:
    dynamic = build("stage", as_name="stage-dynamic")
    words = case["argv"].format(root=root, dynamic=dynamic).split()
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]}")
    expected = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
    if expected.returncode:
        pytest.skip(f"not permitted here: {expected.stderr.decode(errors='replace').strip()}")
    data = tmp_path / "data"
    program = "uprobe:stage-*:stage_step { @ = count(); }"
    options = ("-q", "--no-warnings", "--exit-code", "-o", str(data), "-e", program)
    done = subprocess.run(
        [*BPFTIME, "trace", *options, "--", *words],
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (expected.stdout, expected.stderr, 0)
    assert data.read_text() == "@: 20\n"


PLACES = {
    "mount namespace": ("unshare -m {loop}", "loop"),
    "pid namespace": ("unshare -pf {loop}", "loop"),
    "pid and mount namespace": ("unshare -pfm --mount-proc {loop}", "loop"),
    "user namespace": ("unshare -Ur {loop}", "loop"),
    "chroot, static": ("chroot {root} /still", "still"),
    "chroot, dynamic": ("chroot {root} /loop", "loop"),
    "chroot in a pid namespace": ("unshare -pf chroot {root} /loop", "loop"),
    "other user": ("setpriv --reuid 65534 --clear-groups {loop}", "loop"),
}


@pytest.mark.parametrize("name", PLACES)
def test_found_there(name: str, root: Path) -> None:
    line, binary = PLACES[name]
    words = [*line.format(root=root, loop=build("loop")).split(), "2", "1000"]
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]}")
    allowed = subprocess.run(words, input=b"\n\n", capture_output=True, timeout=PATIENCE, check=False)
    if allowed.returncode:
        pytest.skip(f"not permitted here: {allowed.stderr.decode(errors='replace').strip()}")
    with Running(*words) as target:
        pid = innermost(target.pid)
        before = text_of(pid)
        with Tracer(("-q", "-p", str(pid), "-e", PROGRAM.format(binary))) as tracer:
            assert target.work()["calls"] == 2000
            ended = tracer.end()
        assert changed(before, text_of(pid)) == []
        assert target.end() == 0
    assert (ended.err, ended.status) == ("", 0)
    assert ended.out.startswith("@: 2000\n@p[")


def innermost(pid: int) -> int:
    """The last of a chain of children: what a wrapper has started."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may put a sandbox to sleep")
def test_a_sandbox_that_kills() -> None:
    """All that we do in it would be the end of it: the kernel suspends its filter while we are there."""
    with Running(build("sealed"), "500") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", PROGRAM.format("sealed"))) as tracer:
            assert target.work()["calls"] == 500
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert ended.out == f"@: 500\n@p[{target.pid}]: 500\n"


def test_the_first_thread_has_ended() -> None:
    """A zombie that lives: its other threads run on, and only they have the memory."""
    with Running(build("leaderless"), "500") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", PROGRAM.format("leaderless"))) as tracer:
            assert target.work()["calls"] == 500
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert ended.out == f"@: 500\n@p[{target.pid}]: 500\n"


def test_a_stopped_process_stays_stopped() -> None:
    with Running(build("loop"), "1", "100") as target:
        os.kill(target.pid, signal.SIGSTOP)
        wait_for_state(target.pid, "T")
        with Tracer(("-q", "-p", str(target.pid), "-e", PROGRAM.format("loop"))) as tracer:
            assert state_of(target.pid) == "T"
            os.kill(target.pid, signal.SIGCONT)
            assert target.work()["calls"] == 100
            os.kill(target.pid, signal.SIGSTOP)
            wait_for_state(target.pid, "T")
            ended = tracer.end()
        assert state_of(target.pid) == "T"
        os.kill(target.pid, signal.SIGCONT)
        assert target.end() == 0
    assert (ended.err, ended.status) == ("", 0)
    assert ended.out.startswith("@: 100\n")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for_state(pid: int, state: str) -> None:
    while state_of(pid) != state:
        os.sched_yield()


def test_what_a_debugger_starts_runs_unprobed(tmp_path: Path) -> None:
    """Two tracers cannot have one thread: strace keeps its own, and its output is what it was."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    stage = build("stage", as_name="stage-dynamic")
    log = tmp_path / "log"
    argv = ["strace", "-f", "-e", "trace=execve", "-o", str(log), str(stage), "exec", str(stage)]
    done = bpftime(
        "trace",
        "-q",
        "--no-warnings",
        "--exit-code",
        "-e",
        "uprobe:libc.so.6:malloc { @[comm] = count(); }",
        "--",
        *argv,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"@[strace]: " in done.stdout
    assert log.read_text().count(" = 0\n") == 2


def test_without_ptrace_the_agent_is_preloaded() -> None:
    """`--inject preload` does by choice what a launch does where ptrace is refused."""
    stage = build("stage", as_name="stage-dynamic")
    program = "uprobe:stage-*:stage_step { @ = count(); }"
    done = bpftime("trace", "-q", "--inject", "preload", "-e", program, "--", str(stage), "fork", str(stage))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"@: 20\n", b"")
