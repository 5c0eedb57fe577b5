"""A script armed in running processes by this process itself, without the command line around it."""

from __future__ import annotations

from dataclasses import replace

from attachers.base import UPROBE, URETPROBE
from attachers.target import Target
from attachers.uprobe import FunctionAttacher, Hook
from bpftime_cli.pipeline.programs import Programs
from runtime.lang import Options, compile_script
from runtime.shm.session import Session

KINDS = {"uprobe": UPROBE, "uretprobe": URETPROBE}


class Script:
    """A compiled script with its maps; arm and disarm it as often as you like."""

    def __init__(self, text: str) -> None:
        self.script = compile_script(text, "stdin", Options())
        self.programs = Programs(self.script.object)
        self.programs.verify_all()
        self.session = Session.create("tests", tuple(self.programs.maps.values()))
        self.attacher: FunctionAttacher | None = None

    def open(self, pid: int) -> FunctionAttacher:
        """Bring the agent into a process."""
        self.attacher = FunctionAttacher(Target.open(pid), self.session)
        return self.attacher

    def plan(self) -> object:
        """What would be written now."""
        attacher, found, links = self.attacher, [], 0
        for probe in self.script.probes:
            image = self.programs.image(probe.program, attacher.target.build_kind)
            for one in attacher.resolve(Hook(1, image, *probe.parts, KINDS[probe.provider])):
                links += 1
                found.append(replace(one, link=links))
        return attacher.plan(found)

    def arm(self) -> int:
        """Put the probes in; gives how many are armed."""
        plan = self.plan()
        self.attacher.apply(plan)
        return len(plan.sites_of) - len(plan.refused.keys() & plan.sites_of.keys())

    def disarm(self) -> None:
        """Take them out."""
        self.attacher.detach_all()

    def total(self, name: str) -> int:
        """The sum of the counters in one map."""
        return sum(int.from_bytes(value[:8], "little") for _, value in self.session.view(name).items())

    def close(self) -> None:
        """Let go of the process."""
        self.attacher.target.close()
