"""A look around now and then: processes that start under a name, and what became another program unheard.

Most programs knock before they become another one (`follower.py`). Those that make the system call by
themselves do not (Go, static programs without symbols): their new program is found here, some time after its
start.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attachers.inject.visit import find_state
from attachers.target import Target
from runtime.errors import Problem, TargetProblem
from runtime.shm.region import has_ended, process_start, stack_start

if TYPE_CHECKING:
    from bpftime_cli.pipeline.processes import Processes, Traced

PERIOD = 0.05  # seconds between two looks
YOUNG = 40  # looks for which a new process is watched: its name comes with its execve


class Watcher:
    """Looks at the processes of one trace, and for more of them."""

    def __init__(self, processes: Processes) -> None:
        self._all = processes
        self._next = 0.0
        self._seen: dict[tuple[int, int], int] = {}
        self._left: set[tuple[int, int]] = set()
        self._children: dict[int, int] = {}

    def look(self) -> None:
        """Look, when it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PERIOD
        for traced in [t for t in self._all.traced if not t.gone]:
            self._look_at(traced)
            if traced.late_from and now >= traced.late_from and not traced.gone:
                self._probe_late(traced)
        if not self._all.config.follows or self._all.are_preloaded:
            return
        if self._all.config.name:
            self._look_for_named()
        for traced in [t for t in self._all.traced if not t.gone]:
            self._look_at_children(traced.target.pid)

    def _look_at(self, traced: Traced) -> None:
        """Notice that a process has become another program: its stack starts elsewhere."""
        pid = traced.target.pid
        now = stack_start(pid)
        if now == traced.stack or not now or has_ended(pid) or find_state(pid):
            return
        if self._all.config.follows:
            self._visit(pid)
            return
        traced.gone = True
        self._all.console.warn([TargetProblem(f"{pid} became {_program(pid)}; probes gone")])

    def _probe_late(self, traced: Traced) -> None:
        try:
            self._all.follower.probe_late(traced)
        except (Problem, OSError) as problem:
            self._all.console.note(f"process {traced.target.pid}: {problem}", 1)

    def _look_at_children(self, pid: int) -> None:
        """Find programs that a followed process has started without a knock."""
        for child in children(pid):
            mark = child, process_start(child)
            if mark in self._left or any(t.target.pid == child and not t.gone for t in self._all.traced):
                continue
            self._children[child] = mark[1]
            try:
                if not find_state(child) and _program(child) != _program(pid):
                    self._visit(child)
                else:
                    self._look_at_children(child)
            except Problem:
                self._left.add(mark)

    def has_children(self) -> bool:
        """Return whether a process that a followed one has started still runs."""
        for pid, start in list(self._children.items()):
            if process_start(pid) != start or has_ended(pid):
                del self._children[pid]
        return bool(self._children)

    def _look_for_named(self) -> None:
        known = {t.target.pid for t in self._all.traced if not t.gone}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            mark = int(entry.name), process_start(int(entry.name))
            looks = self._seen.get(mark, 0)
            if mark[0] in known or looks > YOUNG:
                continue
            self._seen[mark] = looks + 1
            if is_named(mark[0], self._all.config.name):
                self._seen[mark] = YOUNG + 1
                self._visit(mark[0])

    def _visit(self, pid: int) -> None:
        """Bring the agent into a program that runs already, and probe it."""
        self._left.add((pid, process_start(pid)))
        try:
            self._all.follower.enter_running(Target.open(pid))
        except (Problem, OSError) as problem:
            self._all.console.note(f"process {pid} is not followed: {problem}", 1)


def named(name: str) -> list[int]:
    """Return the processes of this user whose command name or executable is `name`."""
    pids = sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [pid for pid in pids if is_named(pid, name)]


def is_named(pid: int, name: str) -> bool:
    """Return whether a process of this user, not we ourselves, bears a name (proc(5), comm and exe)."""
    try:
        if pid == os.getpid() or os.stat(f"/proc/{pid}").st_uid != os.geteuid() or has_ended(pid):
            return False
        comm = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return False
    return comm == name[:15] or _program(pid).rpartition("/")[2] == name


def children(pid: int) -> list[int]:
    """Return the child processes of all threads of a process."""
    found: list[int] = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            found += map(int, Path(task.path, "children").read_text().split())
    except OSError:
        pass
    return found


def _program(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""
