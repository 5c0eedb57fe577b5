"""`load`: an object into a session, and with a target its programs into processes, to the end or detached."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType

from attachers.inject.dispositions import handle, restore
from attachers.uprobe import FunctionAttacher
from bpftime_cli.console import Console
from bpftime_cli.pipeline.attaching import Attaching, Place, place_of_section
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.kernelobjects import ObjectKernels
from bpftime_cli.pipeline.kernels import Kernels, NoKernels, has_kernels, room_of
from bpftime_cli.pipeline.objects import Loaded, place, room_for
from bpftime_cli.pipeline.processes import Processes, Traced
from bpftime_cli.pipeline.records import Rings
from bpftime_cli.pipeline.resolver import Names
from bpftime_cli.pipeline.sessions import (
    DEFAULT_MIB,
    OpenSession,
    Source,
    load_into,
    needed,
    opened_or_new,
)
from bpftime_cli.pipeline.tracerfolder import TracerFolder, mark_of
from runtime.errors import AttachProblem, Problem, Problems, UsageProblem
from runtime.events import Value
from runtime.shm.region import Region
from runtime.shm.session import TABLES, Session
from runtime.types import DEVICE_KINDS
from runtime.unwind.directory import ROOM as UNWIND_ROOM

NAPS = (0.0005, 0.02)  # seconds between two looks at the rings
COLLECTED_EACH = 1.0  # seconds between two looks at the maps of devices


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What `load` was asked. `session` is empty for a private one; `events`: struct names of rings."""

    file: str
    config: Config
    session: str = ""
    values: dict[str, str] = field(default_factory=dict)
    detached: bool = False
    size_mib: int = DEFAULT_MIB
    events: dict[str, str] = field(default_factory=dict)


def load(request: LoadRequest, console: Console) -> int:
    """Carry the command out; returns the exit status.

    Raises:
        Problem: the object is refused, or nothing could be attached.
    """
    source = Source.read(request.file, request.values)
    warnings = source.programs.verify_all()
    console.warn([*source.programs.object.notes, *warnings])
    if not request.config.has_target:
        return _into_session(request, source, console)
    places = _places(source, console)
    if request.detached and ObjectKernels(source.programs).probes:
        raise UsageProblem("programs in GPU kernels need their tracer", hint="leave out --detached")
    if request.detached:
        return _detached(request, source, places, console)
    return Foreground(request, console, source, places).run()


def _into_session(request: LoadRequest, source: Source, console: Console) -> int:
    with opened_or_new(request.session, request.size_mib, needed(source.programs)) as session:
        loaded = load_into(session, source)
        tell_ids(loaded, console, request.config.format)
    return 0


def tell_ids(loaded: Loaded, console: Console, form: str) -> None:
    """Print `ID  kind  name` for the maps and programs of an object."""
    rows = [(m.id, "map", name, "") for name, m in loaded.kept.maps.items()]
    rows += [(n, "program", name, loaded.kept.sections[name]) for name, n in loaded.kept.programs.items()]
    if form == "json":
        from bpftime_cli.render.json import value_json  # lazy

        for number, kind, name, section in rows:
            entry: dict[str, Value] = {"id": number, "kind": kind, "name": name}
            if section:
                entry["section"] = section
            console.data(value_json(entry).encode() + b"\n")
    else:
        for row in rows:
            console.data("  ".join(str(cell) for cell in row).rstrip().encode() + b"\n")
    console.out.flush()


def _places(source: Source, console: Console) -> dict[str, Place]:
    """Return where the object's sections say that its programs go.

    Raises:
        AttachProblem: no section names a place.
    """
    found: dict[str, Place] = {}
    for program in source.programs.object.programs:
        if not program.autoload or program.context in DEVICE_KINDS:
            continue
        try:
            where = place_of_section(program)
        except AttachProblem as problem:
            console.warn([problem])
            continue
        if where is None:
            hint = "load it without a target, then: bpftime attach ID uprobe:BINARY:FUNCTION -p PID"
            console.warn([Problem(f"program '{program.name}' ({program.section}) names no place", hint=hint)])
        else:
            found[program.name] = where
    if not found and not ObjectKernels(source.programs).probes:
        raise AttachProblem(
            f"no program of {source.file} names a function to attach to",
            errno=22,
            hint="load it without a target, then: bpftime attach ID uprobe:BINARY:FUNCTION -p PID",
        )
    return found


def arm(
    attaching: Attaching, attacher: FunctionAttacher, places: dict[str, Place]
) -> tuple[list[tuple[int, str, str]], list[Problem]]:
    """Attach programs to one process; returns links (id, place, program) and what could not be placed."""
    links: list[tuple[int, str, str]] = []
    problems: list[Problem] = []
    for name, where in places.items():
        try:
            number, text = attaching.attach(attacher, name, where)
            links.append((number, text, name))
        except AttachProblem as problem:
            problems.append(problem)
    return links, problems


def _detached(request: LoadRequest, source: Source, places: dict[str, Place], console: Console) -> int:
    with opened_or_new(request.session, request.size_mib, needed(source.programs)) as session:
        loaded = load_into(session, source)
        processes = Processes(replace(request.config, follow=False), console, loaded.session)
        links, problems = _arm_all(session, loaded, processes, places)
    for link in links:
        console.data("  ".join(str(cell) for cell in link).encode() + b"\n")
    console.out.flush()
    if not request.config.quiet:
        console.note(f"Attached {len(links)} {'probe' if len(links) == 1 else 'probes'}")
    console.warn(problems)
    return 0


def _arm_all(
    session: OpenSession, loaded: Loaded, processes: Processes, places: dict[str, Place]
) -> tuple[list[tuple[int, str, str]], list[Problem]]:
    links: list[tuple[int, str, str]] = []
    problems: list[Problem] = []
    if processes.config.pids:
        session.folder.add_targets([mark_of(pid) for pid in processes.config.pids])
    try:
        processes.open()
        session.folder.add_targets([mark_of(t.target.pid) for t in processes.traced])
        attaching = Attaching(loaded, session.id)
        with session.folder.locked():
            for traced in processes.traced:
                armed, refused = arm(attaching, traced.attacher, places)
                links += armed
                problems += refused
        processes.go()
    finally:
        processes.close()
    if not links:
        raise Problems(problems) if len(problems) > 1 else problems[0]
    return links, problems


class Foreground:
    """An object that stays attached while this command runs, in a private session."""

    def __init__(
        self, request: LoadRequest, console: Console, source: Source, places: dict[str, Place]
    ) -> None:
        self.config = request.config
        self.console = console
        self.places = places
        name = request.session or f"load-{os.getpid()}"
        kernels = ObjectKernels(source.programs)
        room = room_for(source.programs) + TABLES + (1 << 20) + UNWIND_ROOM
        region = Region.create(name, room + room_of(kernels))
        self.loaded = place(source.programs, region, source.data, source.file, source.values)
        self.session: Session = self.loaded.session
        self.folder = TracerFolder.open("load", self.session, console)
        self.folder.add_object(self.loaded.kept, source.data)
        self.attaching = Attaching(self.loaded, region.id)
        self.processes = Processes(self.config, console, self.session)
        self.rings = Rings(self.loaded, console, self.config.format, request.events)
        self.kernels: Kernels = NoKernels()
        if has_kernels(kernels):
            self._join_kernels(kernels)
        self.count = 0
        self._collected = 0.0
        self._placed: dict[int, set[str]] = {}  # names of programs attached, by the id of their target

    def _join_kernels(self, kernels: ObjectKernels) -> None:
        from bpftime_cli.pipeline.cuda import KernelProbes  # lazy: only here
        from bpftime_cli.pipeline.kernellinks import KernelLinks

        how = self.config.assembler, self.config.cuda_dump
        served = KernelProbes(self.console, Names(), kernels, kernels, self.session, how)
        self.kernels = served
        self.processes.serve_cuda = served.serve
        self.kernel_links = KernelLinks(self.attaching.handlers, self.loaded.kept.programs)

    def run(self) -> int:
        """Attach, print until the end, undo; returns the exit status."""
        try:
            with interrupts() as pressed:
                self._attach()
                self._loop(pressed)
        finally:
            self._undo()
        self._take_records()
        self.kernels.report()
        self.rings.drain(all_of_it=True)
        self.rings.finish()
        status = self.processes.child_status
        if self.config.exit_code and status is not None:
            return 128 - status if status < 0 else status
        return 0

    def _undo(self) -> None:
        self.processes.poll()
        self.kernels.detach()
        self.processes.detach()
        self.processes.stop_child()
        self.processes.close()
        self.folder.remove()

    def _attach(self) -> None:
        self.folder.add(self.config.pids)
        self.processes.open()
        self.folder.add([t.target.pid for t in self.processes.traced])
        problems: list[Problem] = []
        for traced in self.processes.traced:
            count, refused = self._arm(traced)
            problems += refused
            self.count += count
        if not self.count:
            raise Problems(problems) if len(problems) > 1 else problems[0]
        self.console.warn(problems)
        self.processes.arm = self._follow
        self.processes.watch()
        if not self.config.quiet:
            self.console.note(f"Attached {self.count} {'probe' if self.count == 1 else 'probes'}")
        self.processes.go()

    def _follow(self, traced: Traced) -> int:
        self.folder.add([traced.target.pid])
        return self._arm(traced)[0]

    def _arm(self, traced: Traced) -> tuple[int, list[Problem]]:
        """Attach what is not attached yet in a process; a fork child has all that its parent had."""
        placed = self._placed.setdefault(id(traced.target), set(self.places) if traced.seen else set())
        places = {name: where for name, where in self.places.items() if name not in placed}
        links, refused = arm(self.attaching, traced.attacher, places)
        placed.update(name for _, _, name in links)
        traced.seen |= {m.start for m in traced.target.modules}
        count = len(links) + self.kernels.arm(traced)
        self._look_at_links()
        return count, refused

    def _look_at_links(self) -> None:
        if self.kernels:
            self.kernel_links.look(self.kernels.attachers, self.kernels.probes)

    def _take_records(self) -> None:
        """Print what kernels have written since."""
        for name, payload in self.kernels.records():
            self.rings.write(name, payload)

    def _look_at_kernels(self) -> None:
        """Print what kernels have written, and now and then bring what they have counted into the session."""
        if not self.kernels:
            return
        self._take_records()
        if time.monotonic() - self._collected >= COLLECTED_EACH:
            self.kernels.collect()
            self._look_at_links()
            self._collected = time.monotonic()

    def _loop(self, pressed: list[int]) -> None:
        start, nap = time.monotonic(), NAPS[0]
        while not pressed:
            busy = self.rings.drain()
            self._look_at_kernels()
            if not self.processes.poll():
                return
            if self.config.duration and time.monotonic() - start >= self.config.duration:
                return
            self.processes.welcome()
            self.kernels.weave_ahead()
            nap = NAPS[0] if busy else min(nap * 2, NAPS[1])
            self.processes.sleep(nap)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP in a list; the second one leaves at once."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        pressed.append(number)
        if len(pressed) > 1:
            signal.signal(number, signal.SIG_IGN)
            raise SystemExit(128 + number)

    old = handle((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), note)
    try:
        yield pressed
    finally:
        restore(old)


def parse_values(items: list[str], option: str = "--set") -> dict[str, str]:
    """Return `NAME=VALUE` options as a dictionary.

    Raises:
        UsageProblem: one has no `=`.
    """
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageProblem(f"{option} takes NAME=VALUE, not '{item}'")
        found[name] = value
    return found
