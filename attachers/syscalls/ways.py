"""Other ways to a system call's thunk, for the few places without room for a jump.

A trap takes one byte anywhere and costs about a microsecond: only where the program has no use for SIGTRAP.
A call into page 0 takes the two bytes of the call itself, which then happens in the thunk; it costs some ten
nanoseconds, needs the right to map page 0, and its return address overwrites the eight bytes below the stack
pointer, which belong to the function. So neither is taken unless it is asked for.
"""

from __future__ import annotations

import signal
from enum import Enum

from attachers.patch.apply import may_catch
from attachers.patch.displace import Instruction, can_displace
from attachers.patch.site import Place
from attachers.syscalls.scan import SYSCALL
from attachers.syscalls.sites import CallSite
from attachers.syscalls.windows import NOT_MOVED, no_room
from runtime.agent.protocol import SiteKind
from runtime.errors import AttachProblem

LINE = 64


class Way(Enum):
    """How threads get from a place without room for a jump into its thunk."""

    JUMP = "jump"  # not at all
    TRAP = "trap"
    DISPATCH = "dispatch"  # that neither, but the calls of code made at run time
    PAGE = "page0"
    PAGE_ALWAYS = "page0-always"  # also where there is room: to see what it costs


def other_way(pid: int, site: CallSite, way: Way, *, leaves: bool) -> Place:
    """Return a place before a call, or behind it if it `leaves`.

    Raises:
        AttachProblem: there is none either (28), or the process uses SIGTRAP itself (95).
    """
    if way is not Way.TRAP:
        return _call(site, SiteKind.PAGE, leaves=leaves)
    if not may_catch(pid, signal.SIGTRAP):
        raise AttachProblem(
            f"process {pid} handles or blocks SIGTRAP itself",
            errno=95,
            hint="--syscalls page0 needs no signal",
        )
    trail = site.trail
    if leaves and not trail.is_shared and trail.behind and _is_free(trail.behind[0]):
        first = trail.behind[0]
        if first.is_return:
            return Place(SiteKind.TRAP, first.address, 0, (), ret=first, is_late=True)
        return Place(SiteKind.TRAP, first.address, 0, (first,))
    if not leaves and trail.before and _is_free(trail.before[-1]):
        return Place(SiteKind.TRAP, trail.before[-1].address, 0, trail.before[-1:], is_late=True)
    return _call(site, SiteKind.TRAP, leaves=leaves)


def _is_free(instruction: Instruction) -> bool:
    return can_displace(instruction) and instruction.base not in ("call", "syscall")


def _call(site: CallSite, kind: SiteKind, *, leaves: bool) -> Place:
    """Return the call itself as a place; it happens in the thunk."""
    trail = site.trail
    if trail.number in NOT_MOVED or (kind is SiteKind.PAGE and trail.address % LINE == LINE - 1):
        raise no_room(site, "behind" if leaves else "before")
    call = Instruction(trail.address, SYSCALL, "syscall", "")
    return Place(kind, trail.address, 0, (call,), is_late=leaves)
