"""What a probe costs beside its program, by how it was placed: one row a class.

The numbers are nanoseconds a hit over the bare call, measured as the benchmark of calls measures; they say
which class is dear, not what a given machine takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.spot import Spot
from attachers.patch.thunk import Moment


@dataclass(frozen=True, slots=True)
class Cost:
    """A class: its number in link entries, its name, about how many nanoseconds, and why."""

    number: int
    name: str
    ns: float
    why: str


IN_PLACE = Cost(1, "in place", 1, "a jump there and back, one register saved")
INSIDE = Cost(2, "inside", 2, "the flags and the red zone are kept too")
THROUGH = Cost(3, "call-through", 1, "the thunk calls the function's body")
CONTEXT = Cost(4, "whole context", 8, "all registers are stored for the program")
SWAP = Cost(5, "return swap", 12, "the return address is replaced: the processor predicts it wrongly")
HOOK = Cost(6, "interceptor", 160, "Frida saves all registers and calls the program")
COSTS = {cost.number: cost for cost in (IN_PLACE, INSIDE, THROUGH, CONTEXT, SWAP, HOOK)}


def cost_of(spot: Spot) -> Cost:
    """Return the class of one place."""
    if spot.swap:
        return SWAP
    if spot.probe.image.frame:
        return CONTEXT
    if spot.through:
        return THROUGH
    return INSIDE if spot.moment is Moment.INSIDE else IN_PLACE
