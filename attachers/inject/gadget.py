"""Frida as the second injector: it brings the agent's library into a running process.

Its temporary thread calls the agent's entry, which makes a mailbox and serves it, as a preloaded agent does.
Frida maps the library with a loader of its own, so nothing but the agent's state tells that it is there.
"""

from __future__ import annotations

import threading

from attachers.inject.device import check_reachable, inject_library
from attachers.inject.preload import Doorbell, Mailbox, launch_text, wait_for_agent
from runtime.agent import build
from runtime.errors import TargetProblem
from runtime.shm.region import Region


def inject(region: Region, pid: int, doorbell: Doorbell) -> Mailbox:
    """Bring the agent into a process and return its mailbox.

    Raises:
        TargetProblem: Frida cannot reach the process; a filter on clone() would kill it.
    """
    check_reachable(pid, "--inject ptrace")
    failure: list[TargetProblem] = []
    worker = threading.Thread(target=_call, args=(pid, launch_text(region), failure), daemon=True)
    worker.start()
    try:
        number = wait_for_agent(region, doorbell, pid, lambda: not failure)
    except TargetProblem:
        worker.join(0.1)
        raise (
            failure[0]
            if failure
            else TargetProblem(f"Frida could not bring the agent into {pid}", hint="use --inject ptrace")
        ) from None
    return Mailbox(pid, number)


def _call(pid: int, text: str, failure: list[TargetProblem]) -> None:
    try:
        inject_library(pid, str(build.library()), "agent_injected", text)
    except TargetProblem as problem:
        failure.append(problem)
