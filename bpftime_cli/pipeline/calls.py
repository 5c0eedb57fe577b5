"""The system call probes of a script, hooked on in one process after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from attachers.patch.plan import AttachPlan
from attachers.syscalls import dispatch
from attachers.syscalls.planner import CallPlanner
from attachers.syscalls.probes import CallHook, CallProbe, places
from attachers.syscalls.standing import carry_out
from attachers.syscalls.ways import Way
from bpftime_cli.console import Console
from bpftime_cli.pipeline.processes import Traced
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import AttachProblem, Problem
from runtime.lang import Script, ScriptProbe
from runtime.lang.tracepoints import Tracepoint, matching
from runtime.syscalls.table import NUMBERS, name_of
from runtime.types import ContextKind

PROVIDERS = ("tracepoint", "rawtracepoint")
NO_ROOM = 28  # ENOSPC
OTHER_WAYS = "--syscalls trap, or page0 as root, shows it there too"
EXITS = (ContextKind.SYS_EXIT, ContextKind.RAW_SYS_EXIT)


@dataclass
class Calls:
    """The probes of system calls of one trace.

    `way`: what to do without room for a jump. `told`: what was left out and has been said.
    """

    console: Console
    names: Names
    script: Script
    programs: Programs
    way: Way = Way.JUMP
    told: set[str] = field(default_factory=set)

    def count(self) -> int:
        """Return how many tracepoints the script names."""
        return sum(len(self._served(probe)) or 1 for probe in self._probes())

    def plan(self, traced: Traced) -> AttachPlan | None:
        """Return what would be written for all places where the calls are made; None for none."""
        session = traced.attacher.session
        watch = [dispatch.new_threads()] if self.way is Way.DISPATCH else []
        hooks = (*watch, *self._hooks(traced.target.build_kind))
        found = places(traced.target, session.region.id, hooks, traced.seen)
        if not found:
            return None
        numbered = [replace(probe, link=link) for link, probe in enumerate(found, 1)]
        return CallPlanner(traced.target, session, tick=traced.attacher.tick, way=self.way).plan(numbered)

    def apply(self, traced: Traced, plan: AttachPlan) -> None:
        """Carry a plan out in its process."""
        carry_out(traced.target, plan, traced.attacher.apply)
        if self.way is Way.DISPATCH:
            traced.target.refresh()
            try:
                dispatch.start(traced.target)
            except AttachProblem as problem:
                self._warn(f"calls of generated code are not seen: {problem}", problem.hint)

    def report(self, plan: AttachPlan) -> None:
        """Tell, once each, of places that cannot be probed: calls made there are not seen."""
        probes = {p.link: p for p in plan.probes}
        lost: Counter[str] = Counter()
        hints: dict[str, str] = {}
        for link, problem in plan.refused.items():
            probe = probes[link]
            assert isinstance(probe, CallProbe)
            number = probe.trail.number
            side = "end" if probe.leaves else "beginning"
            call = name_of(number) if number >= 0 else "a call of any number"
            text = f"{probe.module.path}: the {side} of {call} is not seen where {problem}"
            lost[text] += 1
            hints[text] = OTHER_WAYS if problem.errno == NO_ROOM else problem.hint
        for text in lost:
            self._warn(text, hints[text])

    def _warn(self, text: str, hint: str) -> None:
        if text not in self.told:
            self.told.add(text)
            self.console.warn([Problem(text, hint=hint)])

    # --- what to run where

    def _probes(self) -> Iterator[ScriptProbe]:
        return (p for p in self.script.probes if p.provider in PROVIDERS)

    def _context(self, probe: ScriptProbe) -> ContextKind:
        return self.programs.verified(probe.program).program.context

    def _served(self, probe: ScriptProbe) -> list[Tracepoint]:
        if probe.provider != "tracepoint":
            return []
        context = self._context(probe)
        return [t for t in matching(*probe.parts) if t.context is context]

    def _hooks(self, build: str) -> Iterator[CallHook]:
        """Yield what to hook on: for single calls first, then for all of them; in the script's order."""
        hooks = [hook for probe in self._probes() for hook in self._of(probe, build)]
        yield from (h for h in hooks if h.numbers is not None)
        yield from (h for h in hooks if h.numbers is None)

    def _of(self, probe: ScriptProbe, build: str) -> Iterator[CallHook]:
        image = self.programs.image(probe.program, build)
        leaves = self._context(probe) in EXITS
        found = self._served(probe)
        single = {t.call.number: t for t in found if t.call is not None}
        if len(found) > len(single) or probe.provider != "tracepoint":
            whole = next((f"tracepoint:{t.full_name}" for t in found if t.call is None), probe.text)
            yield CallHook(image, None, leaves, self._cookie(probe, probe.name or whole))
        if single:
            cookie = self._cookies(probe, single)
            yield CallHook(image, frozenset(single), leaves, cookie, cookie_step=probe.uses_cookie)

    def _cookie(self, probe: ScriptProbe, name: str) -> int:
        return self.names.add_probe(name) if probe.uses_cookie else 0

    def _cookies(self, probe: ScriptProbe, single: dict[int, Tracepoint]) -> int:
        """Return the number to which a call's own is added to tell its probe's name, 0 where nobody asks."""
        if not probe.uses_cookie:
            return 0
        if probe.name:
            return self.names.add_row([probe.name] * NUMBERS)
        names = (f"tracepoint:{single[n].full_name}" if n in single else "" for n in range(NUMBERS))
        return self.names.add_row(list(names))
