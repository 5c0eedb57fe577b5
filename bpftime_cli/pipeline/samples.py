"""The sampling probes of a script, hooked on in one process after another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from attachers.sampling.perf import ThreadEvents, Wanted
from attachers.sampling.placing import start
from bpftime_cli.console import Console
from bpftime_cli.pipeline.processes import Traced
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import AttachProblem
from runtime.lang import Script, ScriptProbe
from runtime.lang.sampling import PROVIDERS

LEAST_KERNEL = (6, 4)  # from here on a process's CPU timer interrupts the thread that has used the time


@dataclass
class Samples:
    """What runs now and then in the processes of one trace."""

    console: Console
    names: Names
    script: Script
    programs: Programs
    _events: list[ThreadEvents] = field(default_factory=list)
    _armed: set[tuple[int, int]] = field(default_factory=set)

    def count(self) -> int:
        """Return how many such probes the script has."""
        return sum(1 for _ in self._probes())

    def _probes(self) -> Iterator[ScriptProbe]:
        return (p for p in self.script.probes if p.provider in PROVIDERS)

    def arm(self, traced: Traced) -> int:
        """Start all in a process, once in each program that it becomes; returns how many.

        Raises:
            AttachProblem: one is not possible here.
        """
        key = (traced.target.pid, traced.stack)
        if key in self._armed:
            return 0
        self._armed.add(key)
        for probe in self._probes():
            try:
                self._start(probe, traced)
            except AttachProblem as problem:
                raise AttachProblem(
                    str(problem), errno=problem.errno, hint=problem.hint, span=probe.span
                ) from None
        return self.count()

    def _start(self, probe: ScriptProbe, traced: Traced) -> None:
        target = traced.target
        image = self.programs.image(probe.program, target.build_kind)
        event = probe.event
        if event is None:
            check_kernel()
        sample = {
            "every": probe.period,
            "period": event.period if event else probe.period,
            "address": event.address if event else 0,
        }
        cookie = self.names.add_probe(probe.name or probe.text) if probe.uses_cookie else 0
        signal = start(target, traced.attacher.session, image, sample, cookie)
        if event is not None:
            wanted = Wanted(event.type, event.config, event.period, event.address, event.length)
            events = ThreadEvents(target.pid, wanted, signal, probe.text)
            self._events.append(events)
            events.look()

    def look(self) -> None:
        """Count in threads that have started since."""
        for events in self._events:
            try:
                events.look()
            except (AttachProblem, OSError) as problem:
                self.console.note(str(problem), 1)

    def unwatch(self, address: int) -> None:
        """Watch a place in memory no more; nothing happens where none is watched there."""
        for events in [e for e in self._events if e.wanted.length and e.wanted.address == address]:
            events.close()
            self._events.remove(events)

    def close(self) -> None:
        """Send no more signals."""
        for events in self._events:
            events.close()
        self._events.clear()


def check_kernel() -> None:
    """Make sure that CPU timers tell which thread runs.

    Raises:
        AttachProblem: this kernel is too old.
    """
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if found and (int(found[1]), int(found[2])) < LEAST_KERNEL:
        raise AttachProblem(
            f"profile probes need Linux 6.4, this is {os.uname().release}: CPU timers interrupt any thread",
            errno=95,
            hint="software:cpu-clock:1000000 samples each thread by its own clock",
        )
