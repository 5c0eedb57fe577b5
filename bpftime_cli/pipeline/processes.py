"""The traced processes of one run: launched or found, probed, watched, and left as they were."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from attachers.backend import make_attacher
from attachers.inject.frames import Request
from attachers.inject.preload import Doorbell, Mailbox, environment, spawn, wait_for_agent
from attachers.inject.visit import Visitor, find_state
from attachers.patch.apply import remove
from attachers.patch.plan import AttachPlan
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.console import Console
from bpftime_cli.pipeline.config import Config
from runtime.agent.protocol import Op
from runtime.errors import Problem, TargetProblem, UsageProblem
from runtime.shm.region import ProcessEntry
from runtime.shm.session import Session
from runtime.symbols.elf import ElfFile

END_GRACE = 2.0  # seconds between SIGTERM and SIGKILL for a launched program


@dataclass
class Traced:
    """One process. `is_child`: we launched it and collect its status."""

    target: Target
    attacher: FunctionAttacher
    is_child: bool = False
    pidfd: int = -1
    gone: bool = False
    plans: list[AttachPlan] = field(default_factory=list)


class Processes:
    """All processes of a trace."""

    def __init__(self, config: Config, console: Console, session: Session) -> None:
        self.config = config
        self.console = console
        self.session = session
        self.traced: list[Traced] = []
        self.child = 0
        self.child_status: int | None = None
        self._waiting: Mailbox | None = None
        self._doorbell = Doorbell(session.region)
        self.arm: Callable[[Traced], int] = lambda _: 0

    # --- in ---

    def open(self) -> None:
        """Launch the command and open the given processes.

        Raises:
            TargetProblem: one cannot be reached.
            CannotRun: the command does not exist or cannot be executed.
        """
        for pid in self.config.pids:
            self._add(self._open_running(pid))
        if self.config.command:
            self._launch()

    def _open_running(self, pid: int) -> Target:
        """Bring the agent into a running process: our visit first, Frida where that fails or is asked for."""
        if self.config.inject == "ptrace" or find_state(pid):
            return Target.open(pid)
        from attachers.inject.gadget import inject  # lazy: frida, 50 ms

        box = inject(self.session.region, pid, self._doorbell)
        target = Target.open(pid, box)
        box.exchange([Request(Op.GO)])
        box.close()
        target.channel = Visitor(pid)
        return target

    def _add(self, target: Target) -> Traced:
        traced = Traced(target, self._attacher(target))
        try:
            traced.pidfd = os.pidfd_open(target.pid)
        except OSError:
            traced.gone = True
        self.traced.append(traced)
        return traced

    def _attacher(self, target: Target) -> FunctionAttacher:
        return make_attacher(self.config.backend, target, self.session, swap=self.config.return_swap)

    def _launch(self) -> None:
        command = list(self.config.command)
        check_launchable(command[0])
        self.child = spawn(command, environment(self.session.region))
        try:
            number = wait_for_agent(self.session.region, self._doorbell, self.child)
            self._waiting = Mailbox(self.child, number)
            traced = self._add(Target.open(self.child, self._waiting))
        except Problem:
            self.stop_child()
            raise
        traced.is_child = True

    def go(self) -> None:
        """Let the launched program run; later requests visit it."""
        if self._waiting is None:
            return
        box, self._waiting = self._waiting, None
        for traced in self.traced:
            if traced.is_child:
                traced.target.channel = Visitor(traced.target.pid)
        try:
            box.exchange([Request(Op.GO)])
        except TargetProblem as problem:  # it has ended: the trace goes on to its end
            self.console.note(str(problem), 1)
        box.close()

    # --- watching ---

    def sleep(self, seconds: float) -> None:
        """Sleep until a new program announces itself, at most so long."""
        self._doorbell.wait(seconds)

    def welcome(self) -> None:
        """Serve programs that have come in by the preloaded agent: what the launched one forked or became."""
        if not self._doorbell.has_rung():
            return
        for entry in self.session.region.processes():
            if entry.mail_fd >= 0 and entry.state == 2:
                self._welcome_one(entry)

    def _welcome_one(self, entry: ProcessEntry) -> None:
        try:
            box = Mailbox(entry.ns_pid, entry.mail_fd)
            self.session.region.set_process(entry.slot, "mail_fd", -1)
            if self.config.follow is not False:
                self._follow(entry.ns_pid, box)
            box.exchange([Request(Op.GO)])
            box.close()
        except Problem as problem:
            self.console.note(f"process {entry.ns_pid} runs unprobed: {problem}", 1)

    def _follow(self, pid: int, box: Mailbox) -> None:
        """Probe a program that a traced process has become or started."""
        old = next((t for t in self.traced if t.target.pid == pid and not t.gone), None)
        target = Target.open(pid, box)
        if old is None:
            traced = self._add(target)
        else:
            old.target.close()
            old.target, old.attacher, traced = target, self._attacher(target), old
        try:
            self.arm(traced)
        except Problem as problem:
            self.console.note(f"process {pid}: {problem}", 1)
        target.channel = Visitor(pid)

    def poll(self) -> bool:
        """Look who has ended; returns whether the trace goes on.

        The end of a launched command ends it, whatever the command has left behind; else the end of the last
        process does. Without any process it goes on.
        """
        for traced in self.traced:
            if not traced.gone and self._has_ended(traced):
                traced.gone = True
        if self.child and not self.config.pids:
            return self.child_status is None
        return not self.traced or any(not t.gone for t in self.traced)

    def _has_ended(self, traced: Traced) -> bool:
        if traced.is_child:
            pid, status = os.waitpid(traced.target.pid, os.WNOHANG)
            if pid:
                self.child_status = os.waitstatus_to_exitcode(status)
                self.console.note(f"target {pid} exited (status {self.child_status})", 1)
            return bool(pid)
        import select

        ready = select.poll()
        ready.register(traced.pidfd, select.POLLIN)
        return bool(ready.poll(0))

    # --- out ---

    def detach(self) -> None:
        """Take our probes out of every process that still runs; what cannot be reached is said."""
        for traced in self.traced:
            if traced.gone or not traced.target.is_alive:
                continue
            try:
                traced.attacher.detach_all()
            except (Problem, OSError) as problem:
                if traced.target.is_alive:
                    self.console.warn([f"process {traced.target.pid} keeps its probes: {problem}"])
        self._detach_children()

    def _detach_children(self) -> None:
        """Take our probes out of processes that were forked by traced ones: they have a copy of each."""
        from bpftime_cli.pipeline.orphans import carriers, look_at  # lazy: it imports much of the rest

        session = self.session.region.id
        known = {t.target.pid for t in self.traced}
        for pid in carriers():
            try:
                if pid in known or session not in look_at(pid).sessions:
                    continue
                target = Target.open(pid)
                remove(target, session)
                target.close()
            except (Problem, OSError):
                continue  # it has ended meanwhile, or a later `list` takes them out

    def stop_child(self) -> None:
        """End the launched program: SIGTERM, two seconds later SIGKILL; its status is collected."""
        if not self.child or self.child_status is not None:
            return
        for number, patience in ((signal.SIGTERM, END_GRACE), (signal.SIGKILL, 5.0)):
            try:
                os.kill(self.child, number)
            except ProcessLookupError:
                break
            if self._collect(patience):
                return

    def _collect(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                pid, status = os.waitpid(self.child, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid:
                self.child_status = os.waitstatus_to_exitcode(status)
                return True
            time.sleep(0.005)
        return False

    def close(self) -> None:
        """Close descriptors."""
        for traced in self.traced:
            traced.target.close()
            if traced.pidfd >= 0:
                os.close(traced.pidfd)
                traced.pidfd = -1


def check_launchable(command: str) -> None:
    """Refuse what the loader would start without us.

    Raises:
        TargetProblem: a static program, or one that runs with more rights than ours.
    """
    path = _find(command)
    if not path:
        return
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return
    mode = os.stat(path).st_mode
    if mode & 0o6000 and os.geteuid() != 0:
        raise TargetProblem(
            f"{command} is set-uid: the loader ignores what we preload", hint="trace it as its owner"
        )
    if not ElfFile(path).has_interpreter:
        raise TargetProblem(
            f"{command} is statically linked: it cannot be preloaded",
            hint="start it yourself and attach with -p PID",
        )


def _find(command: str) -> str:
    import shutil

    return shutil.which(command) or ""


def parse_pids(values: tuple[str, ...]) -> tuple[int, ...]:
    """Return the process ids of `-p` options: numbers, separated by commas or blanks.

    Raises:
        UsageProblem: one is no number.
    """
    found = []
    for word in " ".join(values).replace(",", " ").split():
        if not word.isdigit() or not 0 < int(word) <= 0x400000:
            raise UsageProblem(
                f"not a process id: '{word}'", hint="-p takes numbers, such as -p 42 or -p 42,43"
            )
        found.append(int(word))
    return tuple(dict.fromkeys(found))
