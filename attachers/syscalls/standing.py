"""Plans that replace several instructions at once are carried out while no thread is between them.

Most places need none of this: they are one instruction. A handful in a C library have no room for a jump
otherwise; for these the threads stand still for the few milliseconds of the writing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attachers.inject.visit import Visitor
from attachers.interceptor.standstill import NAP, TRIES, Ranges, standing_still
from attachers.patch.assemble import JUMP
from attachers.patch.plan import AttachPlan
from attachers.patch.site import Place
from attachers.target import Target
from runtime.errors import AttachProblem


def is_several(place: Place) -> bool:
    """Return whether a place is more than one instruction."""
    return place.width == JUMP and bool(place.displaced) and len(place.displaced[0].data) < JUMP


def ranges_of(plan: AttachPlan) -> Ranges:
    """Return the ranges of a plan that no thread may stand inside of, their starts excepted."""
    places = (site.place for site in plan.sites if is_several(site.place))
    return sorted({(p.address, p.address + JUMP) for p in places})


def carry_out(target: Target, plan: AttachPlan, apply: Callable[[AttachPlan], None]) -> None:
    """Call `apply` with the plan, while threads stand still if need be.

    Raises:
        AttachProblem: a thread stays where code is to change (11); nothing is changed.
        TargetProblem: the process cannot be reached.
    """
    ranges = ranges_of(plan)
    if not ranges or not isinstance(target.channel, Visitor):  # else: nothing of the program runs yet
        apply(plan)
        return
    with _held(target.channel, ranges) as tid, standing_still(target.pid, frozenset([tid]), ranges):
        apply(plan)


@contextmanager
def _held(channel: Visitor, ranges: Ranges) -> Iterator[int]:
    """Hold the thread that is to write, outside of the ranges; gives its id."""
    if channel.is_holding:
        yield channel.held_tid
        return
    try:
        for _ in range(TRIES):
            channel.hold()
            if not any(start < channel.stands_at < end for start, end in ranges):
                break
            channel.let_go()
            time.sleep(NAP)
        else:
            raise AttachProblem("a thread stays in the code that is to change", errno=11, hint="try again")
        yield channel.held_tid
    finally:
        channel.let_go()
