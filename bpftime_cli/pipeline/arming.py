"""The probes of a script hooked on in one process after another."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from attachers.base import UPROBE, UPROBE_OVERRIDE, URETPROBE
from attachers.interceptor.plan import InterceptorPlan
from attachers.patch.explain import explain
from attachers.patch.plan import AttachPlan, Probe
from attachers.syscalls.ways import Way
from attachers.uprobe import Hook
from attachers.usdt import MarkerText, too_many_arguments
from attachers.usdt import resolve as resolve_markers
from bpftime_cli.console import Console
from bpftime_cli.pipeline.calls import Calls
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.kernels import Kernels
from bpftime_cli.pipeline.pending import Pending
from bpftime_cli.pipeline.processes import Traced
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from bpftime_cli.pipeline.samples import Samples
from runtime.ebpf.context import GO_REGISTERS
from runtime.errors import AttachProblem, Problem, Problems, TargetProblem
from runtime.jit.image import Image
from runtime.lang import Script, ScriptProbe
from runtime.lang.providers import CPP
from runtime.symbols.gotable import is_go

ATTACH_TYPES = {"uprobe": UPROBE, "uretprobe": URETPROBE, "usdt": UPROBE}
LISTED = 3  # refused places that are told one by one
REASONS = {28: "have no room for a jump", 95: "cannot be probed this way", 116: "have changed code"}


@dataclass
class Arming:
    """What is armed in every process of a trace."""

    config: Config
    console: Console
    names: Names
    script: Script
    programs: Programs
    pending: Pending
    samples: Samples
    kernels: Kernels
    calls: Calls = field(init=False)
    _told: bool = field(default=False, init=False)
    _missing: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.calls = self._calls()

    def _calls(self) -> Calls:
        if self.config.view is None:
            return Calls(self.console, self.names, self.script, self.programs, Way(self.config.ways))
        from bpftime_cli.pipeline.viewcalls import ViewCalls  # lazy: only for the view

        calls = ViewCalls(self.console, self.names, self.script, self.programs, Way(self.config.ways))
        calls.view = self.config.view
        return calls

    def arm(self, traced: Traced) -> int:
        """Attach every probe that runs in processes; returns how many places were armed.

        Raises:
            Problem: a probe matches nothing, nothing could be armed, or the process has ended.
        """
        self.names.remember(traced.target.pid, traced.target.modules)
        traced.target.asked = self.script.addresses
        try:
            return self._arm(traced)
        except AttachProblem:
            if traced.target.is_alive:
                raise
            raise TargetProblem(f"process {traced.target.pid} ended while attaching") from None

    def _arm(self, traced: Traced) -> int:
        count = self._arm_calls(traced) + self.samples.arm(traced) + self.kernels.arm(traced)
        probes, spans = self._places(traced)
        if not probes:
            return count
        with self.console.progress("looking for room", len(probes)) as traced.attacher.tick:
            plan = traced.attacher.plan(probes)
        self._tell_of_frida(plan)
        self._show(plan)
        traced.attacher.apply(plan)
        self._report_refused(plan.refused, spans)
        return count + len(spans) - len(plan.refused)

    def _arm_calls(self, traced: Traced) -> int:
        """Attach the probes of system calls; returns how many the script names."""
        count = self.calls.count()
        if not count:
            return 0
        plan = self.calls.plan(traced)
        if plan is not None:
            self._show(plan)
            self.calls.apply(traced, plan)
            self.calls.report(plan)
            traced.target.refresh()
        return count

    def _show(self, plan: AttachPlan) -> None:
        if "plan" in self.config.stages:
            self.console.talk(explain(plan).encode() + b"\n")
        elif self.config.dry_run or self.config.verbose > 1:
            self.console.note(explain(plan) if self.config.verbose else str(plan))

    def _more(self, reasons: Counter[int]) -> str:
        """Return what to do about places that were left out."""
        may = self.config.backend != "frida" and (reasons[28] or reasons[95])
        return "-v lists them" + (", --backend frida can probe most of them" if may else "")

    def _tell_of_frida(self, plan: AttachPlan) -> None:
        """Say once what goes another way than the usual one: it costs a hundred times as much."""
        hooks = plan.hooks if isinstance(plan, InterceptorPlan) else []
        if self.config.backend != "auto" or not hooks or self._told:
            return
        self._told = True
        names = list(dict.fromkeys(hook.probe.name for hook in hooks))
        text = f"{', '.join(names[:LISTED])}{' and others' if len(names) > LISTED else ''}"
        self.console.note(f"{text}: by Frida's Interceptor, 0.2 us a call (--backend inline leaves it out)")

    def _places(self, traced: Traced) -> tuple[list[Probe], dict[int, ScriptProbe]]:
        """Return the places of all probes, and by link which probe of the script each belongs to."""
        probes: list[Probe] = []
        spans: dict[int, ScriptProbe] = {}
        problems: list[Problem] = []
        for probe in self.script.probes:
            if probe.provider not in ATTACH_TYPES:
                continue
            try:
                found = self._resolve(probe, traced)
            except AttachProblem as problem:
                if self._is_final(probe, problem, traced):
                    problems.append(_located(problem, probe))
                continue
            found = [one for one in found if self._is_wanted(probe, one)]
            if found:
                self.pending.has_come(probe)
            for one in found:
                link = len(spans) + 1
                spans[link] = probe
                image = self._image_of_go(probe, traced) if is_go(one.module.elf) else one.image
                probes.append(replace(one, link=link, cookie=self._cookie(probe, one), image=image))
        if problems:
            raise problems[0] if len(problems) == 1 else Problems(problems)
        self._check_limit(len(probes))
        traced.seen |= {m.start for m in traced.target.modules}
        return probes, spans

    def _check_limit(self, count: int) -> None:
        """Refuse more places than the script allows.

        Raises:
            Problem: with both numbers.
        """
        most = self.script.config.number("max_probes")
        if count > most:
            raise Problem(
                f"Can't attach to {count} probes because it exceeds the current limit of {most} probes.",
                hint="set BPFTIME_MAX_PROBES, or max_probes in the config block",
            )

    def _is_final(self, probe: ScriptProbe, problem: AttachProblem, traced: Traced) -> bool:
        """Return whether a probe that matches nothing is an error: it may not wait, and is wanted."""
        waits = not _is_no_file(probe) and self.pending.may_wait(probe, problem, traced)
        return not waits and not self._is_optional(probe, problem)

    def _is_optional(self, probe: ScriptProbe, problem: AttachProblem) -> bool:
        """Return whether the script can do without a probe that matches nothing (missing_probes)."""
        missing = self.script.config.text("missing_probes")
        if missing == "warn" and id(probe) not in self._missing:
            self.console.warn([_located(problem, probe)])
        self._missing.add(id(probe))
        return missing != "error"

    def _is_wanted(self, probe: ScriptProbe, place: Probe) -> bool:
        """Return whether --probe-filter lets a place through."""
        wanted = self.config.probe_filter
        return not wanted or re.search(wanted, self._full_name(probe, place)) is not None

    def _resolve(self, probe: ScriptProbe, traced: Traced) -> list[Probe]:
        image = self.programs.image(probe.program, traced.target.build_kind)
        if probe.provider == "usdt":
            session = traced.attacher.session.region.id
            found = resolve_markers(traced.target, session, MarkerText.of(probe.parts), image)
            self.console.warn([*map(Problem, too_many_arguments(found))])
            return [place for place in found if place.module.start not in traced.seen]
        return traced.attacher.resolve(self._hook(probe, image), traced.seen)

    def _image_of_go(self, probe: ScriptProbe, traced: Traced) -> Image:
        """Return a program for functions of Go, which get their arguments in other registers."""
        return self.programs.image(probe.program, traced.target.build_kind, GO_REGISTERS)

    def _hook(self, probe: ScriptProbe, image: Image) -> Hook:
        *binary, function = probe.parts
        if binary[1:] == [CPP]:
            function = f"{CPP}:{function}"
        kind = ATTACH_TYPES[probe.provider]
        if kind == UPROBE and "override" in self.programs.verified(probe.program).needs:
            kind = UPROBE_OVERRIDE
        return Hook(0, image, binary[0] if binary else "*", function, kind)

    def _cookie(self, probe: ScriptProbe, place: Probe) -> int:
        """Return the number by which a program tells its full name, 0 where it does not ask."""
        if not probe.uses_cookie:
            return 0
        return self.names.add_probe(self._full_name(probe, place))

    def _full_name(self, probe: ScriptProbe, place: Probe) -> str:
        return probe.name or f"{probe.provider}:{place.module.path}:{_name(place)}"

    def _report_refused(self, refused: dict[int, AttachProblem], probes: dict[int, ScriptProbe]) -> None:
        """Tell which places were left out: one by one where they are few, else by reason.

        Raises:
            AttachProblem: every place was refused.
        """
        if not refused:
            return
        if len(refused) == len(probes):
            link, problem = next(iter(refused.items()))
            raise _located(problem, probes[link])
        if len(refused) <= LISTED or self.config.verbose:
            self.console.warn([_located(p, probes[link]) for link, p in refused.items()])
            return
        reasons = Counter(problem.errno for problem in refused.values())
        text = ", ".join(f"{n} {REASONS.get(e, f'gave error {e}')}" for e, n in reasons.items())
        self.console.warn([Problem(f"skipped {len(refused)} places: {text}", hint=self._more(reasons))])


def _name(place: Probe) -> str:
    """Return what follows the binary in a probe's full name."""
    if place.marker is not None:
        return place.marker.full_name
    return place.name + (f"+{place.at - place.address}" if place.at != place.address else "")


def _located(problem: AttachProblem, probe: ScriptProbe) -> AttachProblem:
    """Return the problem with the place of its attach point, in the words that scripts look for."""
    text = str(problem)
    if _is_no_file(probe):
        text = f"{probe.provider} target file '{probe.parts[0]}' does not exist or is not executable"
    elif text.startswith("no symbol"):
        text = f"No matches for {probe.provider} {':'.join(probe.parts)}. There is {text}"
    return AttachProblem(text, errno=problem.errno, hint=problem.hint, span=probe.span)


def _is_no_file(probe: ScriptProbe) -> bool:
    """Return whether the binary is a path to nothing; a library that comes later has a file already."""
    binary = probe.parts[0] if len(probe.parts) > 1 else ""
    return "/" in binary and "*" not in binary and not Path(binary).exists()
