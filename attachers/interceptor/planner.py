"""From probes to hooks: check what Interceptor would move, lay images and adapters out in an arena."""

from __future__ import annotations

import re
from dataclasses import dataclass

from attachers.interceptor.adapter import emit_adapter
from attachers.interceptor.plan import InterceptorPlan, PlannedHook
from attachers.interceptor.window import check_window
from attachers.patch.assemble import Code
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
UNWINDERS = re.compile(r"/(libstdc\+\+|libc\+\+abi|libunwind|libgcc_s)\.so")


@dataclass
class HookPlanner:
    """Plans hooks for one process and session. `swap`: replaced return addresses are allowed everywhere."""

    target: Target
    session: Session
    swap: bool = False

    def plan(self, plan: InterceptorPlan, probes: list[Probe], ours: set[int]) -> None:
        """Add hooks for these probes to a plan; `ours` are the adapters that are hooked by this tracer."""
        hooks: list[PlannedHook] = []
        unwinds = any(UNWINDERS.search(m.path) for m in self.target.modules)
        for probe in probes:
            try:
                _check_kind(probe)
                function = self._function(probe, ours)
                at, size = check_window(function, probe, unwinds=unwinds, swap=self.swap)
            except AttachProblem as problem:
                plan.refused[probe.link] = problem
                continue
            start = at - probe.address
            saved = (function.code + function.tail)[start : start + SAVED]
            hooks.append(PlannedHook(probe, at, 0, size, saved))
        if hooks:
            self._write(plan, hooks)

    def _function(self, probe: Probe, ours: set[int]) -> Function:
        code = bytearray(self.target.code_at(probe.address, probe.size + TAIL))
        if len(code) < probe.size or not probe.size:
            raise AttachProblem(f"the code of {probe.name} cannot be read", errno=116)
        for site in self._sites_in(probe, ours):
            saved, size = original(self.target, site)
            at = site.at - probe.address
            code[at : at + size] = saved[:size]
        room = -(probe.address + probe.size) % 16
        body, tail = bytes(code[: probe.size]), bytes(code[probe.size : probe.size + room])
        return Function(probe.name, probe.address, body, tail, probe.others)

    def _sites_in(self, probe: Probe, ours: set[int]) -> list[SiteEntry]:
        """Return our own hooks in a probe's function; those of a tracer that has ended are forgotten.

        Raises:
            AttachProblem: there are others (16).
        """
        found = []
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
        images = {h.probe.image.sha256: h.probe.image for h in hooks}
        plan.reads_memory = plan.reads_memory or any(i.uses_faults for i in images.values())
        room = sum(link_size(i) + i.align for i in images.values())
        room += sum(ADAPTER_ROOM + 32 * len(h.probe.image.words) for h in hooks)
        module = hooks[0].probe.module  # adapters are called by address: any arena will do
        arena = self.target.arena(module.start, module.end, room)
        start = (arena.base + arena.used + 63) & -64
        code = Code(start)
        entries = {}
        for sha, image in images.items():
            code.raw(b"\xcc" * (-code.here % image.align))
            entries[sha] = code.here
            code.raw(link(image, code.here, lambda symbol: self.target.resolve(self.session, symbol)))
        for hook in hooks:
            _write_adapter(plan, code, entries[hook.probe.image.sha256], hook)
        plan.chunks.append((start, bytes(code.bytes), code.here - arena.base))
        arena.used = code.here - arena.base


def _check_kind(probe: Probe) -> None:
    if probe.when not in MOMENTS:
        raise AttachProblem(
            f"{probe.name}: a {probe.when.value} probe is made inline only",
            errno=95,
            hint="use --backend inline",
        )


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
        emit_adapter(code, MOMENTS[probe.when], Run(probe.image, entry, probe.cookie, probe.at))
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
    plan.hooks.append(PlannedHook(probe, hook.at, adapter, hook.overwritten, hook.original))
    plan.sites_of.setdefault(probe.link, []).append(hook.at)
