"""What Frida's Interceptor will hook in one process: an attach plan with hooks next to its sites."""

from __future__ import annotations

from dataclasses import dataclass, field

from attachers.patch.plan import AttachPlan, Probe, When


@dataclass(frozen=True, slots=True)
class PlannedHook:
    """One adapter for one probe.

    `at`: where Interceptor writes. `overwritten`: bytes there that it changes; `original` are those and more
    behind.
    """

    probe: Probe
    at: int
    adapter: int
    overwritten: int
    original: bytes

    @property
    def leaves(self) -> bool:
        """Return whether it runs at the function's return."""
        return self.probe.when is When.RETURN


@dataclass
class InterceptorPlan(AttachPlan):
    """All edits of one attach, some of them Frida's."""

    hooks: list[PlannedHook] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [AttachPlan.__str__(self)]
        for hook in self.hooks:
            probe = hook.probe
            lines.append(
                f"  {probe.name}: frida at {hook.at:#x} -> {hook.adapter:#x}  [{hook.original.hex(' ')}]"
            )
        return "\n".join(lines)
