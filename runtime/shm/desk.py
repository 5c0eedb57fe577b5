"""The desk of a session: where threads of targets say what they are about to do, and wait for the tracer.

A place is taken by the target's thread and freed by it, but for one whose thread has ended or become another
program: that one is freed here. Layout: `runtime/agent/protocol.py`, KNOCK; the other side is `desk.c`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.agent import protocol
from runtime.agent.protocol import KnockReason, KnockState
from runtime.shm.region import Region

FUTEX, WAKE = 202, 1
STALE = 20.0  # seconds after which a place that nobody gave back is taken back
EVERYBODY = 1 << 30


@dataclass(frozen=True, slots=True)
class Knock:
    """What one thread has said. Numbers are those of its own pid namespace, whose inode is `namespace`."""

    place: int
    reason: KnockReason
    pid: int
    tid: int
    namespace: int
    argument: int


class Desk:
    """All places of a session's desk."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._answered: dict[int, float] = {}
        self._closed = False

    def _at(self, place: int) -> int:
        return protocol.REGION_DESK + place * protocol.KNOCK.size

    def state(self, place: int) -> int:
        """Return the state of a place."""
        return protocol.KNOCK.get(self._region.buffer, "state", self._at(place))

    def look(self) -> Iterator[Knock]:
        """Give what is new; each is noted as seen, so its thread waits on. Places left late are freed."""
        self._sweep()
        if self._region.get("off") and not self._closed:
            self._region.put("off", 0)  # we were stopped for so long that somebody gave us up
        for place in range(protocol.DESK_PLACES):
            state = self.state(place)
            if state in (KnockState.WAITING, KnockState.LATE):
                knock = self._read(place)
                self._set(place, KnockState.SEEN if state == KnockState.WAITING else KnockState.FREE)
                if knock is not None:
                    yield knock

    def waiting(self) -> Iterator[Knock]:
        """Give what nobody has looked at, and leave it so."""
        for place in range(protocol.DESK_PLACES):
            knock = self._read(place) if self.state(place) == KnockState.WAITING else None
            if knock is not None:
                yield knock

    def _read(self, place: int) -> Knock | None:
        values = protocol.KNOCK.unpack(self._region.buffer, self._at(place))
        try:
            reason = KnockReason(values["reason"])
        except ValueError:  # a target may write here what it likes
            return None
        return Knock(
            place, reason, values["ns_pid"], values["ns_tid"], values["ns_inode"], values["argument"]
        )

    def answer(self, knock: Knock) -> None:
        """Let a thread go on."""
        if self.state(knock.place) in (KnockState.WAITING, KnockState.SEEN):
            self._answered[knock.place] = time.monotonic()
            self._set(knock.place, KnockState.GO)

    def _sweep(self) -> None:
        """Free places whose thread was killed while it waited."""
        for place, since in list(self._answered.items()):
            if self.state(place) != KnockState.GO:
                del self._answered[place]
            elif time.monotonic() - since > STALE:
                self._set(place, KnockState.FREE)

    def free(self, knock: Knock) -> None:
        """Take a place back whose thread is no more."""
        self._set(knock.place, KnockState.FREE)

    def has_failed(self, knock: Knock) -> bool:
        """Return whether the thread that was to become another program says that it could not."""
        values = protocol.KNOCK.unpack(self._region.buffer, self._at(knock.place))
        return values["state"] == KnockState.WAITING and values["reason"] == KnockReason.EXEC_FAILED

    def close(self) -> None:
        """Send everybody on; who comes from now on does not wait."""
        self._closed = True
        self._region.put("off", 1)
        for place in range(protocol.DESK_PLACES):
            if self.state(place) in (KnockState.WAITING, KnockState.SEEN):
                self._set(place, KnockState.GO)

    def _set(self, place: int, state: KnockState) -> None:
        at = self._at(place)
        protocol.KNOCK.put(self._region.buffer, "state", int(state), at)
        word = ctypes.c_uint32.from_buffer(self._region.buffer, at)
        self._libc.syscall(FUTEX, ctypes.byref(word), WAKE, EVERYBODY, None, None, 0)
