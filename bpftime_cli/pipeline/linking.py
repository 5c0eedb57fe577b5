"""`attach` and `detach`: links of sessions, made and undone by commands that do not stay."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from attachers.inject.visit import find_state
from attachers.patch.apply import remove
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from bpftime_cli.console import Console
from bpftime_cli.pipeline.attaching import (
    Attaching,
    Place,
    detach_links,
    is_attached,
    place_of_section,
    place_of_text,
)
from bpftime_cli.pipeline.objects import Loaded
from bpftime_cli.pipeline.orphans import reap
from bpftime_cli.pipeline.sessions import (
    OpenSession,
    Source,
    find_link,
    find_program,
    load_into,
    needed,
    opened,
    opened_or_new,
    session_name,
    split_id,
)
from bpftime_cli.pipeline.tracerfolder import mark_of
from runtime.ebpf.object import Program
from runtime.errors import AttachProblem, Problem, Problems
from runtime.shm.handlers import Link, LinkState
from runtime.symbols.paths import is_file


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """What `attach` was asked."""

    program: str
    probe: str
    pids: tuple[int, ...]
    kind: str = ""
    cookie: int = 0
    session: str = ""
    format: str = "text"


def attach(request: AttachRequest, console: Console) -> int:
    """Attach one program to some processes; returns the exit status.

    Raises:
        Problem: it could be attached to none.
    """
    file, name = split_id(request.program)
    with ExitStack() as stack:
        if file and is_file(file):
            source = Source.read(file, {})
            source.programs.program(name)
            console.warn(source.programs.verify_all())
            where = _place(request, source.programs.program(name))
            into = opened_or_new(session_name(request.session), least=needed(source.programs))
            session = stack.enter_context(into)
            loaded = load_into(session, source)
        else:
            found = find_program(stack.enter_context(opened(request.session)), request.program)
            session = found.session
            kept, name = session.kept_of(found.entry.id)
            loaded = session.loaded(kept)
            where = _place(request, loaded.programs.program(name))
        return _attach_all(request, session, loaded, (name, where), console)


def _place(request: AttachRequest, program: Program) -> Place:
    """Return where the program goes: as the probe says, else as its section does.

    Raises:
        AttachProblem: neither says.
    """
    if request.probe:
        return place_of_text(request.probe, program, request.kind)
    found = place_of_section(program, request.kind)
    if found is None:
        raise AttachProblem(
            f"program '{program.name}' ({program.section}) names no place",
            errno=22,
            hint="add the probe: uprobe:BINARY:FUNCTION",
        )
    return found


def _attach_all(
    request: AttachRequest, session: OpenSession, loaded: Loaded, what: tuple[str, Place], console: Console
) -> int:
    name = what[0]
    if name not in loaded.kept.programs:
        raise Problem(
            f"program '{name}' is not loaded (its section begins with '?')",
            hint="drop the '?' and load again",
        )
    session.folder.add_targets([mark_of(pid) for pid in request.pids])
    attaching = Attaching(loaded, session.id)
    problems: list[Problem] = []
    armed = 0
    for pid in request.pids:
        try:
            number = _attach_one(attaching, session, pid, what, request.cookie)
        except Problem as problem:
            problems.append(problem)
            continue
        armed += 1
        console.data(_link_line(number, pid, request.format))
    console.out.flush()
    if not armed:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    for one in problems:
        console.problem(one)
    return 0


def _attach_one(
    attaching: Attaching, session: OpenSession, pid: int, what: tuple[str, Place], cookie: int
) -> int:
    target = Target.open(pid)
    try:
        with session.folder.locked():
            attacher = FunctionAttacher(target, attaching.loaded.session)
            return attaching.attach(attacher, *what, cookie)[0]
    finally:
        target.close()


def _link_line(number: int, pid: int, form: str) -> bytes:
    return (
        f'{{"id": {number}, "kind": "link", "pid": {pid}}}\n'.encode()
        if form == "json"
        else f"{number}\n".encode()
    )


# --- detach


@dataclass(frozen=True, slots=True)
class DetachRequest:
    """What `detach` was asked."""

    ids: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    stale: bool = False
    every: bool = False
    unload: bool = False
    session: str = ""


def detach(request: DetachRequest, console: Console) -> int:
    """Take links out; returns the exit status: 1 when one was unknown or could not be taken out."""
    problems: list[Problem] = []
    removed = 0
    with opened(request.session) as sessions:
        chosen = list(_chosen(request, sessions, problems))
        result = detach_links(chosen)
        problems += result.problems
        if request.pids:
            removed = _clear(request.pids, problems)
        if request.unload and not result.problems:
            for session in sessions:
                if session.meta.detached:
                    session.folder.remove()
    if request.stale or request.every:
        report = reap()
        removed += report.removed
        for line in report.lines:
            console.note(line)
    for problem in problems:
        console.problem(problem)
    _tell(result.count, removed, console)
    return max((problem.status for problem in problems), default=0)


def _tell(links: int, removed: int, console: Console) -> None:
    more = f", {removed} more probes taken out" if removed else ""
    console.note(f"Detached {links} {'link' if links == 1 else 'links'}{more}")


def _chosen(
    request: DetachRequest, sessions: list[OpenSession], problems: list[Problem]
) -> Iterable[tuple[OpenSession, Link]]:
    if request.ids:
        for text in dict.fromkeys(request.ids):
            try:
                yield find_link(sessions, text)
            except Problem as problem:
                problems.append(problem)
        return
    for session in sessions:
        if session.is_orphan:
            continue
        for link in session.handlers.links():
            if (
                request.every
                or link.pid in request.pids
                or (request.stale and is_attached(link) is LinkState.GONE)
            ):
                yield session, link


def _clear(pids: tuple[int, ...], problems: list[Problem]) -> int:
    """Take everything of ours out of processes; returns how many probes no link stood for."""
    count = 0
    for pid in pids:
        try:
            if not find_state(pid):
                continue
            target = Target.open(pid)
            try:
                count += remove(target)
            finally:
                target.close()
        except Problem as problem:
            problems.append(problem)
    return count
