"""Wait until no thread can stand in padding that held one of our jumps, then give the padding back.

A thread that was preempted at a hole's jump leaves it with its next instruction. So the holes are free once
every thread was seen blocked elsewhere or has run since the site was restored. Thunks are reused likewise,
but not where one called a function's body: a thread may return to it hours later. A program may wait, for
room in a ring or for us, and runs a little each time: what threads have run counts from the last wait of any.
A signal's handler may block above code of ours: frames of signals say where it will go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState
from runtime.errors import ObjectProblem, TargetProblem

PATIENCE = 0.3  # seconds
RAN = 20_000  # ns on a CPU that make sure of many instructions
RAN_THUNK = 1_000_000  # ns on a CPU that make sure of the end of a program, loops included
SLOT = 5
PAGE = (0, 4096)  # by which calls may lead into thunks
STACK = 1 << 16  # bytes above a blocked thread's stack pointer where frames of signals may lie
# cs, gs, fs and ss as a signal's frame keeps them, so far behind rip (asm/sigcontext.h: struct sigcontext_64)
RIP_BEFORE = 16
SEGMENTS = bytes.fromhex("3300 0000 0000 2b00")


def settle(target: Target, patience: float = PATIENCE) -> bool:
    """Give padding back and let arenas be filled anew, as far as no thread can stand there.

    Returns whether no thread can be inside a thunk that was taken out: what it used may then be unmapped.
    What is not clear within `patience` seconds stays for a later visit.
    """
    waiting = [s for s in target.sites if s.state == SiteState.REMOVED]
    watch = _Watch(target, [s.hole for s in waiting if s.hole])
    deadline = time.monotonic() + patience
    while not watch.is_over and time.monotonic() < deadline:
        time.sleep(0.001)
        watch.look()
    if waiting and not watch.near_holes:
        _release_holes(target, waiting)
    kept = any(a.is_kept for a in target.arenas)
    if watch.in_thunks or kept:
        return False
    if all(s.state == SiteState.FREE for s in target.sites) and not target.is_sampled:
        _empty_arenas(target)
    return True


def wait_outside(target: Target, patience: float) -> bool:
    """Wait until every thread was seen blocked outside our code, or has run long enough to have left any."""
    watch = _Watch(target, [])
    deadline = time.monotonic() + patience
    while not watch.is_over and time.monotonic() < deadline:
        time.sleep(0.001)
        watch.look()
    return watch.is_over


class _Watch:
    """Threads that may stand in holes (`near_holes`) or in thunks (`in_thunks`): tid → CPU ns to reach."""

    def __init__(self, target: Target, holes: list[int]) -> None:
        self._target, self._pid = target, target.pid
        self._waits = self._read_waits()
        self._holes = [(h, h + SLOT) for h in holes]
        agent = target.constant("agent_base")
        self._code = [PAGE, *((a.base, a.base + a.size) for a in target.arenas)]
        self._code.append((agent, agent + target.constant("agent_bytes")))
        ran = {tid: _cpu_ns(target.pid, tid) for tid in _tids(target.pid)}
        self.near_holes = {tid: ns + RAN for tid, ns in ran.items()} if holes else {}
        self.in_thunks = {tid: ns + RAN_THUNK for tid, ns in ran.items()}
        self.look()

    @property
    def is_over(self) -> bool:
        return not self.near_holes and not self.in_thunks

    def look(self) -> None:
        """Strike out the threads that are blocked elsewhere, have run long enough, or are gone."""
        self.near_holes = self._left(self.near_holes, self._holes)
        inside = self._left(self.in_thunks, self._code)
        waits = self._read_waits()
        if waits != self._waits:
            self._waits = waits
            inside = {tid: _cpu_ns(self._pid, tid) + RAN_THUNK for tid in self.in_thunks}
        self.in_thunks = inside

    def _left(self, pending: dict[int, int], ranges: list[tuple[int, int]]) -> dict[int, int]:
        return {tid: ns for tid, ns in pending.items() if not _is_clear(self._target, tid, ns, ranges)}

    def _read_waits(self) -> bytes:
        return self._target.memory.read(self._target.state + protocol.STATE_WAITS, 8)


def _release_holes(target: Target, waiting: list[SiteEntry]) -> None:
    for site in waiting:
        if site.hole:
            _restore(target, site.hole)
        free(target, site)
    target.sites = [s for s in target.sites if s.state != SiteState.REMOVED]


def _empty_arenas(target: Target) -> None:
    for arena in target.arenas:
        field = protocol.ARENA.fields["code_used"].offset
        target.memory.write(target.state + protocol.STATE_ARENAS + 32 * arena.index + field, bytes(4))
        arena.used = 0


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


def free(target: Target, site: SiteEntry) -> None:
    """Give a slot of the site table back."""
    place = target.state + protocol.STATE_SITES + 64 * site.index + protocol.SITE.fields["state"].offset
    target.memory.write(place, SiteState.FREE.to_bytes(4, "little"))


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


def _is_clear(target: Target, tid: int, enough: int, ranges: list[tuple[int, int]]) -> bool:
    place = Path(f"/proc/{target.pid}/task/{tid}")
    try:
        words = (place / "syscall").read_text().split()
    except OSError:
        return not place.exists()
    if not words or words[0] == "running":
        return _cpu_ns(target.pid, tid) > enough
    stack, at = int(words[-2], 16), int(words[-1], 16)
    stands_at = [at, *_interrupted(target.memory.read(stack, STACK), stack)]
    return not any(start <= one < end for one in stands_at for start, end in ranges)


def _interrupted(data: bytes, stack: int) -> Iterator[int]:
    """Yield where signals came whose handlers have not returned; `data` lies at the stack pointer."""
    at = data.find(SEGMENTS)
    while at >= 0:
        if at >= RIP_BEFORE and (stack + at) % 8 == 0:
            yield int.from_bytes(data[at - RIP_BEFORE : at - RIP_BEFORE + 8], "little")
        at = data.find(SEGMENTS, at + 1)
