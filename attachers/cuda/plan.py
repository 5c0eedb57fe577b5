"""What each context of a process gets of our memory: maps on the device, rings in the session's region."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from attachers.cuda.contexts import Context
from runtime.maps.spec import MapSpec
from runtime.nvptx.layout import DATA, RINGS, block_of
from runtime.nvptx.maps import Facts, Placed, Where, context_bytes

PAGE = 4096
ALIGN = 256
MOST_RING = 4 << 20  # bytes of a ring's data in each context
CONTEXTS = 4  # that a session has room for in its region, where rings are
LOST = 8  # offset in a ring's control block


@dataclass(frozen=True, slots=True)
class Plan:
    """The maps of a session on devices; `facts`: what their programs find beside them.

    `homes`: where in the region the values of the session's own maps begin that devices use, by index.
    `clocked`: programs ask for the time.
    """

    placed: tuple[Placed, ...]
    facts: Facts
    homes: dict[int, int] = field(default_factory=dict)
    clocked: bool = False

    @property
    def own(self) -> tuple[int, int]:
        """Return the pages of the region (offset, bytes) that hold the session's own maps; empty for none."""
        if not self.homes:
            return 0, 0
        start = min(self.homes.values()) // PAGE * PAGE
        end = max(at + block_of(self.placed[index].spec) for index, at in self.homes.items())
        return start, _page(end - start)

    @property
    def size(self) -> int:
        """Return the bytes of the allocation on the device."""
        return sum(up(one.size) for one in self.placed if one.where is Where.DEVICE)

    @property
    def rings(self) -> int:
        """Return the bytes of the host's memory that rings lie in."""
        return max((one.ring + one.ring_size for one in self.placed if one.ring >= 0), default=0)

    @property
    def shared(self) -> int:
        """Return the bytes of the session's region that a context needs: rings, then maps of the host."""
        return _page(self.rings) + sum(_page(one.size) for one in self.placed if one.where is Where.PINNED)

    def devices(self) -> dict[int, int]:
        """Return where each map lies in the allocation, by index; those in the region are not there."""
        found, at = {}, 0
        for one in self.placed:
            if one.where is Where.DEVICE:
                found[one.index] = at
                at += up(one.size)
        return found

    def hosts(self) -> dict[int, int]:
        """Return where in a context's part of the region the maps of the host lie."""
        found, at = {}, _page(self.rings)
        for one in self.placed:
            if one.where is Where.PINNED:
                found[one.index] = at
                at += _page(one.size)
        return found

    def content(self) -> bytes:
        """Return what the allocation begins as."""
        out = bytearray(self.size)
        for index, at in self.devices().items():
            initial = self.placed[index].initial
            out[at : at + len(initial)] = initial
        return bytes(out)

    def constant(self, context: Context, *, enabled: int) -> bytes:
        """Return the constant of modules in a context; nothing runs that needs memory which it lacks."""
        starts = {index: context.base + at for index, at in self.devices().items()}
        starts |= {index: context.mapped + at for index, at in self.hosts().items()}
        starts |= {index: context.own + at - self.own[0] - DATA for index, at in self.homes.items()}
        addresses = [starts[one.index] for one in self.placed]
        is_whole = (context.mapped or not self.shared) and (context.own or not self.homes)
        facts = replace(self.facts, enabled=enabled if is_whole else 0, clock_offset=context.clock)
        return context_bytes(addresses, context.mapped, facts)

    def part(self, index: int, copy: bytes) -> bytes:
        """Return a map's part of a copy of the allocation."""
        at = self.devices()[index]
        return copy[at : at + self.placed[index].size]


def small(spec: MapSpec) -> MapSpec:
    """Return a map as devices have it: a ring is no larger than what each context may have."""
    return replace(spec, max_entries=min(spec.max_entries, MOST_RING)) if spec.kind in RINGS else spec


def up(size: int) -> int:
    """Round bytes of device memory up."""
    return (size + ALIGN - 1) & -ALIGN


def _page(size: int) -> int:
    return (size + PAGE - 1) & -PAGE
