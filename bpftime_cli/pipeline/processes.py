"""The traced processes of one run: launched or found, probed, watched, and left as they were."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from attachers.backend import make_attacher
from attachers.hooks import watch_loads
from attachers.inject.entering import enter, is_held, loader_is_done, outside
from attachers.inject.frames import Request
from attachers.inject.preload import Doorbell, Mailbox, environment, wait_for_agent
from attachers.inject.ptrace import collected
from attachers.inject.start import start
from attachers.inject.visit import Visitor, find_state
from attachers.patch.apply import remove
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.console import Console
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.follower import Follower
from bpftime_cli.pipeline.watcher import Watcher, named
from runtime.agent.protocol import Op
from runtime.errors import Problem, TargetProblem, UsageProblem
from runtime.shm.desk import Desk, Knock
from runtime.shm.region import stack_start
from runtime.shm.session import Session

UNLOAD_PATIENCE = 0.5  # seconds that an unloading may take
LOADER_PATIENCE = 10.0  # seconds until a launched program is probed as a running one
END_GRACE = 2.0  # seconds between SIGTERM and SIGKILL for a launched program


@dataclass
class Traced:
    """One process. `is_child`: we launched it and collect its status. `knock`: its thread that waits for us.

    `seen`: start addresses of the modules whose probes are armed or do not exist. `unloading`: libraries are
    just going: nothing may be written. `is_followed`: it was started by a traced one, or is one anew.
    `stack`: where its stack starts, which tells one program from the next.
    `late_from`: when functions can be probed whose library was not relocated, 0 for none.
    """

    target: Target
    attacher: FunctionAttacher
    is_child: bool = False
    pidfd: int = -1
    gone: bool = False
    knock: Knock | None = None
    seen: set[int] = field(default_factory=set)
    unloading: bool = False
    is_followed: bool = False
    stack: int = 0
    late_from: float = 0.0


class Processes:
    """All processes of a trace."""

    def __init__(self, config: Config, console: Console, session: Session) -> None:
        self.config = config
        self.console = console
        self.session = session
        self.traced: list[Traced] = []
        self.child = 0
        self.child_status: int | None = None
        self.are_preloaded = False  # programs come with LD_PRELOAD, since ptrace is refused
        self._waiting: Mailbox | None = None
        self._doorbell = Doorbell(session.region)
        self.desk = Desk(session.region)
        self.arm: Callable[[Traced], int] = lambda _: 0
        self.serve_cuda: Callable[[Traced, Knock, int], None] = lambda *_: None
        self.follower = Follower(self)
        self.watcher = Watcher(self)

    # --- in ---

    def open(self) -> None:
        """Launch the command and open the given processes.

        Raises:
            TargetProblem: one cannot be reached.
            CannotRun: the command does not exist or cannot be executed.
        """
        for pid in self.config.pids:
            self._watch_loads(self.add(self._open_running(pid)))
        if self.config.name:
            self._open_named(self.config.name)
        if self.config.command:
            self._launch()

    def _open_running(self, pid: int) -> Target:
        """Bring the agent into a running process: our visit first, Frida where that fails or is asked for."""
        if self.config.inject != "frida" or find_state(pid):
            return Target.open(pid)
        from attachers.inject.gadget import inject  # lazy: frida, 50 ms

        box = inject(self.session.region, pid, self._doorbell)
        target = Target.open(pid, box)
        box.exchange([Request(Op.GO)])
        box.close()
        target.channel = Visitor(pid)
        return target

    def _open_named(self, name: str) -> None:
        """Open all processes of a name.

        Raises:
            TargetProblem: there is none, or none can be reached.
        """
        problem = TargetProblem(
            f"no process of yours is called '{name}'",
            hint="bpftime list --processes shows yours; with --follow bpftime waits for one to start",
        )
        for pid in named(name):
            try:
                self._watch_loads(self.add(self._open_running(pid)))
            except TargetProblem as reason:
                problem = reason
                self.console.note(f"process {pid}: {reason}", 1)
        if not self.traced and not self.config.follows:
            raise problem

    def _watch_loads(self, traced: Traced) -> None:
        """Let a running process tell of libraries, where probes wait for such."""
        if not self.config.waits_for_libraries:
            return
        if not watch_loads(traced.target, self.session, self.config.wait_dlopen, starting=False):
            text = f"{traced.target.pid} has no loader that could be watched: it is statically linked"
            self.console.warn([TargetProblem(text, hint="probes of its own functions need no --pending")])
        traced.target.refresh()

    def add(self, target: Target) -> Traced:
        """Take up a process."""
        target.follow = self.config.follows
        traced = Traced(target, self.attacher_of(target), stack=stack_start(target.pid))
        try:
            traced.pidfd = os.pidfd_open(target.pid)
        except OSError:
            traced.gone = True
        self.traced.append(traced)
        return traced

    def attacher_of(self, target: Target) -> FunctionAttacher:
        """Return what attaches probes in a process."""
        return make_attacher(self.config.backend, target, self.session, swap=self.config.return_swap)

    def _launch(self) -> None:
        command = list(self.config.command)
        check_launchable(command[0])
        started = start(command, environment(self.session.region), preload=self.config.inject == "preload")
        self.child = started.pid
        try:
            if started.tracee is None:
                traced = self._open_preloaded()
            else:
                traced = self.add(
                    enter(
                        started.tracee,
                        self.session,
                        self.config.wait_dlopen,
                        follow=self.config.follows,
                    )
                )
                self._wait_for_loader(traced)
        except Problem:
            self._kill_child()
            self.stop_child()
            raise
        traced.is_child = True

    def _open_preloaded(self) -> Traced:
        self.are_preloaded = True
        number = wait_for_agent(self.session.region, self._doorbell, self.child)
        self._waiting = Mailbox(self.child, number)
        return self.add(Target.open(self.child, self._waiting))

    def _wait_for_loader(self, traced: Traced) -> None:
        """Wait until the loader of the launched program is done; a static one is held and has none.

        Raises:
            TargetProblem: it ended before.
        """
        deadline = time.monotonic() + LOADER_PATIENCE
        while not is_held(traced.target) and traced.knock is None and time.monotonic() < deadline:
            for knock in self.desk.look():
                traced.knock = knock
            if traced.knock is None:
                if not traced.target.is_alive:
                    raise TargetProblem(f"process {traced.target.pid} ended while it was loaded")
                self._doorbell.wait(0.02)
        if not is_held(traced.target):
            loader_is_done(traced.target, outside(traced.knock)[1] if traced.knock else 0)

    def watch(self) -> None:
        """Let the processes tell us when they become other programs; all probes are armed by now."""
        for traced in self.traced:
            self.follower.watch(traced)

    def go(self) -> None:
        """Let the launched program run; later requests visit it."""
        for traced in self.traced:
            self.let_go(traced)
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

    def let_go(self, traced: Traced) -> None:
        """Let a process run on that waits for us, at its start or in its loader."""
        traced.target.fresh = False
        if isinstance(traced.target.channel, Visitor):
            traced.target.channel.let_go()
        if traced.knock is not None:
            self.desk.answer(traced.knock)
            traced.knock = None

    # --- watching ---

    def sleep(self, seconds: float) -> None:
        """Sleep until a new program announces itself, at most so long."""
        self._doorbell.wait(seconds)

    def welcome(self) -> None:
        """Serve whoever has knocked: programs that were started, libraries that were loaded."""
        if self._doorbell.has_rung():
            self.follower.serve()
        self.watcher.look()

    def poll(self) -> bool:
        """Look who has ended; returns whether the trace goes on.

        The end of a launched command ends it, whatever the command has left behind; else the end of the last
        process does. Without any process it goes on.
        """
        for traced in list(self.traced):
            if (traced.is_child or not traced.gone) and self._has_ended(traced):
                traced.gone = True
            if traced.gone:
                self._close(traced)
                if traced.is_followed and not traced.is_child:
                    self.traced.remove(traced)
        if self.child and not self.config.pids:
            return self.child_status is None
        if self.config.name and self.config.follows:
            return True
        if not self.config.pids and not self.config.name:
            return True
        return any(not t.gone for t in self.traced) or self.watcher.has_children()

    def _has_ended(self, traced: Traced) -> bool:
        if traced.is_child:
            return self._collect_once()
        import select

        ready = select.poll()
        ready.register(traced.pidfd, select.POLLIN)
        return bool(ready.poll(0))

    # --- out ---

    def detach(self) -> None:
        """Take our probes out of every process that still runs; what cannot be reached is said."""
        self._wait_for_unloading()
        self.desk.close()
        for traced in self.traced:
            self.let_go(traced)
            if traced.gone or not traced.target.is_alive:
                continue
            try:
                traced.attacher.detach_all()
            except (Problem, OSError) as problem:
                if traced.target.is_alive:
                    self.console.warn([f"process {traced.target.pid} keeps its probes: {problem}"])
        self._detach_children()

    def _wait_for_unloading(self) -> None:
        """Wait until no process is in the middle of unloading: its code may vanish under our hands."""
        deadline = time.monotonic() + UNLOAD_PATIENCE
        while any(t.unloading and not t.gone for t in self.traced) and time.monotonic() < deadline:
            self._doorbell.wait(0.005)
            self.follower.serve()

    def cancel(self) -> None:
        """End a launched program that has not been let go yet: nothing of it runs."""
        for traced in self.traced:
            if traced.is_child and not traced.gone and (traced.knock or is_held(traced.target)):
                self._kill_child()
                traced.gone = True  # it dies as soon as we let it go: there is nothing to take out

    def _kill_child(self) -> None:
        """End a launched program of which nothing has run, or that we hold."""
        if self.child not in collected:
            os.kill(self.child, signal.SIGKILL)

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
            if self._collect_once():
                return True
            time.sleep(0.005)
        return False

    def _collect_once(self) -> bool:
        """Take the launched program's status if it has ended; it may have ended while we traced it."""
        if self.child_status is not None:
            return True
        status = collected.get(self.child)
        if status is None:
            try:
                pid, status = os.waitpid(self.child, os.WNOHANG)
            except ChildProcessError:  # somebody in this process was faster (Frida): the status is lost
                pid, status = self.child, 0
            if not pid:
                return False
        self.child_status = os.waitstatus_to_exitcode(status)
        self.console.note(f"target {self.child} exited (status {self.child_status})", 1)
        return True

    def close(self) -> None:
        """Close descriptors."""
        for traced in self.traced:
            self._close(traced)

    @staticmethod
    def _close(traced: Traced) -> None:
        traced.target.close()
        if traced.pidfd >= 0:
            os.close(traced.pidfd)
            traced.pidfd = -1


def check_launchable(command: str) -> None:
    """Refuse what would run with fewer rights because we follow its start.

    Raises:
        TargetProblem: it is a set-uid program, and we are not root.
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
            f"{command} is set-uid: started by a tracer it would lose its rights", hint="trace it as root"
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
