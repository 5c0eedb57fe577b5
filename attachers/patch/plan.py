"""What will be written where in one process: the attach plan, as data.

It is made here and checked here; the agent only applies it. Addresses are absolute in the target. `str(plan)`
is what `--dry-run` prints.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from attachers.patch.site import Place
from runtime.agent import protocol
from runtime.agent.protocol import SiteKind
from runtime.errors import AttachProblem
from runtime.jit.image import Image
from runtime.symbols.modules import Module
from runtime.symbols.notes import Marker

if TYPE_CHECKING:
    from attachers.patch.spot import Spot

HOOK_LINK = 0xFFFF0001  # first link of our own probes (`attachers/hooks.py`): behind all of the user's
EXIT = 1  # flag of a site: its thunks run the displaced instructions before their programs
DECIDES = 2  # flag of a site: one of its thunks may decide that the function does not run


class When(Enum):
    """When a function probe fires."""

    ENTRY = "entry"
    RETURN = "return"
    INSIDE = "inside"
    OVERRIDE = "override"
    REPLACE = "replace"
    MARKER = "marker"

    @property
    def decides(self) -> bool:
        """Return whether the program decides that the function does not run."""
        return self in (When.OVERRIDE, When.REPLACE)


@dataclass(frozen=True, slots=True)
class Probe:
    """One program at one function of one process.

    `address` and `size` are the function's in the target; `at` is the probed instruction (the same as
    `address` unless `when` is INSIDE or MARKER). `link` and `session` (16 bytes) say whose it is. `marker`:
    the note of the nop at `at`. `exact`: the user has written the function's name, not a pattern.
    """

    name: str
    module: Module
    address: int
    size: int
    at: int
    when: When
    image: Image
    cookie: int
    link: int
    session: bytes
    others: tuple[tuple[int, int], ...] = ()
    tail: int = 32
    marker: Marker | None = None
    exact: bool = False

    @property
    def semaphore(self) -> int:
        """Return the address of its marker's counter in the target, 0 none."""
        return self.marker.semaphore + self.module.bias if self.marker and self.marker.semaphore else 0


# What is written where no distance is: int3; call rax
_FIXED = {SiteKind.TRAP: b"\xcc", SiteKind.PAGE: b"\xff\xd0"}


@dataclass(frozen=True, slots=True)
class Site:
    """One site to be written: a slot of the agent's table, the bytes before and after, the thunk."""

    index: int
    place: Place
    live: bytes
    thunk: int
    link: int
    name: str
    flags: int = 0

    def jump(self) -> bytes:
        """Return the bytes written at the site.

        Raises:
            AttachProblem: the thunk is out of reach.
        """
        place = self.place
        if place.kind in _FIXED:
            return _FIXED[place.kind]
        target = place.hole if place.kind is SiteKind.HOP2 else self.thunk
        if place.kind is SiteKind.HOP2:
            return b"\xeb" + struct.pack("<b", target - (place.address + 2))
        distance = target - (place.address + 5)
        if not -(1 << 31) <= distance < 1 << 31:
            raise AttachProblem(f"no thunk within 2 GiB of {place.address:#x}", errno=34)
        return b"\xe9" + struct.pack("<i", distance)

    def pack(self) -> bytes:
        """Return the entry as the agent reads it."""
        jump = self.jump()
        live = self.live[:8].ljust(8, b"\0")
        return protocol.SITE.pack(
            at=self.place.address,
            hole=self.place.hole,
            kind=self.place.kind,
            width=self.place.width,
            pushes=len(self.place.walked),
            flags=self.flags,
            live=live,
            want=jump + live[len(jump) :],
            index=self.index,
            thunk=self.thunk,
            link=self.link,
        )


@dataclass
class AttachPlan:
    """All edits of one attach to one process.

    `chunks`: code to write as (address, bytes, bytes of its arena then in use). `sites_of`: addresses of the
    sites of each link. `relinks`: last jumps of thunks that are there, and where they lead from now on;
    `heads`: such thunks and their next ones. `frames`: addresses of unwind entries to register, with the
    links whose thunks need them. `reads_memory`: programs read what pointers point to. `refused`: links
    without a place, and why. `counters`: link and address of each marker's counter, with the sites that
    count there. `thunks`: what was placed, with address and bytes of its thunk.
    """

    pid: int
    probes: tuple[Probe, ...] = ()
    chunks: list[tuple[int, bytes, int]] = field(default_factory=list)
    by_address: dict[int, Site] = field(default_factory=dict)
    frames: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    relinks: list[tuple[int, int]] = field(default_factory=list)
    heads: list[tuple[int, int]] = field(default_factory=list)
    reads_memory: bool = False
    refused: dict[int, AttachProblem] = field(default_factory=dict)
    sites_of: dict[int, list[int]] = field(default_factory=dict)
    counters: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    thunks: list[tuple[Spot, int, int]] = field(default_factory=list)

    @property
    def sites(self) -> list[Site]:
        """Return the sites to be written."""
        return list(self.by_address.values())

    def __str__(self) -> str:
        size = sum(len(code) for _, code, _ in self.chunks)
        lines = [f"process {self.pid}: {len(self.sites)} sites, {size} bytes of code"]
        lines += [_describe(site) for site in self.sites]
        lines += [f"  link {link}: refused: {problem}" for link, problem in self.refused.items()]
        return "\n".join(lines)


def _describe(site: Site) -> str:
    place = site.place
    hole = f" by {place.hole:#x}" if place.hole else ""
    moved = "; ".join(
        f"{i.mnemonic} {i.operands}".strip() for i in (*place.displaced, *([place.ret] if place.ret else []))
    )
    return (
        f"  {site.name}: {place.kind.name.lower()} at {place.address:#x}{hole} -> {site.thunk:#x}  [{moved}]"
    )
