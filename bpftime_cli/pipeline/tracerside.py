"""Probes that fire in the tracer itself, such as begin and interval: their programs run here."""

from __future__ import annotations

import time

from attachers.local import Runner
from attachers.timer import Timer
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import Problem
from runtime.jit.local import LocalProgram, agent
from runtime.lang.script import Script, ScriptProbe
from runtime.shm.session import Session

TRACER_PROVIDERS = ("begin", "end", "interval", "self", "test", "bench")
RETURNING = ("test", "bench")  # providers whose programs' results are looked at


class TracerProbes:
    """The tracer-side probes of one script."""

    def __init__(self, script: Script, programs: Programs, session: Session, names: Names) -> None:
        self.script = script
        self._programs = programs
        self._session = session
        self._names = names
        self._loaded: dict[str, Runner] = {}
        self._cookies: dict[int, int] = {}
        self._timers: list[Timer] = []

    def of(self, provider: str) -> list[ScriptProbe]:
        """Return the attach points of a provider, in the order of the script."""
        return [p for p in self.script.probes if p.provider == provider]

    @property
    def count(self) -> int:
        """Return how many attach points fire in the tracer."""
        return sum(p.provider in TRACER_PROVIDERS and p.provider not in RETURNING for p in self.script.probes)

    def fire(self, provider: str) -> None:
        """Run all probes of `begin` or `end` in the order of the script."""
        for probe in self.of(provider):
            self.run(probe)

    def start_timers(self) -> None:
        """Start the interval probes' clocks now."""
        now = time.monotonic_ns()
        self._timers = [Timer(self.load(p), p.period, now, self._cookie(p)) for p in self.of("interval")]

    def fire_timers(self) -> None:
        """Run the interval probes that are due; a late one fires once, then keeps its rhythm."""
        for timer in self._timers:
            timer.look(time.monotonic_ns())

    def wait(self) -> float:
        """Return the seconds until the next interval probe is due; a large number when there is none."""
        if not self._timers:
            return 3600.0
        return max(0.0, (min(timer.due for timer in self._timers) - time.monotonic_ns()) / 1e9)

    def run(self, probe: ScriptProbe, context: bytes = b"") -> int:
        """Run one probe's program on the bytes of its context; returns its result where that is looked at.

        Raises:
            Problem: it asks for what only a traced process has.
        """
        runner = self.load(probe)
        runner.cookie = self._cookie(probe)
        error, result = runner(context)
        if error:
            raise Problem(f"a {probe.provider} probe has no such value", span=probe.span)
        return result

    def _cookie(self, probe: ScriptProbe) -> int:
        """Return the number by which a program tells its full name, 0 where it does not ask."""
        if "cookie" not in self.load(probe).program.image.words:
            return 0
        if id(probe) not in self._cookies:
            self._cookies[id(probe)] = self._names.add_probe(probe.name or probe.text)
        return self._cookies[id(probe)]

    def load(self, probe: ScriptProbe) -> Runner:
        """Return a probe's program, ready to be called."""
        if probe.program not in self._loaded:
            returns = probe.provider in RETURNING
            image = self._programs.image(probe.program, agent().build_kind, returns=returns)
            self._loaded[probe.program] = Runner(LocalProgram(image, self._session.local_symbols()))
        return self._loaded[probe.program]
