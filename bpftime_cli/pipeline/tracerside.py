"""Probes that fire in the tracer itself: begin, end and interval. Their programs run here, as native code."""

from __future__ import annotations

import time

from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import Problem
from runtime.jit.local import LocalProgram, agent
from runtime.lang.script import Script, ScriptProbe
from runtime.shm.session import Session

TRACER_PROVIDERS = ("begin", "end", "interval")
REGISTER_ARGUMENTS = 6  # a program's words lie where a C call puts its seventh argument and on


class TracerProbes:
    """The tracer-side probes of one script."""

    def __init__(self, script: Script, programs: Programs, session: Session, names: Names) -> None:
        self.script = script
        self._programs = programs
        self._session = session
        self._names = names
        self._loaded: dict[str, LocalProgram] = {}
        self._cookies: dict[int, int] = {}
        self._next: list[tuple[int, ScriptProbe]] = []

    def _of(self, provider: str) -> list[ScriptProbe]:
        return [p for p in self.script.probes if p.provider == provider]

    @property
    def count(self) -> int:
        """Return how many attach points fire in the tracer."""
        return sum(p.provider in TRACER_PROVIDERS for p in self.script.probes)

    def fire(self, provider: str) -> None:
        """Run all probes of `begin` or `end` in the order of the script."""
        for probe in self._of(provider):
            self._run(probe)

    def start_timers(self) -> None:
        """Start the interval probes' clocks now."""
        now = time.monotonic_ns()
        self._next = [(now + p.period, p) for p in self._of("interval")]

    def fire_timers(self) -> None:
        """Run the interval probes that are due; a late one fires once, then keeps its rhythm."""
        now = time.monotonic_ns()
        for index, (due, probe) in enumerate(self._next):
            if due <= now:
                self._run(probe)
                missed = (now - due) // probe.period
                self._next[index] = (due + (missed + 1) * probe.period, probe)

    def wait(self) -> float:
        """Return the seconds until the next interval probe is due; a large number when there is none."""
        if not self._next:
            return 3600.0
        return max(0.0, (min(due for due, _ in self._next) - time.monotonic_ns()) / 1e9)

    def _run(self, probe: ScriptProbe) -> None:
        program = self._load(probe.program)
        words = [self._word(name, probe) for name in program.image.words]
        program(*([0] * REGISTER_ARGUMENTS), *words)

    def _word(self, name: str, probe: ScriptProbe) -> int:
        if name != "cookie":
            raise Problem(f"a {probe.provider} probe has no '{name}'", span=probe.span)
        if id(probe) not in self._cookies:
            self._cookies[id(probe)] = self._names.add_probe(probe.name or probe.text)
        return self._cookies[id(probe)]

    def _load(self, name: str) -> LocalProgram:
        if name not in self._loaded:
            image = self._programs.image(name, agent().build_kind)
            self._loaded[name] = LocalProgram(image, self._session.local_symbols())
        return self._loaded[name]
