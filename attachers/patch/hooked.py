"""Places that Frida's Interceptor has hooked, as others find them: in the agent's table of sites.

The tracer that hooked them has Frida put the code back. Whoever else comes by does it himself where that is
left to do: in a fork child, which has the patched code but no Frida, and where a tracer was killed.
"""

from __future__ import annotations

from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteKind, SiteState

JUMP = 5  # bytes that a restoring writes as a thread may run there; nobody can stand in those behind
SAVED = 32  # bytes of a place that are kept in front of its adapter


def is_hooked(site: SiteEntry) -> bool:
    """Return whether Interceptor made this entry's jump."""
    return site.kind == SiteKind.FRIDA and site.state == SiteState.ARMED


def original(target: Target, site: SiteEntry) -> tuple[bytes, int]:
    """Return the code that Interceptor found at a place, and how many bytes of it it has overwritten."""
    head = target.memory.read(site.thunk - protocol.THUNK.size, protocol.THUNK.size)
    if len(head) < protocol.THUNK.size:
        return site.live, site.width
    saved = target.memory.read(protocol.THUNK.get(head, "base"), SAVED)
    return saved, min(protocol.THUNK.get(head, "inner"), len(saved))


def is_back(target: Target, site: SiteEntry) -> bool:
    """Return whether a place holds the program's own code again."""
    return target.memory.read(site.at, JUMP) == site.live[:JUMP]


def restore_tail(target: Target, site: SiteEntry) -> None:
    """Put back what lies behind the jump: nobody executes it before the jump is gone."""
    code, overwritten = original(target, site)
    if overwritten > JUMP:
        target.memory.write(site.at + JUMP, code[JUMP:overwritten])
