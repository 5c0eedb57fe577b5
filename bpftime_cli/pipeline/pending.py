"""Probes whose library is not there yet: which may wait, which have come, and which never did."""

from __future__ import annotations

from attachers.resolve import NotMapped, find_file
from bpftime_cli.console import Console
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.processes import Traced
from runtime.errors import AttachProblem, Problem
from runtime.lang import ScriptProbe


class Pending:
    """The probes of one trace that wait for a library."""

    def __init__(self, config: Config, console: Console) -> None:
        self._config = config
        self._console = console
        self._waiting: dict[int, Problem] = {}
        self._came: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def may_wait(self, probe: ScriptProbe, problem: AttachProblem, traced: Traced) -> bool:
        """Return whether a probe that matches nothing in a process may do so later, there or elsewhere.

        A library that is not loaded may come, where that is asked for or a program was launched. A function
        that its library does not have never comes; but a program that was followed need not have it.
        """
        if id(probe) in self._came or traced.is_followed:
            return True
        may_come = isinstance(problem, NotMapped) or "*" in probe.parts[0]
        if not may_come or not self._config.waits_for_libraries:
            return False
        if id(probe) not in self._waiting:
            self._waiting[id(probe)] = self._tell(probe, problem)
        return True

    def _tell(self, probe: ScriptProbe, problem: AttachProblem) -> Problem:
        """Say that a probe waits: aloud where no such file is known, since that may be a slip of the pen."""
        text = f"{problem}: waiting until it is loaded"
        told = AttachProblem(text, errno=problem.errno, hint=problem.hint, span=probe.span)
        try:
            find_file(probe.parts[0])
            self._console.note(str(told), 1)
        except AttachProblem:
            self._console.warn([told])
        text = f"no file '{probe.parts[0]}' was loaded"
        return AttachProblem(text, errno=problem.errno, hint=problem.hint, span=probe.span)

    def has_come(self, probe: ScriptProbe) -> None:
        """Note that a probe was placed somewhere."""
        self._came.add(id(probe))
        self._waiting.pop(id(probe), None)

    def check(self) -> None:
        """Refuse to call a trace good that never placed a probe; where waiting was asked for, only tell it.

        Raises:
            AttachProblem: no library that a probe names was loaded.
        """
        if not self._waiting or self._came:
            return
        problem = next(iter(self._waiting.values()))
        if self._config.pending is None:
            raise problem
        self._console.warn([problem])
