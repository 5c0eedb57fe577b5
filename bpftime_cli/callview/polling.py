"""Waiting for descriptors: poll(2), select(2) and epoll(7) as text."""

from __future__ import annotations

import struct

from bpftime_cli.callview.field import Field, pointer
from runtime.syscalls.flags import sets

EPOLL = struct.Struct("<IQ")  # packed on x86-64
POLL = struct.Struct("<ihh")


def epoll_event(data: bytes, _: int) -> str:
    """Return a struct epoll_event."""
    events, value = EPOLL.unpack_from(data)
    names = sets()["epoll"].text(events)
    return f"{{events={names}, data={{u32={value & 0xFFFFFFFF}, u64={value}}}}}"


def epoll_events(f: Field) -> str:
    """Return those that epoll_wait has given."""
    if not f.word or f.call.result < 0 or len(f.data) < EPOLL.size * min(1, f.call.result):
        return pointer(f.word)
    count = len(f.data) // EPOLL.size
    rows = [epoll_event(f.data[at * EPOLL.size :], 0) for at in range(count)]
    return f"[{', '.join(rows)}{', ...' if count < f.call.result else ''}]"


def polled(f: Field) -> str:
    """Return what poll waits for."""
    if not f.word or len(f.data) < POLL.size:
        return pointer(f.word) if f.other(1) else "[]" if f.word else "NULL"
    names = sets()["poll"]
    rows = [
        f"{{fd={fd}, events={names.text(events & 0xFFFF)}}}"
        for fd, events, _ in POLL.iter_unpack(_whole(f.data))
    ]
    return f"[{', '.join(rows)}{', ...' if len(rows) < f.other(1) else ''}]"


def came(data: bytes) -> str:
    """Return what has come of what poll waited for."""
    names = sets()["poll"]
    rows = [
        f"{{fd={fd}, revents={names.text(came & 0xFFFF)}}}"
        for fd, _, came in POLL.iter_unpack(_whole(data))
        if came
    ]
    return f"[{', '.join(rows)}]"


def _whole(data: bytes) -> bytes:
    return data[: len(data) // POLL.size * POLL.size]


def descriptors(data: bytes, count: int) -> str:
    """Return a set of select; `count`: descriptors that count."""
    bits = int.from_bytes(data, "little")
    return f"[{' '.join(str(n) for n in range(min(count, 8 * len(data))) if bits >> n & 1)}]"


def selected(f: Field) -> str:
    """Return a set that select waits for."""
    if not f.word or (not f.before and f.other(0)):
        return pointer(f.word)
    return descriptors(f.before, f.other(0))
