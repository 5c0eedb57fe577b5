"""Hooks in the agent's table of sites, so that other tracers, and visitors of fork children, know of them."""

from __future__ import annotations

from attachers.interceptor.plan import PlannedHook
from attachers.patch.hooked import JUMP
from attachers.target import Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteKind, SiteState
from runtime.errors import TargetProblem


def enter(target: Target, hooks: list[PlannedHook]) -> list[int]:
    """Enter hooks that are about to be made; returns the indices of their entries.

    Raises:
        TargetProblem: the table is full, or the process has ended.
    """
    target.refresh()
    known = len(target.sites)
    free = [s.index for s in target.sites if s.state == SiteState.FREE]
    indices = [*free, *range(known, known + len(hooks))][: len(hooks)]
    if indices and indices[-1] >= protocol.MAX_SITES:
        raise TargetProblem(f"the process has more than {protocol.MAX_SITES} sites")
    for index, hook in zip(indices, hooks, strict=True):
        target.memory.write(_place(target, index), _entry(index, hook))
    most = max(known, indices[-1] + 1)
    at = target.state + protocol.STATE.fields["sites"].offset
    target.memory.write(at, most.to_bytes(4, "little"))
    return indices


def _entry(index: int, hook: PlannedHook) -> bytes:
    live = hook.original[:8]
    return protocol.SITE.pack(
        at=hook.at,
        kind=SiteKind.FRIDA,
        width=JUMP,
        live=live,
        want=live,
        index=index,
        thunk=hook.adapter,
        link=hook.probe.link,
        state=SiteState.ARMED,
    )


def confirm(target: Target, index: int, code: bytes) -> None:
    """Note the 8 bytes that a place now begins with."""
    target.memory.write(_place(target, index) + protocol.SITE.fields["want"].offset, code[:8])


def leave(target: Target, index: int) -> None:
    """Give an entry back."""
    at = _place(target, index) + protocol.SITE.fields["state"].offset
    target.memory.write(at, int(SiteState.FREE).to_bytes(4, "little"))


def _place(target: Target, index: int) -> int:
    return target.state + protocol.STATE_SITES + protocol.SITE.size * index
