"""The agent into a program that has not run yet: at its first instruction, and when its loader is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from attachers.hooks import watch_loads
from attachers.inject.execs import check_native
from attachers.inject.ptrace import Tracee
from attachers.inject.visit import Visitor, find_state, target_facts
from attachers.target import Target
from runtime.errors import Problem
from runtime.shm.desk import Knock
from runtime.shm.region import pid_namespace, process_start
from runtime.shm.session import Session


def enter(tracee: Tracee, session: Session, wait_ms: int, *, follow: bool) -> Target:
    """Bring the agent into a program that we hold at its first instruction.

    `wait_ms`: how long a thread that loads a library waits for us. `follow`: fork children are traced too.

    A dynamic program runs on and knocks when its loader is done; a static one stays held: it has no loader.

    Raises:
        TargetProblem: it cannot be traced; it runs on as if nothing had been.
    """
    visitor = Visitor(tracee.pid, held=tracee)
    try:
        check_native(tracee)
        target = Target(tracee.pid, visitor, process_start(tracee.pid), follow=follow, fresh=True)
        target.refresh()
        target.map_session(session)
        dynamic = watch_loads(target, session, wait_ms, starting=True)
        target.refresh()
        if dynamic:
            visitor.let_go()
    except (Problem, OSError):
        visitor.close()
        raise
    return target


def is_held(target: Target) -> bool:
    """Return whether a program stands before its first instruction still."""
    return isinstance(target.channel, Visitor) and target.channel.is_holding


def loader_is_done(target: Target, tid: int) -> None:
    """Take up a program whose thread `tid` waits for us behind its loader: now the libc's facts are there.

    The thread is held until the channel lets it go.

    Raises:
        TargetProblem: it has ended.
    """
    target.channel.close()
    target.channel = Visitor(target.pid, tid)
    if tid:
        target.channel.hold()
    facts = target_facts(target.pid, target.memory, target.start)
    landing, inbox = target.constant("landing"), target.constant("inbox")
    target.ask([replace(facts, landing=landing, inbox=inbox).request()])
    target.refresh()


def outside(knock: Knock) -> tuple[int, int]:
    """Return process and thread id of who knocks as we see them; it may be in another pid namespace.

    A namespace of 0 is one that the process itself cannot name, without a /proc. Only a process that carries
    the agent is meant. Both are 0 when there is none (any more).
    """
    if knock.namespace == pid_namespace():
        return (knock.pid, knock.tid) if _carries(knock.pid) else (0, 0)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or _inner(entry) != knock.pid:
            continue
        if knock.namespace in (0, pid_namespace(entry.name)) and _carries(int(entry.name)):
            for task in (entry / "task").iterdir():
                if _inner(task) == knock.tid:
                    return int(entry.name), int(task.name)
    return 0, 0


def _carries(pid: int) -> bool:
    try:
        return bool(find_state(pid))
    except Problem:
        return False


def _inner(entry: Path) -> int:
    """Return the id that a process or thread has in its own namespace: the last number of NSpid (proc(5))."""
    try:
        lines = (entry / "status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[-1]) for line in lines if line.startswith("NSpid:")), 0)
