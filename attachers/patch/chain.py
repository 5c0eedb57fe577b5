"""The thunks of one site, in the order in which they run.

A site leads to its first thunk; each ends with a jump that can be changed while threads run: to the next one,
or to its own copy of what the site still has to do. The order: return probes that wrap the call, the newest
outermost, so that their programs run oldest first when it comes back; then entry programs, oldest first;
then the one that may decide that the function does not run; then, where the function makes a system call at
once, those before that call, the one that may leave it out, and those behind it.

Thunks differ in how much of the site's own work they have done when their program runs: their *level*. It
only grows along a chain, and each thunk can be entered from any lower level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import ThunkKind
from runtime.errors import AttachProblem

LONGEST = 256  # thunks at one site
_RANKS: dict[int, int] = {
    ThunkKind.THROUGH: 0,
    ThunkKind.SWAP: 0,
    ThunkKind.RUN: 1,
    ThunkKind.OVERRIDE: 2,
    ThunkKind.CALL: 3,
    ThunkKind.CALL_SKIP: 4,
    ThunkKind.CALL_MOVED: 5,
}
SYSCALL = 2  # bytes of the instruction: it stands before `inner` of a thunk that makes the call itself
DECIDING = (ThunkKind.OVERRIDE,)  # kinds of which a site has one at most
START, DISPLACED, CALLED = 0, 1, 2  # levels: nothing is done, all up to a call is, the call is as well


class Entered(NamedTuple):
    """Where a thunk starts, where others of its level enter it, and that level."""

    thunk: int
    inner: int
    level: int

    def entered_from(self, level: int) -> int:
        """Return where a thunk of a level enters this one.

        Raises:
            AttachProblem: that one has done more already.
        """
        if self.level == level or self.inner == self.thunk:
            return self.inner
        if level > self.level:
            raise AttachProblem(f"another kind of probe owns the place before {self.thunk:#x}", errno=16)
        return self.inner - SYSCALL if (self.level, level) == (CALLED, DISPLACED) else self.thunk


@dataclass(frozen=True, slots=True)
class Node:
    """One thunk of a site's chain, as its head tells.

    `inner`: where one before it enters it; `jump`: its last jump; `base`: its copy of the site's own work.
    `semaphore`: the counter of its marker, 0 none.
    """

    thunk: int
    session: bytes
    link: int
    kind: int
    next: int
    base: int
    jump: int
    inner: int
    semaphore: int

    @property
    def level(self) -> int:
        """Return how much of the site's work is done when its program runs."""
        return level_of(self.kind, self.inner - self.thunk)

    @property
    def entered(self) -> Entered:
        """Return how other thunks enter it."""
        return Entered(self.thunk, self.inner, self.level)


def level_of(kind: int, inner: int) -> int:
    """Return the level of a thunk; `inner`: how far behind its start others enter it."""
    if kind == ThunkKind.CALL_MOVED:
        return CALLED
    return DISPLACED if inner else START


def chain(target: Target, site: SiteEntry) -> list[Node]:
    """Return the thunks of a site in the order in which they run."""
    nodes: list[Node] = []
    at = site.thunk
    while at and len(nodes) < LONGEST:
        raw = target.memory.read(at - protocol.THUNK.size, protocol.THUNK.size)
        if len(raw) < protocol.THUNK.size:
            break
        values = protocol.THUNK.unpack(raw)
        nodes.append(
            Node(
                at,
                protocol.THUNK.text(raw, "session"),
                values["link"],
                values["kind"],
                values["next"],
                values["base"],
                values["jump"],
                at + values["inner"],
                values["semaphore"],
            )
        )
        at = values["next"]
    return nodes


def rank(kind: int) -> int:
    """Return where thunks of a kind stand at a site: low ones run first."""
    return _RANKS.get(kind, 1)


def place_of(kind: int, kinds: list[int]) -> int:
    """Return the index at which a new thunk goes among those of the kinds that stand at the site."""
    mine = rank(kind)
    before = [k for k in kinds if rank(k) < mine or (rank(k) == mine and mine > 0)]
    return len(before)
