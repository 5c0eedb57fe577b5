"""Scripts with probes of system calls, armed in running processes by this process itself."""

from __future__ import annotations

import io

from attachers.patch.plan import AttachPlan
from bpftime_cli.console import Console
from bpftime_cli.pipeline.calls import Calls
from bpftime_cli.pipeline.processes import Traced
from bpftime_cli.pipeline.resolver import Names
from tests.tools.session import Script


class CallScript(Script):
    """A script whose probes are those of system calls."""

    def arm(self) -> int:
        """Put the probes in; gives how many places are armed."""
        calls = Calls(Console(io.BytesIO()), Names(), self.script, self.programs)
        traced = Traced(self.attacher.target, self.attacher)
        plan: AttachPlan = calls.plan(traced)
        calls.apply(traced, plan)
        return len(plan.sites_of) - len(plan.refused.keys() & plan.sites_of.keys())
