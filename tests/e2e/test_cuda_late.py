"""Running processes that use CUDA: kernels that are loaded later, and those that were there before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.cuda import app, driver
from tests.tools.cuda.server import Server, environment

ROOT = Path(__file__).parents[2]
SCRIPT = "cuda:* { @[kernel] = count(); } cudalaunch:* { @l[kernel] = count(); }"
COUNTS = "@[scale<3>]: 128\n@[vecadd]: 256\n@l[scale<3>]: 1\n@l[vecadd]: 2\n"
LIMIT = 30


class Running:
    """The program `registered`, which says that it is ready and goes on when it is told."""

    def __init__(self, server: Server, folder: Path, *flags: str, **more: str) -> None:
        env = {**environment(server, driver(), folder), "WAITS": "1", **more}
        self.process = subprocess.Popen(
            [str(app("registered", *flags))],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def go_on(self) -> str:
        """Let it go on to its end; returns what it prints."""
        return self.process.communicate("\n", timeout=LIMIT)[0]


def trace(pid: int, script: str, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Trace a process; returns when the probes are armed."""
    read, write = os.pipe()
    words = ["trace", "--cuda-assembler", "driver", "--ready-fd", str(write), "-p", str(pid), *options]
    tracer = subprocess.Popen(
        [sys.executable, "-m", "bpftime_cli", *words, "-e", script],
        cwd=ROOT,
        pass_fds=[write],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    said = os.read(read, 100).decode()
    os.close(read)
    return tracer, said


@pytest.mark.parametrize("first", [{}, {"FIRST": "1"}], ids=["not loaded yet", "loaded and launched before"])
def test_kernels_of_a_running_program_are_probed(tmp_path: Path, first: dict[str, str]) -> None:
    with Server(tmp_path) as server:
        target = Running(server, tmp_path, **first)
        tracer, said = trace(target.process.pid, SCRIPT)
        assert said == "READY=1\n"
        assert target.go_on() == "done\n"
        out, errors = tracer.communicate(timeout=LIMIT)
    assert target.process.returncode == 0
    assert out == COUNTS, errors
    assert not server.faults


def test_a_program_goes_on_as_before_when_the_trace_ends_first(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        target = Running(server, tmp_path, FIRST="1")
        tracer, _ = trace(target.process.pid, SCRIPT, "--duration", "100ms")
        assert tracer.wait(LIMIT) == 0
        assert target.go_on() == "done\n"
    assert target.process.returncode == 0
    assert not server.faults


def test_nodes_that_are_added_to_graphs_later_are_probed(tmp_path: Path) -> None:
    """The kernel was loaded and launched before: the graph gets its woven form."""
    with Server(tmp_path) as server:
        target = Running(server, tmp_path, "-DGRAPH", FIRST="1")
        tracer, _ = trace(target.process.pid, "cuda:* { @[kernel] = count(); }")
        assert target.go_on() == "done\n"
        out, errors = tracer.communicate(timeout=LIMIT)
    assert target.process.returncode == 0
    assert out == "@[scale<3>]: 128\n@[vecadd]: 256\n", errors
    assert not server.faults
