"""Small real runs for `doctor`: a launched program is probed and counted, a running child is visited."""

from __future__ import annotations

import os
import signal
import time

from attachers.base import UPROBE
from attachers.target import Target
from attachers.uprobe import Hook
from bpftime_cli.console import Console
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.processes import Processes
from bpftime_cli.pipeline.programs import Programs
from runtime.errors import Problem, TargetProblem
from runtime.lang import Options, compile_script
from runtime.shm.session import Session

PROGRAM = "uprobe:libc.so.6:exit,uprobe:libc.so.6:_exit { @ = count(); }"
PATIENCE = 5.0  # seconds for the program to end


def counts_calls() -> int:
    """Launch `true` with a probe on the C library's exit functions; returns the calls that were counted.

    Raises:
        Problem: something on the way does not work.
    """
    script = compile_script(PROGRAM, "doctor", Options())
    programs = Programs(script.object)
    programs.verify_all()
    session = Session.create(f"doctor-{os.getpid()}", tuple(programs.maps.values()))
    processes = Processes(Config(command=("true",), follow=False), Console.standard(), session)
    try:
        processes.open()
        _arm(processes, programs, [(p.program, p.parts) for p in script.probes])
        processes.go()
        deadline = time.monotonic() + PATIENCE
        while processes.poll() and time.monotonic() < deadline:
            processes.sleep(0.002)
        return sum(int.from_bytes(value[:8], "little") for _, value in session.view("@").items())
    finally:
        processes.stop_child()
        processes.close()


def _arm(processes: Processes, programs: Programs, probes: list[tuple[str, tuple[str, ...]]]) -> None:
    [traced] = processes.traced
    found = []
    for number, (name, parts) in enumerate(probes, 1):
        image = programs.image(name, traced.target.build_kind)
        found += traced.attacher.resolve(Hook(number, image, parts[0], parts[1], UPROBE))
    plan = traced.attacher.plan(found)
    traced.attacher.apply(plan)
    if len(plan.refused) == len(probes):
        raise next(iter(plan.refused.values()))


def visits_child() -> None:
    """Start a sleeping child and bring the agent into it.

    Raises:
        Problem: it cannot be visited.
    """
    try:
        pid = os.posix_spawnp("sleep", ["sleep", "20"], dict(os.environ))
    except OSError as error:
        raise TargetProblem(f"cannot run sleep: {error.strerror}") from None
    try:
        time.sleep(0.05)  # until the loader is done
        Target.open(pid).close()
    except OSError as error:
        raise Problem(f"a child cannot be visited: {error.strerror}") from None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
