"""The view's programs hooked on: each at the calls that it is for, the counting pair at all."""

from __future__ import annotations

from collections.abc import Iterator

from attachers.syscalls.probes import CallHook
from bpftime_cli.callview.view import View
from bpftime_cli.pipeline.calls import Calls


class ViewCalls(Calls):
    """The system calls of one view."""

    view: View

    def _hooks(self, build: str) -> Iterator[CallHook]:
        groups = self.view.groups
        for number, probe in enumerate(self._probes()):
            numbers = groups[number] if number < len(groups) else self.view.numbers
            image = self.programs.image(probe.program, build)
            yield CallHook(image, numbers, probe.parts[-1] == "sys_exit", 0)
