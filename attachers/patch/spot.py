"""One chosen place for one probe: what the planner decides, before any code is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attachers.patch.assemble import Code
from attachers.patch.chain import level_of
from attachers.patch.plan import Probe
from attachers.patch.site import Place
from attachers.patch.thunk import Moment, Run
from runtime.agent.protocol import ThunkKind

Emit = Callable[[Code, Run, int], tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Spot:
    """A probe's place.

    `through`: its thunk calls the function's body. `swap`: its thunk replaces the return address.
    `emit`: what writes a thunk of another sort, of kind `takes`, as `Writer` writes its own: it gets the code
    so far, the program, and the thunk to go on to; it returns where another thunk enters this one, the last
    jump and the way back.
    """

    probe: Probe
    place: Place
    moment: Moment
    through: bool = False
    swap: bool = False
    emit: Emit | None = None
    takes: ThunkKind = ThunkKind.RUN

    @property
    def is_late(self) -> bool:
        """Return whether the thunk runs the displaced instructions before its program."""
        return self.moment is Moment.EXIT or self.place.is_late

    @property
    def level(self) -> int:
        """Return how much of the site's work is done when its program runs."""
        return level_of(self.kind, int(self.is_late and bool(self.place.displaced)))

    @property
    def kind(self) -> ThunkKind:
        """Return what kind of thunk it gets."""
        if self.emit is not None:
            return self.takes
        if self.probe.when.decides:
            return ThunkKind.OVERRIDE
        if self.through or self.swap:
            return ThunkKind.THROUGH if self.through else ThunkKind.SWAP
        return ThunkKind.RUN
