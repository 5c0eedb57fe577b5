"""The attach context: which attach type is whose, what is attached, and the helpers that types bring along.

It is the model's `bpf_attach_ctx`: methods raise where that returns a negative number. Programs, places and
links come from a session's handlers, or are given directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from attachers.base import SOFTWARE, Attacher, Callback, PrivateData
from attachers.local import Runner, load_here
from runtime.ebpf.object import Program
from runtime.errors import AttachProblem, Problem
from runtime.helpers.custom import CustomHelper, Function
from runtime.maps.spec import MapSpec
from runtime.shm.handlers import EventEntry, Handlers, Link, ProgramEntry

FIRST_ID = 65536  # ids that are made here; those below are a session's
KERNELS = (8, 9)  # attach types of CUDA kernels: they need all maps, so their links come last
TRIES, PAUSE = 3, 0.05  # how often handlers are read anew when they change meanwhile; seconds between
CHANGED = 11  # EAGAIN

MakeData = Callable[[str], PrivateData]
Load = Callable[[ProgramEntry], object]


@dataclass(frozen=True, slots=True)
class _Live:
    """A link that is attached: by which attacher, under which id of its own."""

    attacher: Attacher
    id: int


class AttachContext:
    """Attach types, live links, registered helpers. `skipped` holds what could not be attached, and why."""

    def __init__(self) -> None:
        self.helpers: dict[int, CustomHelper] = {}
        self.skipped: dict[int, Problem] = {}
        self._types: dict[int, tuple[Attacher, MakeData]] = {}
        self._programs: dict[int, object] = {}
        self._events: dict[int, tuple[int, PrivateData]] = {}
        self._links: dict[int, _Live] = {}
        self._done: set[int] = set()
        self._active: set[int] = set()
        self._last = FIRST_ID - 1

    # --- types and programs ---

    def register_attach_impl(self, types: Iterable[int], attacher: Attacher, make_data: MakeData) -> None:
        """Give attach types an attacher and what makes its private data; a later one replaces an earlier.

        The attacher's helpers come first: where two types offer one number, the last one's holds.
        """
        attacher.register_custom_helpers(self._register_helper)
        for number in types:
            self._types[number] = attacher, make_data

    def _register_helper(self, number: int, name: str, function: Function) -> int:
        self.helpers[number] = CustomHelper.of(number, name, function)
        return 0

    def load(self, program: Program, maps: Mapping[str, MapSpec], symbols: Mapping[str, int]) -> Runner:
        """Load a program that runs in this process, with all helpers that were registered until now.

        Raises:
            Refused: the program is not safe.
        """
        return load_here(program, maps, symbols, self.helpers.values())

    def allocate_id(self) -> int:
        """Return the next id of those that are made here."""
        self._last += 1
        return self._last

    # --- attaching ---

    def attach(self, program: object, attach_type: int, text: str, cookie: int = 0) -> int:
        """Attach a program to a place given as its type's string; returns the link's id.

        Raises:
            AttachProblem: no such type (95), a wrong text, or the place does not take it.
        """
        event, link = self.allocate_id(), self.allocate_id()
        self._add_event(event, attach_type, text, missing=95)
        self._add_link(link, program, event, cookie)
        return link

    def init_from_handlers(self, handlers: Handlers, load: Load) -> int:
        """Attach what a session's handlers say; one that fails is skipped, and kept in `skipped`. Returns 0.

        `load` makes what attachers take of a program's entry.

        Raises:
            AttachProblem: the handlers changed three times while they were read (11).
        """
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE)
            epoch = handlers.region.get("epoch")
            if not epoch & 1:
                self._init(handlers, load)
                if handlers.region.get("epoch") == epoch:
                    return 0
                self._forget_all()
        raise AttachProblem("the session changed while its handlers were read", errno=CHANGED)

    def _init(self, handlers: Handlers, load: Load) -> None:
        self.skipped.clear()
        table: dict[int, ProgramEntry | EventEntry | Link] = {e.id: e for e in handlers.programs()}
        table |= handlers.events()
        table |= {link.id: link for link in handlers.links()}
        late = {
            entry.id
            for entry in table.values()
            if isinstance(entry, Link) and _type_of(table.get(entry.event)) in KERNELS
        }
        for number in (*sorted(table.keys() - late), *sorted(late)):
            try:
                self.instantiate(number, table, load)
            except Problem as problem:
                self.skipped[number] = problem

    def instantiate(
        self, number: int, table: Mapping[int, ProgramEntry | EventEntry | Link], load: Load
    ) -> int:
        """Make one handler real: a link first has its program and its place made. Returns 0.

        Raises:
            AttachProblem: handlers refer to each other in a circle (1), or it cannot be attached.
            Problem: the program cannot be loaded.
        """
        if number in self._done:
            return 0
        if number in self._active:
            raise AttachProblem(f"handler {number} refers to itself", errno=1)
        if number not in table:
            raise AttachProblem(f"no handler {number}", errno=2)
        self._active.add(number)
        try:
            self._make(number, table, load)
        finally:
            self._active.discard(number)
        self._done.add(number)
        return 0

    def _make(self, number: int, table: Mapping[int, ProgramEntry | EventEntry | Link], load: Load) -> None:
        entry = table[number]
        if isinstance(entry, ProgramEntry):
            self._programs[number] = load(entry)
        elif isinstance(entry, EventEntry):
            self._add_event(number, entry.type, entry.text, missing=2)
        else:
            self.instantiate(entry.program, table, load)
            self.instantiate(entry.event, table, load)
            self._add_link(number, self._programs.get(entry.program), entry.event, entry.cookie)

    def _add_event(self, number: int, attach_type: int, text: str, *, missing: int) -> None:
        if attach_type == SOFTWARE:
            return  # accepted, and nothing happens there
        if attach_type not in self._types:
            raise AttachProblem(f"nothing attaches type {attach_type}", errno=missing)
        self._events[number] = attach_type, self._types[attach_type][1](text)

    def _add_link(self, number: int, program: object, event: int, cookie: int) -> None:
        attach_type, data = self._events.get(event, (SOFTWARE, None))
        if attach_type not in self._types or data is None:
            raise AttachProblem(f"nothing attaches type {attach_type}", errno=95)
        attacher = self._types[attach_type][0]
        attacher.accept_helpers(self.helpers.values())
        link = attacher.create_attach(_with_cookie(program, cookie), data, attach_type)
        self._links[number] = _Live(attacher, link)

    # --- out ---

    @property
    def links(self) -> tuple[int, ...]:
        """Return the ids of the links that are attached."""
        return tuple(self._links)

    def destroy_link(self, number: int) -> int:
        """Detach a link; it may be attached again afterwards. Returns 0.

        Raises:
            AttachProblem: there is none of that id (2), or its attacher says why not.
        """
        if number not in self._links:
            raise AttachProblem(f"no link {number}", errno=2)
        live = self._links[number]
        live.attacher.detach_by_id(live.id)
        del self._links[number]
        self._done.discard(number)
        return 0

    def reset(self) -> None:
        """Detach all links and forget programs and places; types and their helpers stay.

        Raises:
            AttachProblem: a link could not be detached; the others were.
        """
        problem = self._forget_all()
        self._last = FIRST_ID - 1
        if problem is not None:
            raise problem

    def _forget_all(self) -> Problem | None:
        """Detach what can be; returns what went wrong last."""
        failed: Problem | None = None
        for number in self.links:
            try:
                self.destroy_link(number)
            except Problem as problem:
                failed = problem
        for table in (self._links, self._programs, self._events):
            table.clear()
        self._done.clear()
        return failed


def _type_of(entry: ProgramEntry | EventEntry | Link | None) -> int:
    return entry.type if isinstance(entry, EventEntry) else SOFTWARE


def _with_cookie(program: object, cookie: int) -> object:
    """Return a program that runs with a link's cookie; several links may share one program."""
    if not isinstance(program, Runner):
        return program

    def run(memory: bytes) -> tuple[int, int]:
        program.cookie = cookie
        return program(memory)

    callback: Callback = run
    return callback
