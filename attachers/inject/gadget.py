"""Frida as the second injector: it brings the agent's library into a running process. The only door to frida.

Its temporary thread calls the agent's entry, which makes a mailbox and serves it, as a preloaded agent does.
Frida maps the library with a loader of its own, so nothing but the agent's state tells that it is there.
"""

from __future__ import annotations

import threading
from pathlib import Path

from attachers.inject.preload import Doorbell, Mailbox, launch_text, wait_for_agent
from runtime.agent import build
from runtime.errors import TargetProblem
from runtime.shm.region import Region


def inject(region: Region, pid: int, doorbell: Doorbell) -> Mailbox:
    """Bring the agent into a process and return its mailbox.

    Raises:
        TargetProblem: Frida cannot reach the process; a filter on clone() would kill it.
    """
    status = _status(pid)
    if status.get("TracerPid", "0").strip() not in ("0", ""):
        raise TargetProblem(
            f"another tracer is attached to {pid}: process {status['TracerPid'].strip()}",
            hint="end it first, or use --inject ptrace later",
        )
    if status.get("Seccomp", "0").strip() == "2":
        raise TargetProblem(
            f"process {pid} has a system-call filter that may kill it when Frida makes a thread",
            hint="use --inject ptrace",
        )
    failure: list[Exception] = []
    worker = threading.Thread(target=_call, args=(pid, launch_text(region), failure), daemon=True)
    worker.start()
    try:
        number = wait_for_agent(region, doorbell, pid, lambda: not failure)
    except TargetProblem:
        worker.join(0.1)
        reason = f": {failure[0]}" if failure else ""
        raise TargetProblem(
            f"Frida could not bring the agent into {pid}{reason}", hint="use --inject ptrace"
        ) from None
    return Mailbox(pid, number)


def _status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise TargetProblem(f"no process {pid}", hint="bpftime list --processes shows yours") from None
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _call(pid: int, text: str, failure: list[Exception]) -> None:
    import frida

    try:
        frida.get_local_device().inject_library_file(pid, str(build.library()), "agent_injected", text)
    except Exception as error:  # frida raises many kinds; the caller names the cause
        failure.append(error)
