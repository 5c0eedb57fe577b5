"""Function probes by Frida's Interceptor, in one process, for the programs of one session.

What is hooked lives as long as this tracer: Frida takes it out when the tracer ends, in whatever way.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from attachers.base import unknown_link
from attachers.inject.visit import Visitor
from attachers.interceptor import table
from attachers.interceptor.hooks import Hooks
from attachers.interceptor.loads import loads_pass
from attachers.interceptor.plan import InterceptorPlan, PlannedHook
from attachers.interceptor.planner import HookPlanner
from attachers.patch.grace import wait_outside
from attachers.patch.plan import AttachPlan, Probe, When
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from runtime.errors import AttachProblem, TargetProblem
from runtime.shm.session import Session

PATIENCE = 2.0  # seconds for all threads to be seen outside of Frida's code
TRIED_ELSEWHERE = (28, 95)  # no room for a jump, not possible in place: another backend may do it


class InterceptorAttacher(FunctionAttacher):
    """Function probes of one process, all by Frida."""

    def __init__(self, target: Target, session: Session, *, swap: bool = False) -> None:
        super().__init__(target, session, swap=swap)
        self._hooks: Hooks | None = None
        self._numbers = count(1)
        self._placed: dict[int, PlannedHook] = {}
        self._inside = 0

    def plan(self, probes: Iterable[Probe]) -> InterceptorPlan:
        """Return what would be hooked; nothing is changed."""
        probes = list(probes)
        plan = InterceptorPlan(self.target.pid, tuple(probes))
        self._plan_hooks(plan, probes)
        return plan

    def _plan_hooks(self, plan: InterceptorPlan, probes: list[Probe]) -> None:
        placed = list(self._placed.values())
        HookPlanner(self.target, self.session, self.swap, placed, self._counter).plan(plan, probes)

    def apply(self, plan: AttachPlan) -> None:
        """Carry a plan out: jumps first, then hooks.

        Raises:
            TargetProblem: the process, or Frida in it, cannot be reached.
        """
        done = self._carry_out(plan)
        if isinstance(done, InterceptorPlan) and done.hooks:
            self._hook(done)
            plan.refused.update(done.refused)
            self._links |= set(done.sites_of) - set(plan.refused)

    def _hook(self, plan: InterceptorPlan) -> None:
        if isinstance(self.target.channel, Visitor):
            self.target.channel.let_go()  # Frida needs the thread itself
        if self._hooks is None:
            with loads_pass(self.session, self.target.pid):
                self._hooks = Hooks(self.target.pid)
        placed = {next(self._numbers): hook for hook in plan.hooks}
        # The table first: whoever comes meanwhile learns whose the code is.
        entries = dict(zip(placed, table.enter(self.target, plan.hooks), strict=True))
        failed = self._hooks.add(placed)
        for number, hook in placed.items():
            now = self.target.memory.read(hook.at, 8)
            if number in failed or now[:1] != b"\xe9":
                text = failed.get(number, "no memory within 2 GiB of it")
                self._give_up(number, entries[number])
                plan.refused[hook.probe.link] = _not_hooked(hook, text)
                continue
            table.confirm(self.target, entries[number], now)
            self._placed[number] = hook
        self.target.refresh()

    def _give_up(self, number: int, entry: int) -> None:
        if self._hooks is not None:
            self._hooks.remove([number])
        table.leave(self.target, entry)

    # --- out ---

    def detach_by_id(self, link: int) -> int:
        """Take a link out.

        Raises:
            AttachProblem: there is no such link (2).
        """
        if link not in self._links:
            raise unknown_link(link)
        self._unhook([n for n, hook in self._placed.items() if hook.probe.link == link])
        return super().detach_by_id(link)

    def detach_all(self, *, wait: bool = True) -> int:
        """Take every probe of this session out of the process; returns how many that were."""
        self._unhook(list(self._placed))
        try:
            return super().detach_all(wait=wait)
        finally:
            self.close()

    def _unhook(self, numbers: list[int]) -> None:
        if self._hooks is None or not numbers:
            return
        kept = {hook.at for number, hook in self._placed.items() if number not in numbers}
        leaving = {self._placed[number].at for number in numbers} - kept
        try:
            self._hooks.restore(leaving)
            wait_outside(self.target, PATIENCE)
            self._hooks.remove(numbers)
        except TargetProblem:
            if self.target.is_alive:
                raise
        for number in numbers:
            del self._placed[number]

    @property
    def _counter(self) -> int:
        """Return where in the region the calls on Interceptor's stack are counted."""
        if not self._inside:
            self._inside = self.session.region.allocate(8)
        return self._inside

    def close(self) -> None:
        """Let Frida go; what it has hooked is as it was.

        Its code stays where a call has yet to return through it, or never will.
        """
        if self._hooks is not None:
            buffer = self.session.region.buffer
            inside = int.from_bytes(buffer[self._counter : self._counter + 8], "little")
            self._hooks.close(stays=inside != 0)
            self._hooks = None


class AutoAttacher(InterceptorAttacher):
    """Function probes of one process: inline where the place allows, by Frida where the user named it.

    Probes of one function go one way, so that they run in one order and come out in any.
    """

    def plan(self, probes: Iterable[Probe]) -> InterceptorPlan:
        """Return what would be written and hooked; nothing is changed."""
        probes = list(probes)
        plan = _as_interceptor(super(InterceptorAttacher, self).plan(probes))
        refused = {p.address for p in probes if self._goes_elsewhere(p, plan.refused.get(p.link))}
        if not refused:
            return plan
        others = InterceptorPlan(self.target.pid)
        self._plan_hooks(others, [p for p in probes if p.address in refused])
        hooked = {hook.probe.address for hook in others.hooks}
        if not hooked:
            return plan
        rest = [p for p in probes if p.address not in hooked]
        both = _as_interceptor(super(InterceptorAttacher, self).plan(rest))
        both.probes = tuple(probes)
        both.hooks, both.chunks = others.hooks, [*others.chunks, *both.chunks]
        both.sites_of |= others.sites_of
        both.reads_memory |= others.reads_memory
        links = {p.link for p in probes if p.address in hooked}
        both.refused |= {link: why for link, why in others.refused.items() if link in links}
        return both

    def _goes_elsewhere(self, probe: Probe, problem: AttachProblem | None) -> bool:
        """Return whether Frida is to try what was refused; it swaps return addresses only where allowed."""
        swaps = probe.when is When.RETURN or probe.when.decides
        if problem is None or problem.errno not in TRIED_ELSEWHERE:
            return False
        return probe.exact and (self.swap or not swaps)

    def apply(self, plan: AttachPlan) -> None:
        """Carry a plan out; where Frida cannot come in, the inline probes stay and the others are refused."""
        try:
            super().apply(plan)
        except TargetProblem as problem:
            hooks = plan.hooks if isinstance(plan, InterceptorPlan) and self._hooks is None else []
            if not hooks or not self.target.is_alive:
                raise
            for hook in hooks:
                plan.refused[hook.probe.link] = AttachProblem(str(problem), errno=95, hint=problem.hint)


def _as_interceptor(plan: AttachPlan) -> InterceptorPlan:
    return InterceptorPlan(**{name: getattr(plan, name) for name in AttachPlan.__dataclass_fields__})


def _not_hooked(hook: PlannedHook, text: str) -> AttachProblem:
    return AttachProblem(
        f"Frida cannot hook {hook.probe.name}: {text}", errno=28, hint="probe its caller, or another place"
    )
