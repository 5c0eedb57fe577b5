"""Handlers: the programs, maps, perf events and links of a session, as entries of a table in its region.

Other processes and later commands find them there. Ids start at 1 and are never used again within a session.
A writer makes the region's epoch odd while it edits and even when it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from runtime.agent import protocol
from runtime.errors import Problem
from runtime.shm.region import Region


class Kind(IntEnum):
    """What a handler stands for."""

    PROGRAM = 1
    MAP = 2
    PERF_EVENT = 3
    LINK = 4


class LinkState(IntEnum):
    """Life of a link, as `list` shows it."""

    ARMED = 1
    PENDING = 2
    FAILED = 3
    GONE = 4
    ORPHAN = 5


@dataclass(frozen=True, slots=True)
class ProgramEntry:
    """A loaded program: `context` is its kind's number, `sha256` names the object file in the folder."""

    id: int
    name: str
    context: int
    instructions: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class MapEntry:
    """A map: `header` is its offset in the region."""

    id: int
    name: str
    header: int


@dataclass(frozen=True, slots=True)
class EventEntry:
    """A place to attach to: `text` as private data, `type` the attach type."""

    id: int
    type: int
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A program attached to a place in one process; `start` tells it from a later one of the same pid."""

    id: int
    program: int
    event: int
    cookie: int
    pid: int
    start: int
    sites: int
    refused: int
    state: LinkState
    error: int = 0
    cost: int = 0


class Handlers:
    """The handler table of a region."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._base = region.get("handler_table")
        self._count = min(region.get("handler_count"), protocol.HANDLERS)
        if self._base + self._count * protocol.HANDLER.size > region.size:
            raise Problem(
                f"session '{region.name}' is damaged: its handlers lie outside of its region",
                hint="bpftime detach --all --unload removes it",
            )

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Hold the odd epoch while entries change."""
        epoch = self.region.get("epoch")
        self.region.put("epoch", epoch | 1)
        try:
            yield
        finally:
            self.region.put("epoch", (epoch | 1) + 1)

    def _used(self, kind: Kind) -> Iterator[int]:
        """Yield the offsets of entries of one kind, in order of their ids."""
        get, buffer = protocol.HANDLER.get, self.region.buffer
        for index in range(self._count):
            at = self._base + index * protocol.HANDLER.size
            if not get(buffer, "id", at):
                if index >= self._last_id():
                    return
                continue
            if get(buffer, "kind", at) == kind:
                yield at

    def _last_id(self) -> int:
        return self.region.get("last_handler")

    def _new(self, kind: Kind, name: str) -> tuple[int, int]:
        """Take an entry; returns its id and offset."""
        number = self._last_id() + 1
        if number > self._count:
            raise Problem(
                f"the session has had more than {self._count} handlers",
                hint="start a new one: --session NAME",
            )
        at = self._base + (number - 1) * protocol.HANDLER.size
        with self.editing():
            protocol.HANDLER.put(self.region.buffer, "kind", kind, at)
            protocol.HANDLER.put(self.region.buffer, "name", name.encode()[:31], at)
            protocol.HANDLER.put(self.region.buffer, "id", number, at)
            self.region.put("last_handler", number)
        return number, at

    def _name(self, at: int) -> str:
        return protocol.HANDLER.text(self.region.buffer, "name", at).decode(errors="replace")

    def _put(self, layout: protocol.Layout, at: int, **values: int | bytes) -> None:
        with self.editing():
            for name, value in values.items():
                layout.put(self.region.buffer, name, value, at)

    # --- making ---

    def add_program(self, name: str, context: int, instructions: int, sha256: bytes) -> int:
        """Enter a program; returns its id."""
        number, at = self._new(Kind.PROGRAM, name)
        self._put(protocol.PROGRAM, at, type=context, instructions=instructions, sha256=sha256)
        return number

    def add_map(self, name: str, header: int) -> int:
        """Enter a map; returns its id."""
        number, at = self._new(Kind.MAP, name)
        self._put(protocol.MAP_ENTRY, at, header=header)
        return number

    def add_event(self, attach_type: int, pid: int, text: str) -> int:
        """Enter a place to attach to, with its private data as text; returns its id."""
        raw = text.encode()
        place = self.region.allocate(len(raw) + 1)
        self.region.buffer[place : place + len(raw)] = raw
        number, at = self._new(Kind.PERF_EVENT, text.rpartition(":")[2])
        self._put(protocol.PERF_EVENT, at, type=attach_type, pid=pid, text=place, text_bytes=len(raw))
        return number

    def add_link(self, program: int, event: int, pid: int, start: int, cookie: int = 0) -> int:
        """Enter a link that is not armed yet; returns its id."""
        number, at = self._new(Kind.LINK, "")
        self._put(protocol.LINK, at, program=program, event=event, pid=pid, start=start, cookie=cookie)
        self._put(protocol.HANDLER, at, state=LinkState.PENDING)
        return number

    def set_link(
        self,
        number: int,
        state: LinkState,
        *,
        sites: int = 0,
        refused: int = 0,
        error: int = 0,
        cost: int = 0,
    ) -> None:
        """Record what became of a link; `cost`: the number of the dearest class of its places."""
        at = self._base + (number - 1) * protocol.HANDLER.size
        self._put(protocol.LINK, at, sites=sites, refused=refused, error=error, cost=cost)
        self._put(protocol.HANDLER, at, state=state)

    def remove(self, number: int) -> None:
        """Free an entry; its id stays used. A wrong number does nothing: targets can write the region."""
        if not 0 < number <= self._count:
            return
        at = self._base + (number - 1) * protocol.HANDLER.size
        with self.editing():
            self.region.buffer[at : at + protocol.HANDLER.size] = bytes(protocol.HANDLER.size)

    # --- reading ---

    def programs(self) -> list[ProgramEntry]:
        """Return all programs."""
        buffer, get = self.region.buffer, protocol.PROGRAM.get
        return [
            ProgramEntry(
                protocol.HANDLER.get(buffer, "id", at),
                self._name(at),
                get(buffer, "type", at),
                get(buffer, "instructions", at),
                protocol.PROGRAM.text(buffer, "sha256", at),
            )
            for at in self._used(Kind.PROGRAM)
        ]

    def maps(self) -> list[MapEntry]:
        """Return all maps whose header lies inside the region."""
        buffer = self.region.buffer
        found = [
            MapEntry(
                protocol.HANDLER.get(buffer, "id", at),
                self._name(at),
                protocol.MAP_ENTRY.get(buffer, "header", at),
            )
            for at in self._used(Kind.MAP)
        ]
        return [m for m in found if 0 < m.header < self.region.size - 256]

    def events(self) -> dict[int, EventEntry]:
        """Return all places by id."""
        buffer, get = self.region.buffer, protocol.PERF_EVENT.get
        found = {}
        for at in self._used(Kind.PERF_EVENT):
            place, size = get(buffer, "text", at), get(buffer, "text_bytes", at)
            text = (
                bytes(buffer[place : place + size]).decode(errors="replace")
                if place + size <= self.region.size
                else ""
            )
            number = protocol.HANDLER.get(buffer, "id", at)
            found[number] = EventEntry(number, get(buffer, "type", at), get(buffer, "pid", at), text)
        return found

    def links(self) -> list[Link]:
        """Return all links."""
        buffer, get = self.region.buffer, protocol.LINK.get
        found = []
        for at in self._used(Kind.LINK):
            state = protocol.HANDLER.get(buffer, "state", at)
            names = ("program", "event", "cookie", "pid", "start", "sites", "refused")
            program, event, cookie, pid, start, sites, refused = (get(buffer, n, at) for n in names)
            known = LinkState(state) if state in LinkState._value2member_map_ else LinkState.FAILED
            found.append(
                Link(
                    protocol.HANDLER.get(buffer, "id", at),
                    program,
                    event,
                    cookie,
                    pid,
                    start,
                    sites,
                    refused,
                    known,
                    get(buffer, "error", at),
                    get(buffer, "cost", at),
                )
            )
        return found
