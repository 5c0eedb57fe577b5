"""Padding that can hold a jump: five bytes that no thread executes, within reach of a two-byte jump."""

from __future__ import annotations

from bisect import bisect_left, insort

SLOT = 5
REACH = 128  # of a rel8, from the end of the two-byte jump


class Holes:
    """Free slots of one module's text, by address. A slot's first two bytes lie in one 64-byte line."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._known: set[tuple[int, int]] = set()

    def add(self, start: int, size: int) -> None:
        """Offer `size` bytes of padding at `start`; what was offered before is not offered again."""
        if (start, size) in self._known:
            return
        self._known.add((start, size))
        at = start
        while at + SLOT <= start + size:
            if at % 64 == 63:
                at += 1
                continue
            insort(self._free, at)
            at += SLOT

    def reserve(self, address: int) -> None:
        """Take a slot that is in use already, wherever it overlaps."""
        self._free = [h for h in self._free if not h - SLOT < address < h + SLOT]

    def take(self, site: int) -> int:
        """Return the nearest free slot for a two-byte jump at `site`, 0 when there is none; it is then in use."""
        end = site + 2
        index = bisect_left(self._free, end - REACH)
        best = -1
        while index < len(self._free) and self._free[index] - end < REACH:
            if best < 0 or abs(self._free[index] - end) < abs(self._free[best] - end):
                best = index
            index += 1
        return self._free.pop(best) if best >= 0 else 0

    def give(self, address: int) -> None:
        """Return a slot that was taken and not used."""
        insort(self._free, address)
