"""One chosen place for one probe: what the planner decides, before any code is written."""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.plan import Probe
from attachers.patch.site import Place
from attachers.patch.thunk import Moment


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
