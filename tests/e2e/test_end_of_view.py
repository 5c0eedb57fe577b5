"""A view of a program that makes calls faster than they can be shown ends when it is told to, and harms nobody."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, bpftime, environment


@pytest.fixture
def busy() -> Iterator[Running]:
    with Running(build("calls"), "2") as target:
        target.go()
        yield target


def view(pid: int, out: Path) -> subprocess.Popen[bytes]:
    """Begin a view and wait until it has fallen behind: its program waits for room then."""
    argv = [*BPFTIME, "strace", "-p", str(pid), "-o", str(out)]
    tracer = subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE)
    end = time.monotonic() + PATIENCE
    while (not out.exists() or out.stat().st_size < 1 << 20) and time.monotonic() < end:
        time.sleep(0.01)
    return tracer


def test_it_ends_when_told(busy: Running, tmp_path: Path) -> None:
    """What was recorded by then is shown, what comes later is not waited for, and nothing counts as lost."""
    out = tmp_path / "out"
    tracer = view(busy.pid, out)
    tracer.send_signal(signal.SIGINT)
    _, said = tracer.communicate(timeout=PATIENCE)
    assert (tracer.returncode, said) == (0, b"")
    assert len(out.read_bytes().splitlines()) > 1000
    busy.go()
    assert b"wrong 0" in busy.until(b"done\n")


def test_nobody_waits_for_a_tracer_that_is_gone(busy: Running, tmp_path: Path) -> None:
    """Threads that wait for room in a dead tracer's ring go on; another tracer cleans up behind it."""
    for number in range(2):
        tracer = view(busy.pid, tmp_path / str(number))
        tracer.kill()
        tracer.communicate(timeout=PATIENCE)
        count = "tracepoint:syscalls:sys_enter_getuid { @ = count(); }"
        done = bpftime("trace", "-q", "-p", str(busy.pid), "--duration", "300ms", "-e", count)
        assert (done.returncode, done.stderr) == (0, b""), number
    busy.go()
    assert b"wrong 0" in busy.until(b"done\n")


def test_a_handler_may_block_above_a_program_that_waits(tmp_path: Path) -> None:
    """A signal finds its thread waiting for room inside our code, and its handler returns there when we are gone."""
    with Running(build("handler")) as target:
        for number in range(2):
            tracer = view(target.pid, tmp_path / str(number))
            target.process.send_signal(signal.SIGUSR1)
            tracer.send_signal(signal.SIGINT)
            target.until(b"in\n" * (number + 1))
            _, said = tracer.communicate(timeout=PATIENCE)
            assert (tracer.returncode, said) == (0, b"")
            target.go()
            time.sleep(0.1)
            assert target.process.poll() is None
        target.process.send_signal(signal.SIGUSR2)
        target.until(b"done\n")
