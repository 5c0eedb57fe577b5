"""Padding that can hold a jump: five bytes that no thread executes, within reach of a two-byte jump."""

from __future__ import annotations

from bisect import bisect_left, insort

SLOT = 5
REACH = 128  # of a rel8, from the end of the two-byte jump


class Holes:
    """Slots of one module's text, by address. A slot's first two bytes lie in one 64-byte line."""

    def __init__(self) -> None:
        self.barred: set[int] = set()  # addresses that cannot be sites for the probe at hand
        self._free: list[int] = []
        self._known: set[int] = set()
        self._used: list[int] = []
        self._kept: dict[int, int] = {}
        self._jumps: list[int] = []

    def add(self, start: int, size: int) -> None:
        """Offer `size` bytes of padding at `start`; what was offered before is not offered again."""
        if start in self._known:
            return
        self._known.add(start)
        at = start
        while at + SLOT <= start + size:
            if at % 64 == 63:
                at += 1
                continue
            if not self._overlaps(at, SLOT) and not _meets(self._jumps, at, SLOT):
                insort(self._free, at)
            at += SLOT

    def keep(self, site: int, hole: int) -> None:
        """Say that a slot is in use for `site`: only that site gets it again."""
        self._kept[site] = hole
        self._use(hole)

    def bar(self, site: int) -> None:
        """Say that a site's own jump of five bytes may reach into padding: nothing else goes there."""
        insort(self._jumps, site)
        self._drop(site, SLOT)

    def _use(self, hole: int) -> None:
        insort(self._used, hole)
        self._drop(hole, SLOT)

    def _drop(self, start: int, size: int) -> None:
        """Forget the free slots that overlap a range."""
        low, high = bisect_left(self._free, start - SLOT + 1), bisect_left(self._free, start + size)
        del self._free[low:high]

    def _overlaps(self, start: int, size: int) -> bool:
        return _meets(self._used, start, size)

    def claim(self, start: int, size: int) -> bool:
        """Take bytes of padding for a site's own jump; False when a slot there is in use."""
        if self._overlaps(start, size):
            return False
        self._drop(start, size)
        return True

    def take(self, site: int) -> int:
        """Return the nearest free slot for a two-byte jump at `site`, 0 for none; it is then in use."""
        if site in self._kept:
            return self._kept[site]
        end = site + 2
        index = bisect_left(self._free, end - REACH)
        best = 0
        while index < len(self._free) and self._free[index] - end < REACH:
            if not best or abs(self._free[index] - end) < abs(best - end):
                best = self._free[index]
            index += 1
        if best:
            self.keep(site, best)  # a second probe at this site jumps the same way
        return best


def _meets(slots: list[int], start: int, size: int) -> bool:
    """Say whether a range overlaps one of these slots, which are in order."""
    index = bisect_left(slots, start - SLOT + 1)
    return index < len(slots) and slots[index] < start + size
