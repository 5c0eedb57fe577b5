"""Wait until no thread can stand in padding that held one of our jumps, then give the padding back.

A thread that was preempted at a hole's jump leaves it with its next instruction. So the holes are free once
every thread was seen blocked elsewhere or has run since the site was restored. Thunks are reused likewise,
but not where one called a function's body: a thread may return to it hours later.
"""

from __future__ import annotations

import time
from pathlib import Path

from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState
from runtime.errors import ObjectProblem, TargetProblem

PATIENCE = 0.4  # seconds
RAN = 20_000  # ns on a CPU that make sure of many instructions
RAN_THUNK = 1_000_000  # ns on a CPU that make sure of the end of a program, loops included
SLOT = 5


def release_holes(target: Target) -> int:
    """Restore the padding of all sites that were removed; returns how many had to be left for a later visit."""
    waiting = [s for s in target.sites if s.state == SiteState.REMOVED]
    if not waiting:
        return 0
    holes = [(s.hole, s.hole + SLOT) for s in waiting if s.hole]
    if holes and not wait_clear(target.pid, holes):
        return len(holes)
    for site in waiting:
        if site.hole:
            _restore(target, site.hole)
        _free(target, site)
    target.sites = [s for s in target.sites if s.state != SiteState.REMOVED]
    return 0


def release_arenas(target: Target) -> bool:
    """Let arenas be filled from the start again, when no site leads there and no thread can be inside.

    Returns whether no thread can be inside a thunk that was taken out: what it used may then be unmapped.
    """
    if any(a.is_kept for a in target.arenas):
        return False
    ranges = [(a.base, a.base + a.size) for a in target.arenas]
    agent = target.constant("agent_base")
    ranges.append((agent, agent + target.constant("agent_bytes")))
    if not wait_clear(target.pid, ranges, ran=RAN_THUNK):
        return False
    if all(s.state == SiteState.FREE for s in target.sites):
        for arena in target.arenas:
            field = protocol.ARENA.fields["code_used"].offset
            target.memory.write(target.state + protocol.STATE_ARENAS + 32 * arena.index + field, bytes(4))
            arena.used = 0
    return True


def _restore(target: Target, hole: int) -> None:
    """Write the file's own bytes over a hole; nobody executes it now."""
    module = target.module_of(hole)
    if module is None:
        return
    try:
        offset = module.elf.to_offset(hole - module.bias)
        original = bytes(module.elf.data[offset : offset + SLOT]) if offset >= 0 else b""
        if len(original) == SLOT:
            target.memory.write(hole, original)
    except (ObjectProblem, TargetProblem):
        return


def _free(target: Target, site: SiteEntry) -> None:
    place = target.state + protocol.STATE_SITES + 64 * site.index + protocol.SITE.fields["state"].offset
    target.memory.write(place, SiteState.FREE.to_bytes(4, "little"))


def wait_clear(pid: int, ranges: list[tuple[int, int]], *, ran: int = RAN) -> bool:
    """Return whether every thread is soon seen blocked outside the ranges, or has run for `ran` ns."""
    deadline = time.monotonic() + PATIENCE
    pending = {tid: _cpu_ns(pid, tid) for tid in _tids(pid)}
    while True:
        pending = {tid: ns for tid, ns in pending.items() if not _is_clear(pid, tid, ns + ran, ranges)}
        if not pending:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


def _tids(pid: int) -> list[int]:
    try:
        return [int(p.name) for p in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _cpu_ns(pid: int, tid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _is_clear(pid: int, tid: int, enough: int, ranges: list[tuple[int, int]]) -> bool:
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except OSError:
        return not Path(f"/proc/{pid}/task/{tid}").exists()
    if words and words[0] != "running":
        at = int(words[-1], 16)
        return not any(start <= at < end for start, end in ranges)
    return _cpu_ns(pid, tid) > enough
