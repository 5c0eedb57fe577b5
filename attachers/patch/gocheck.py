"""The entry of a Go function: behind its check of the stack, which starts over after the stack has grown.

A probe before the check would fire twice for such a call. Behind it all arguments are still in their
registers. Source: Go's `cmd/internal/obj/x86/obj6.go`, stacksplit: `cmp rsp, [r14+16]; jbe grow`.
"""

from __future__ import annotations

from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from attachers.patch.holes import Holes
from attachers.patch.site import Place, fitting
from attachers.patch.walk import Walk

LIMIT = "r14 + 0x10"  # stackguard0 of the goroutine
CHECK, MORE = 6, 6  # instructions looked at


def choose_behind_check(function: Function, holes: Holes) -> Place | None:
    """Return the site behind the check of the stack, None where there is none or no room."""
    at = _behind(function)
    if not at or function.is_targeted(function.start + at):
        return None
    candidates: list[Instruction] = []
    state = Walk()
    while len(candidates) < MORE:
        following = function.one_at(at)
        if candidates and function.is_targeted(function.start + at):
            break
        candidates += following
        if not following or not state.step(following[0]):
            break
        at += len(following[0].data)
    for wide in (True, False):
        for index, one in enumerate(candidates):
            place = fitting(one, holes, wide=wide)
            if place:
                return Place(place.kind, place.address, place.hole, (one,), tuple(candidates[:index]))
    return None


def _behind(function: Function) -> int:
    """Return the offset behind the check, 0 for a function without one."""
    at, compared = 0, False
    for _ in range(CHECK):
        found = function.one_at(at)
        if not found:
            return 0
        at += len(found[0].data)
        if compared and found[0].base in ("jbe", "jb"):
            return at
        compared = found[0].base == "cmp" and LIMIT in found[0].operands
    return 0
