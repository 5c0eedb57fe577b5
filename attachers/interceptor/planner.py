"""From probes to hooks: check what Interceptor would move, lay images and adapters out in an arena."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attachers.interceptor.adapter import emit_adapter, emit_guard, emit_replacement
from attachers.interceptor.dangers import danger_of_swaps, may_unwind
from attachers.interceptor.plan import InterceptorPlan, PlannedHook, Way
from attachers.interceptor.window import check_window
from attachers.patch.assemble import Code
from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from attachers.patch.grace import free
from attachers.patch.hooked import SAVED, is_back, is_hooked, original
from attachers.patch.plan import Probe, When
from attachers.patch.thunk import Moment, Run
from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState, ThunkKind
from runtime.errors import AttachProblem
from runtime.jit.link import link, link_size
from runtime.shm.session import Session

TAIL = 32  # bytes read behind a function
ADAPTER_ROOM = 1024  # more than any adapter needs without its program's words
MOMENTS = {When.ENTRY: Moment.ENTRY, When.INSIDE: Moment.INSIDE, When.RETURN: Moment.EXIT}


@dataclass
class HookPlanner:
    """Plans hooks for one process and session.

    `swap`: replaced return addresses are allowed everywhere. `placed`: what this tracer has hooked there.
    `counter`: where in the session's region calls on Interceptor's stack are counted.
    """

    target: Target
    session: Session
    swap: bool
    placed: list[PlannedHook]
    counter: int

    def plan(self, plan: InterceptorPlan, probes: list[Probe]) -> None:
        """Add hooks for these probes to a plan."""
        hooks: list[PlannedHook] = []
        unwinds = may_unwind(self.target)
        danger = "" if self.swap else danger_of_swaps(self.target)
        for probe in probes:
            try:
                way = self._way(probe, hooks)
                function = self._function(probe)
                window = check_window(function, probe, unwinds=unwinds, danger=danger)
                self._check_overlap(probe, window, hooks)
            except AttachProblem as problem:
                plan.refused[probe.link] = problem
                continue
            start = window[0].address - probe.address
            saved = (function.code + function.tail)[start : start + SAVED]
            hooks.append(PlannedHook(probe, 0, tuple(window), saved, way))
        if hooks:
            self._write(plan, hooks)

    def _check_overlap(self, probe: Probe, window: list[Instruction], hooks: list[PlannedHook]) -> None:
        """Refuse a place whose bytes Interceptor moves for another one.

        Raises:
            AttachProblem: it is so (28).
        """
        start, end = window[0].address, window[-1].end
        for other in (*hooks, *self.placed):
            if other.at != start and other.at < end and start < other.at + other.overwritten:
                raise AttachProblem(
                    f"Frida moves the code at {probe.name}+{probe.at - probe.address} for another probe",
                    errno=28,
                    hint="probe another instruction of it: FUNCTION+OFFSET",
                )

    def _way(self, probe: Probe, hooks: list[PlannedHook]) -> Way:
        """Return how a probe is hooked on.

        Raises:
            AttachProblem: it cannot be by Frida, or not with the others there.
        """
        if probe.when not in (*MOMENTS, When.OVERRIDE, When.REPLACE):
            raise AttachProblem(
                f"{probe.name}: a {probe.when.value} probe is inline only",
                errno=95,
                hint="use --backend inline",
            )
        if not probe.when.decides:
            return Way.LEAVE if probe.when is When.RETURN else Way.PROBE
        if any(h.probe.when.decides and h.probe.address == probe.address for h in (*hooks, *self.placed)):
            raise AttachProblem(
                f"another program decides already whether {probe.name} runs",
                errno=17,
                hint="detach that one first: bpftime list shows it",
            )
        return Way.REPLACE

    def _function(self, probe: Probe) -> Function:
        code = bytearray(self.target.code_at(probe.address, probe.size + TAIL))
        if len(code) < probe.size or not probe.size:
            raise AttachProblem(f"the code of {probe.name} cannot be read", errno=116)
        for site in self._sites_in(probe):
            saved, size = original(self.target, site)
            at = site.at - probe.address
            code[at : at + size] = saved[:size]
        room = -(probe.address + probe.size) % 16
        body, tail = bytes(code[: probe.size]), bytes(code[probe.size : probe.size + room])
        return Function(probe.name, probe.address, body, tail, probe.others)

    def _sites_in(self, probe: Probe) -> list[SiteEntry]:
        """Return our own hooks in a probe's function; those of a tracer that has ended are forgotten.

        Raises:
            AttachProblem: there are others (16).
        """
        found = []
        ours = {hook.adapter for hook in self.placed}
        for site in self.target.sites:
            if site.state != SiteState.ARMED or not probe.address <= site.at < probe.address + probe.size:
                continue
            if site.thunk in ours:
                found.append(site)
            elif is_hooked(site) and is_back(self.target, site):
                free(self.target, site)
            else:
                raise AttachProblem(
                    f"another kind of probe owns a place in {probe.name}",
                    errno=16,
                    hint="one function takes probes of one backend and, for Frida, of one tracer",
                )
        return found

    def _write(self, plan: InterceptorPlan, hooks: list[PlannedHook]) -> None:
        groups: dict[int, list[PlannedHook]] = {}
        for hook in hooks:
            groups.setdefault(hook.probe.module.start, []).append(hook)
        for members in groups.values():
            self._write_group(plan, members)

    def _write_group(self, plan: InterceptorPlan, hooks: list[PlannedHook]) -> None:
        images = {h.probe.image.sha256: h.probe.image for h in hooks}
        plan.reads_memory = plan.reads_memory or any(i.uses_faults for i in images.values())
        room = sum(link_size(i) + i.align for i in images.values())
        room += sum(ADAPTER_ROOM + 32 * len(h.probe.image.words) for h in hooks)
        module = hooks[0].probe.module
        arena = self.target.arena(module.start, module.end, room)
        start = (arena.base + arena.used + 63) & -64
        code = Code(start)
        entries = {}
        for sha, image in images.items():
            code.raw(b"\xcc" * (-code.here % image.align))
            entries[sha] = code.here
            code.raw(link(image, code.here, lambda symbol: self.target.resolve(self.session, symbol)))
        guard = emit_guard(code, self.target.map_session(self.session) + self.counter)
        for hook in hooks:
            guarded = replace(hook, guard=guard)
            _write_adapter(plan, code, entries[hook.probe.image.sha256], guarded)
        plan.chunks.append((start, bytes(code.bytes), code.here - arena.base))
        arena.used = code.here - arena.base


def _write_adapter(plan: InterceptorPlan, code: Code, entry: int, hook: PlannedHook) -> None:
    """Append the code that will be overwritten, a thunk's head, and the adapter."""
    probe = hook.probe
    code.raw(b"\xcc" * (-code.here % 16))
    before, saved = len(code.bytes), code.here
    code.raw(hook.original.ljust(SAVED, b"\0"))
    head = len(code.bytes)
    code.raw(bytes(protocol.THUNK.size))
    adapter = code.here
    try:
        run = Run(probe.image, entry, probe.cookie, probe.at)
        if probe.when.decides:
            emit_replacement(code, probe.when, run, list(hook.window))
        else:
            emit_adapter(code, MOMENTS[probe.when], run)
    except AttachProblem as problem:
        del code.bytes[before:]
        plan.refused[probe.link] = problem
        return
    code.bytes[head : head + protocol.THUNK.size] = protocol.THUNK.pack(
        session=probe.session,
        link=probe.link,
        kind=ThunkKind.RUN,
        base=saved,
        inner=hook.overwritten,
        bytes=code.here - adapter,
    )
    plan.hooks.append(replace(hook, adapter=adapter))
    plan.sites_of.setdefault(probe.link, []).append(hook.at)
