"""Whoever knocks is served here: who becomes another program, who loads or unloads libraries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attachers.hooks import watch_execs, watch_loads, watch_unloads
from attachers.inject.entering import enter, is_held, loader_is_done, outside
from attachers.inject.execs import hold_at_start, loses_rights, seize
from attachers.inject.frames import Request
from attachers.inject.preload import Mailbox
from attachers.inject.ptrace import Tracee
from attachers.inject.visit import Visitor
from attachers.patch.chain import chain
from attachers.patch.grace import free
from attachers.patch.plan import HOOK_LINK
from attachers.target import Target
from runtime.agent.protocol import KnockReason, Op, SiteState
from runtime.errors import Problem
from runtime.shm.desk import Knock
from runtime.shm.region import stack_start

if TYPE_CHECKING:
    from bpftime_cli.pipeline.processes import Processes, Traced

RELOCATION = 0.1  # seconds that the loader is given for a library between mapping it and calling its code


class Follower:
    """What the processes of one trace start and load, as it happens."""

    def __init__(self, processes: Processes) -> None:
        self._all = processes

    def serve(self) -> None:
        """Answer all knocks, and the programs that came in with the agent preloaded."""
        for knock in self._all.desk.look():
            if knock.reason == KnockReason.EXEC:
                self._try(knock, self._follow_exec)
            elif knock.reason == KnockReason.CUDA:
                self._try(knock, self._serve_cuda)
                self._all.desk.answer(knock)
            else:
                self._try(knock, self._serve)
                self._all.desk.answer(knock)
        for entry in self._all.session.region.processes() if self._all.are_preloaded else ():
            if entry.mail_fd >= 0 and entry.state == 2:
                self._let_in(entry.slot, entry.ns_pid, entry.mail_fd)

    def _try(self, knock: Knock, serve: Callable[[Knock], None]) -> None:
        try:
            serve(knock)
        except (Problem, OSError) as problem:
            self._all.console.note(f"process {knock.pid}: {problem}", 1)

    def _serve(self, knock: Knock) -> None:
        pid, tid = outside(knock)
        if not pid or not self._is_wanted(pid):
            return
        if knock.reason == KnockReason.LOADED:
            self._look_again(pid, tid)
        else:
            traced = self._known(pid)
            if traced is not None:
                traced.unloading = True

    def _serve_cuda(self, knock: Knock) -> None:
        """Tell a thread that is about to call the CUDA driver what to do instead."""
        pid, tid = outside(knock)
        if not pid or not self._is_wanted(pid):
            return
        traced = self._known(pid)
        if traced is None:  # a fork child: it has a copy of its parent's hooks
            traced = self.take_up(Target.open(pid, Visitor(pid, tid)))
            traced.seen = _probed(traced.target, self._all.session.region.id)
            _let_go(traced)
        self._all.serve_cuda(traced, knock, tid)

    def _is_wanted(self, pid: int) -> bool:
        return self._all.config.follows or self._known(pid) is not None

    def _known(self, pid: int) -> Traced | None:
        return next((t for t in self._all.traced if t.target.pid == pid and not t.gone), None)

    # --- another program ---

    def _follow_exec(self, knock: Knock) -> None:
        """Go with a thread through its execve; the new program runs on to the end of its loader."""
        tracee = self._seize(knock)
        self._all.desk.answer(knock)
        if tracee is None:
            return
        if not hold_at_start(tracee, lambda: self._all.desk.has_failed(knock)):
            self._all.desk.answer(knock)  # it says that it has failed, and waits to be let go
            return
        self._all.desk.free(knock)
        traced = self.take_up(enter(tracee, self._all.session, self._all.config.wait_dlopen, follow=True))
        if is_held(traced.target):
            self._arm(traced)
            self._all.let_go(traced)

    def _seize(self, knock: Knock) -> Tracee | None:
        """Seize a thread that is about to become another program, if we are to follow it."""
        try:
            pid, tid = outside(knock)
            if not pid or not self._all.config.follows or loses_rights(pid, _text_at(pid, knock.argument)):
                return None
            return seize(pid, tid)
        except (Problem, OSError) as problem:
            self._all.console.note(f"process {knock.pid} is not followed: {problem}", 1)
            return None

    def take_up(self, target: Target) -> Traced:
        """Note a process under what it is now."""
        known = self._known(target.pid)
        if known is None:
            fresh = self._all.add(target)
            fresh.is_followed = True
            return fresh
        known.is_followed = target.follow = True
        known.target.close()
        known.target, known.attacher = target, self._all.attacher_of(target)
        known.seen, known.unloading, known.stack = set(), False, stack_start(target.pid)
        return known

    def enter_running(self, target: Target) -> None:
        """Probe a program that runs already and is one of ours from now on.

        Raises:
            Problem: it cannot be reached.
        """
        traced = self.take_up(target)
        watch_loads(target, self._all.session, self._all.config.wait_dlopen, starting=False)
        target.refresh()
        self._arm(traced)

    # --- libraries ---

    def _look_again(self, pid: int, tid: int) -> None:
        """Arm what waits for libraries that are there now; forget the sites of those that are gone."""
        traced = self._known(pid)
        if traced is None:  # a fork child: it has a copy of its parent's probes
            traced = self.take_up(Target.open(pid, Visitor(pid, tid)))
            traced.seen = _probed(traced.target, self._all.session.region.id)
        try:
            loader_is_done(traced.target, tid)
            traced.unloading = False
            forget_unloaded(traced)
            self._probe_loaded(traced)
        finally:
            traced.target.fresh = False
            _let_go(traced)

    def _probe_loaded(self, traced: Traced) -> None:
        """Probe libraries that have been mapped; behind the program's start they are not relocated yet."""
        target = traced.target
        if not traced.seen:
            self._arm(traced)
            return
        target.unrelocated = {m.start for m in target.modules} - traced.seen
        if self._arm(traced):
            watch_unloads(target)
        if target.postponed:
            traced.late_from = time.monotonic() + RELOCATION

    def probe_late(self, traced: Traced) -> None:
        """Probe the functions whose choice had to wait until their library was relocated.

        Raises:
            Problem: the process cannot be reached.
        """
        target = traced.target
        traced.late_from = 0.0
        target.late, target.postponed, target.unrelocated = target.postponed, set(), set()
        traced.seen -= target.late
        target.refresh()
        self._arm(traced)
        target.late = set()

    def watch(self, traced: Traced) -> None:
        """Let a process tell us when it becomes another program, where that is wanted.

        Behind the user's probes: those are chosen as they were in the program before.
        """
        if not self._all.config.follows or self._all.are_preloaded:
            return
        try:
            traced.target.refresh()
            watch_execs(traced.target, self._all.session)
            traced.target.refresh()
        except Problem as problem:
            self._all.console.note(f"process {traced.target.pid} is not followed: {problem}", 1)

    def _arm(self, traced: Traced) -> int:
        """Probe what is there; returns how many places were armed."""
        try:
            count = self._all.arm(traced)
        except Problem as problem:
            count = 0
            if traced.is_followed:
                self._all.console.note(f"process {traced.target.pid}: {problem}", 1)
            else:
                self._all.console.warn([problem])
        self.watch(traced)
        return count

    # --- the agent preloaded ---

    def _let_in(self, slot: int, pid: int, number: int) -> None:
        try:
            box = Mailbox(pid, number)
            self._all.session.region.set_process(slot, "mail_fd", -1)
            if self._all.config.follows:
                traced = self.take_up(Target.open(pid, box))
                self._arm(traced)
                traced.target.channel = Visitor(pid)
            box.exchange([Request(Op.GO)])
            box.close()
        except Problem as problem:
            self._all.console.note(f"process {pid} runs unprobed: {problem}", 1)


def forget_unloaded(traced: Traced) -> None:
    """Give up sites in libraries that are no longer mapped: their addresses may soon be something else's."""
    target = traced.target
    starts = {m.start for m in target.modules}
    traced.seen &= starts
    for site in target.sites:
        if site.state != SiteState.FREE and target.module_of(site.at) is None:
            free(target, site)
    target.read_tables()


def _let_go(traced: Traced) -> None:
    """Let a thread of a process run on that was borrowed."""
    if isinstance(traced.target.channel, Visitor):
        traced.target.channel.let_go()


def _probed(target: Target, session: bytes) -> set[int]:
    """Return the starts of the modules in which a session has probes of the user."""
    found = set()
    for site in target.sites:
        module = target.module_of(site.at) if site.state == SiteState.ARMED else None
        if module and any(n.session == session and n.link < HOOK_LINK for n in chain(target, site)):
            found.add(module.start)
    return found


def _text_at(pid: int, address: int) -> str:
    """Return the path that a thread passes to execve, empty where it passes none."""
    if not address:
        return ""
    from runtime.symbols.maps import Memory

    memory = Memory(pid)
    try:
        return memory.read(address, 4096).split(b"\0", 1)[0].decode(errors="surrogateescape")
    finally:
        memory.close()
