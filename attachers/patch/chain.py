"""The thunks of one site, in the order in which they run.

A site leads to its first thunk; each ends with a jump that can be changed while threads run: to the next one,
or to its own copy of what the site still has to do. The order: return probes that wrap the call, the newest
outermost, so that their programs run oldest first when it comes back; then entry programs, oldest first;
last the one that may decide that the function does not run.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import ThunkKind

LONGEST = 256  # thunks at one site
_RANKS = {ThunkKind.THROUGH: 0, ThunkKind.SWAP: 0, ThunkKind.RUN: 1, ThunkKind.OVERRIDE: 2}


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
    return _RANKS.get(ThunkKind(kind), 1)


def place_of(kind: int, kinds: list[int]) -> int:
    """Return the index at which a new thunk goes among those of the kinds that stand at the site."""
    mine = rank(kind)
    before = [k for k in kinds if rank(k) < mine or (rank(k) == mine and mine > 0)]
    return len(before)
