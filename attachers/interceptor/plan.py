"""What Frida's Interceptor will hook in one process: an attach plan with hooks next to its sites."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from attachers.patch.displace import Instruction
from attachers.patch.plan import AttachPlan, Probe


class Way(IntEnum):
    """How Interceptor calls an adapter; the script in the target knows these numbers."""

    PROBE = 0  # where the instruction is; no return address is touched
    LEAVE = 1  # when the function returns, by a return address of Interceptor's
    REPLACE = 2  # in place of the function; calls that the function makes to itself pass it by


@dataclass(frozen=True, slots=True)
class PlannedHook:
    """One adapter for one probe.

    `window`: the instructions that Interceptor overwrites; `original`: their bytes and some more. `way`: how
    it is hooked on.
    """

    probe: Probe
    adapter: int
    window: tuple[Instruction, ...]
    original: bytes
    way: Way
    guard: tuple[int, int] = (0, 0)  # what counts its calls in and out, where return addresses are replaced

    @property
    def at(self) -> int:
        """Return where Interceptor writes."""
        return self.window[0].address

    @property
    def overwritten(self) -> int:
        """Return how many bytes it changes there."""
        return self.window[-1].end - self.at


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
