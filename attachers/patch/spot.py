"""One chosen place for one probe: what the planner decides, before any code is written."""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.plan import Probe
from attachers.patch.site import Place
from attachers.patch.thunk import Moment
from runtime.agent.protocol import ThunkKind


@dataclass(frozen=True, slots=True)
class Spot:
    """A probe's place.

    `through`: its thunk calls the function's body. `swap`: its thunk replaces the return address.
    """

    probe: Probe
    place: Place
    moment: Moment
    through: bool = False
    swap: bool = False

    @property
    def is_late(self) -> bool:
        """Return whether the thunk runs the displaced instructions before its program."""
        return self.moment is Moment.EXIT or self.place.is_late

    @property
    def kind(self) -> ThunkKind:
        """Return what kind of thunk it gets."""
        if self.probe.when.decides:
            return ThunkKind.OVERRIDE
        if self.through or self.swap:
            return ThunkKind.THROUGH if self.through else ThunkKind.SWAP
        return ThunkKind.RUN
