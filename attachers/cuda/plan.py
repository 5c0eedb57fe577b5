"""What each context of a process gets of our memory: maps on the device, rings in the session's region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runtime.nvptx.maps import Facts, Placed, Where, context_bytes, ring_control

PAGE = 4096
ALIGN = 256
MOST_RING = 4 << 20  # bytes of a ring's data in each context
CONTEXTS = 4  # that a session has room for in its region, where rings are
LOST = 8  # offset in a ring's control block


@dataclass(frozen=True, slots=True)
class Plan:
    """The maps of a session on devices; `facts`: what their programs find beside them."""

    placed: tuple[Placed, ...]
    facts: Facts

    @property
    def size(self) -> int:
        """Return the bytes of the allocation on the device."""
        return sum(_up(one.size) for one in self.placed if one.where is Where.DEVICE)

    @property
    def shared(self) -> int:
        """Return the bytes of the session's region that a context needs."""
        return sum(_shared(one) for one in self.placed)

    def devices(self) -> dict[int, int]:
        """Return where each map lies in the allocation, by index; those in the region are not there."""
        found, at = {}, 0
        for one in self.placed:
            if one.where is Where.DEVICE:
                found[one.index] = at
                at += _up(one.size)
        return found

    def hosts(self) -> dict[int, int]:
        """Return where in a context's part of the region the maps, or the rings' tails and data, begin."""
        found, at = {}, 0
        for one in self.placed:
            if _shared(one):
                found[one.index] = at
                at += _shared(one)
        return found

    def content(self, mapped: int) -> bytes:
        """Return what the allocation begins as; `mapped`: the device's address of the shared part, or 0."""
        out, hosts = bytearray(self.size), self.hosts()
        for index, at in self.devices().items():
            one = self.placed[index]
            initial = one.initial
            if one.ring and mapped:
                tail = mapped + hosts[index]
                initial = ring_control(one, tail + PAGE, tail)
            out[at : at + len(initial)] = initial
        return bytes(out)

    def constant(self, base: int, mapped: int, *, enabled: int) -> bytes:
        """Return the context constant of modules in a context."""
        devices, hosts = self.devices(), self.hosts()
        addresses = [
            base + devices[one.index] if one.where is Where.DEVICE else (mapped and mapped + hosts[one.index])
            for one in self.placed
        ]
        return context_bytes(self.placed, addresses, replace(self.facts, enabled=enabled))

    def part(self, index: int, copy: bytes) -> bytes:
        """Return a map's part of a copy of the allocation."""
        at = self.devices()[index]
        return copy[at : at + self.placed[index].size]


def plan_of(placed: Sequence[Placed], facts: Facts) -> Plan:
    """Return the plan; rings are no larger than what each context may have."""
    return Plan(tuple(replace(one, ring=min(one.ring, MOST_RING)) for one in placed), facts)


def _up(size: int) -> int:
    return (size + ALIGN - 1) & -ALIGN


def _shared(one: Placed) -> int:
    """Return the bytes in the region: of a map that the host has, or of a ring's tail and data."""
    if one.ring:
        return PAGE + one.ring
    return 0 if one.where is Where.DEVICE else (one.size + PAGE - 1) & -PAGE
