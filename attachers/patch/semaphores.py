"""Counters by which a program knows that somebody listens to its markers (`sys/sdt.h`, _SDT_HAS_SEMAPHORES).

Each link counts once at each counter of its markers. The heads of its thunks name the counter, so that
whoever takes the link out, also after its tracer has died and in a forked child, can count back.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable

from attachers.inject.frames import Request
from attachers.target import Target
from runtime.agent.protocol import Op
from runtime.symbols.maps import read_maps

_WRITE = 2  # PROT_WRITE
Owner = tuple[bytes, int, int]  # session, link, address of the counter


def count_request(target: Target, addresses: Iterable[int], delta: int) -> list[Request]:
    """Return the request that adds to counters; those that lie in no writable memory are left out.

    A counter never goes below zero: the agent leaves it there.
    """
    wanted = sorted(addresses)
    if not wanted:
        return []
    writable = [m for m in read_maps(target.pid) if m.protection & _WRITE]
    starts = [m.start for m in writable]
    found = []
    for address in wanted:
        index = bisect_right(starts, address) - 1
        if index >= 0 and address + 2 <= writable[index].end:
            found.append(struct.pack("<Qq", address, delta))
    return [Request(Op.SEMAPHORE, b"".join(found))] if found else []


def unowned(removed: Iterable[Owner], kept: Iterable[Owner]) -> list[int]:
    """Return the counters that links no longer count at: one entry for each link that has left."""
    return [address for _, _, address in sorted(set(removed) - set(kept)) if address]
