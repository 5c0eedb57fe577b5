"""The view's programs hooked on: each pair at the calls of its shape, the counting pair at all."""

from __future__ import annotations

from collections.abc import Iterator

from attachers.syscalls.probes import CallHook
from bpftime_cli.callview.view import View
from bpftime_cli.pipeline.calls import Calls


class ViewCalls(Calls):
    """The system calls of one view."""

    view: View

    def _hooks(self, build: str) -> Iterator[CallHook]:
        groups = [
            group
            for shape, group in zip(self.view.shapes, self.view.groups, strict=True)
            for _ in range(1 + shape.ends)
        ]
        for number, probe in enumerate(self._probes()):
            numbers = groups[number] if number < len(groups) else self.view.numbers
            image = self.programs.image(probe.program, build)
            yield CallHook(image, numbers, probe.parts[-1] == "sys_exit", 0)
