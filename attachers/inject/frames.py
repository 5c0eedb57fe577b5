"""Frames: requests to the agent and its replies, as bytes. Layout: `runtime/agent/protocol.py`, `serve.c`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from runtime.agent import protocol
from runtime.agent.protocol import Op
from runtime.errors import TargetProblem

_HEAD = struct.Struct("<IHHIi")
BATCH = 1 << 20  # bytes of frames sent at once at most


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the agent."""

    op: Op
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """Its answer: `status` 0 or -errno."""

    status: int
    payload: bytes


class Channel(Protocol):
    """Something that carries frames to the agent of one process."""

    def exchange(self, requests: list[Request]) -> list[Reply]:
        """Send requests in order, return a reply for each."""

    def close(self) -> None:
        """Let go of the process."""


def encode(requests: Iterable[Request]) -> bytes:
    """Return the frames of `requests`, each padded to 8 bytes."""
    parts = []
    for number, request in enumerate(requests):
        parts.append(_HEAD.pack(len(request.payload), request.op, protocol.ABI, number, 0))
        parts.append(request.payload + bytes(-len(request.payload) % 8))
    return b"".join(parts)


def decode(data: bytes, requests: list[Request]) -> list[Reply]:
    """Return the replies in `data`, checked against what was asked.

    Raises:
        TargetProblem: the bytes are not an answer to these requests.
    """
    replies = []
    at = 0
    for number, request in enumerate(requests):
        if at + _HEAD.size > len(data):
            raise TargetProblem("the agent's answer is cut short", hint="detach and try again")
        size, op, abi, sequence, status = _HEAD.unpack_from(data, at)
        if abi != protocol.ABI or op != request.op or sequence != number or at + 16 + size > len(data):
            raise TargetProblem(
                f"the agent answers in version {abi}, this is version {protocol.ABI}",
                hint="detach with the version that attached",
            )
        replies.append(Reply(status, data[at + 16 : at + 16 + size]))
        at += 16 + (size + 7 & -8)
    return replies


def batches(requests: list[Request], limit: int = BATCH) -> Iterator[list[Request]]:
    """Split requests so that no batch exceeds `limit` bytes of frames."""
    batch: list[Request] = []
    size = 0
    for request in requests:
        needed = 16 + (len(request.payload) + 7 & -8)
        if batch and size + needed > limit:
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += needed
    if batch:
        yield batch


KEEP = (1 << 64) - 1
_HELLO = struct.Struct("<IiQQQQ")


@dataclass(frozen=True, slots=True)
class Hello:
    """What only the tracer can find out about the agent's process; `start` KEEP only asks for it."""

    start: int = KEEP
    rseq_offset: int = 0
    landing: int = 0
    inbox: int = 0
    vdso: int = 0

    def request(self) -> Request:
        """Return the HELLO frame."""
        fields = (protocol.ABI, self.rseq_offset, self.start, self.landing, self.inbox, self.vdso)
        return Request(Op.HELLO, _HELLO.pack(*fields))


def map_request(kind: int, session: bytes, offset: int, size: int, path: str) -> Request:
    """Return a MAP frame: `kind` 0 region, 1 ring (data mapped twice)."""
    raw = path.encode()
    return Request(Op.MAP, struct.pack("<II16sQQ", kind, len(raw), session, offset, size) + raw)
