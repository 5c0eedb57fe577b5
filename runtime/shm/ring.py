"""Consume a ring that targets fill: records in order, losses counted, nothing in it trusted.

Page 0 belongs to producers (position, losses), page 1 to the consumer, data follow. A record is `u32 length
and flags, u32 tag`, its payload, padding to 8. The tag names the position and the producer's process slot, so
that a stale header of an earlier lap is never taken for a new one. The C side is `runtime/agent/ring.h`.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from runtime.shm.runs import TAG, TAG_BITS, run_at
from runtime.types import Run

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY, DISCARD = 1 << 31, 1 << 30
LENGTH = DISCARD - 1
PRODUCED, LOST, LOST_BYTES, SECRET = 0, 64, 72, 136
NAPS = 152
CONSUMED, DATA = 4096, 8192
BATCH = 1 << 20  # bytes read before the consumer's position is published
PATIENCE = 0.05  # seconds that a claimed record may stay unfinished before its producer is looked at
HEADER = struct.Struct("<II")
WORD = struct.Struct("<Q")


def _alive(_slot: int) -> bool:
    return True


class RingReader:
    """Reader of the ring whose page 0 is at `start` of `view`; `size` is that of the data, in bytes.

    `is_alive` says whether the process of a slot still runs; records that a dead one left unfinished are
    skipped and counted in `abandoned`. `patience`: how often producers nap (0.2 ms) before a record is lost.
    """

    def __init__(
        self,
        view: memoryview,
        start: int,
        size: int,
        *,
        is_alive: Callable[[int], bool] = _alive,
        patience: int = 0,
    ) -> None:
        self.view, self.start, self.size, self.is_alive = view, start, size, is_alive
        self.data = view[start + DATA : start + DATA + size]
        self.secret: int = struct.unpack_from("<I", view, start + SECRET)[0]
        self.position: int = WORD.unpack_from(view, start + CONSUMED)[0]
        self.abandoned = 0
        self.stalled = 0.0
        self.patience = patience
        self._final: tuple[int, int] | None = None
        self._ask_to_wait()

    def _ask_to_wait(self) -> None:
        if self.patience:
            struct.pack_into("<I", self.view, self.start + NAPS, self.patience)

    def release(self) -> None:
        """End the recording: nobody waits for us any more; what finds no room from now on is not lost."""
        self.patience = 0
        struct.pack_into("<I", self.view, self.start + NAPS, 0)
        self._final = self._losses()

    def _losses(self) -> tuple[int, int]:
        view, start = self.view, self.start
        return WORD.unpack_from(view, start + LOST)[0], WORD.unpack_from(view, start + LOST_BYTES)[0]

    @property
    def lost(self) -> int:
        """Count of records that did not fit."""
        return (self._final or self._losses())[0]

    @property
    def lost_bytes(self) -> int:
        """Bytes of records that did not fit."""
        return (self._final or self._losses())[1]

    def pending(self) -> int:
        """Give the bytes that are claimed and not yet consumed."""
        produced: int = WORD.unpack_from(self.view, self.start + PRODUCED)[0]
        pending: int = produced - self.position
        return min(max(pending, 0), self.size)

    def drain(self, limit: int = 1 << 30) -> list[bytes]:
        """Give the payloads of finished records in order, at most `limit`."""
        found: list[bytes] = []
        for item in self.take(limit):
            found += item.payloads() if isinstance(item, Run) else [item]
        return found

    def take(self, limit: int = 1 << 30) -> list[bytes | Run]:
        """Give finished records in order, at most `limit`: payloads, and runs of records that look alike."""
        items: list[bytes | Run] = []
        left = limit
        while left > 0:
            pending = self.pending()
            if not pending:
                break
            before = self.position
            left -= self._batch(self._copy(min(pending, BATCH)), items, left)
            if self.position == before and pending > BATCH:
                left -= self._batch(self._copy(pending), items, left)  # one record larger than a batch
            if self.position != before:
                self.stalled = 0.0
            elif not self._unstick(pending):
                break
            WORD.pack_into(self.view, self.start + CONSUMED, self.position)
            self._ask_to_wait()
        return items

    def _copy(self, count: int) -> bytes:
        at = self.position & (self.size - 1)
        chunk = bytes(self.data[at : at + count])
        return chunk if len(chunk) == count else chunk + bytes(self.data[: count - len(chunk)])

    def _tag(self, position: int) -> int:
        tag: int = TAG & (position >> 3 ^ position >> 26 ^ self.secret)
        return tag

    def _batch(self, chunk: bytes, items: list[bytes | Run], limit: int) -> int:
        """Decode the records of a copy of the data and count them; one that the copy cuts off is left."""
        at, end, taken = 0, len(chunk), 0
        position, secret = self.position, self.secret
        unpack = HEADER.unpack_from
        while at + 8 <= end and taken < limit:
            length, tag = unpack(chunk, at)
            place = position + at
            if length & BUSY or (tag ^ place >> 3 ^ place >> 26 ^ secret) & TAG:
                break
            size = length & LENGTH
            after = at + 8 + (size + 7 & ~7)
            if after > end:
                break
            if after + 8 <= end and unpack(chunk, after)[0] == length:
                run = run_at(chunk, at, position, secret, limit - taken)
                if run is not None:
                    items.append(run)
                    at += run.count * run.stride
                    taken += run.count
                    continue
            if not length & DISCARD:
                items.append(chunk[at + 8 : at + 8 + size])
                taken += 1
            at = after
        self.position = position + at
        return taken

    def _unstick(self, pending: int) -> bool:
        """Look at a record that does not get finished; skip it where its producer is gone."""
        now = time.monotonic()
        if not self.stalled:
            self.stalled = now
        if now - self.stalled < PATIENCE:
            return False
        length, tag = HEADER.unpack_from(self._copy(8))
        if (tag ^ self._tag(self.position)) & TAG:
            return self._scan(pending)
        if self.is_alive(tag >> TAG_BITS):
            return False
        self.position += min(8 + ((length & LENGTH) + 7 & ~7), pending)
        return self._skipped()

    def _scan(self, pending: int) -> bool:
        """A claim without a header: go on at the next place that holds a header of its own."""
        chunk = self._copy(min(pending, BATCH))
        for at in range(8, len(chunk) - 7, 8):
            length, tag = HEADER.unpack_from(chunk, at)
            if not (tag ^ self._tag(self.position + at)) & TAG and (length & LENGTH) + at < pending:
                self.position += at
                return self._skipped()
        return False

    def _skipped(self) -> bool:
        self.abandoned += 1
        self.stalled = 0.0
        return True
