"""The sessions of this user as other commands left them: opened, searched by id and name, or made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from bpftime_cli.pipeline.objects import Loaded, LoadedPrograms, place, prepare, read_object, reopen, room_for
from runtime.errors import Problem, UsageProblem
from runtime.shm.folder import REGION, KeptObject, Meta, SessionFolder, describe, gone
from runtime.shm.handlers import Handlers, Link, ProgramEntry
from runtime.shm.region import HUGE, Region
from runtime.shm.session import TABLES

DEFAULT = "default"
DEFAULT_MIB = 64  # size of a named session's region
VARIABLES = ("BPFTIME_SESSION", "BPFTIME_GLOBAL_SHM_NAME")


def session_name(option: str) -> str:
    """Return the session that an option, the environment or the default names."""
    return option or next((os.environ[v] for v in VARIABLES if os.environ.get(v)), DEFAULT)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session whose region is mapped here."""

    folder: SessionFolder
    meta: Meta
    region: Region

    @property
    def name(self) -> str:
        """Return the session's name."""
        return self.folder.name

    @property
    def id(self) -> bytes:
        """Return the session's 16 bytes."""
        return self.region.id

    @property
    def handlers(self) -> Handlers:
        """Return the handler table."""
        return Handlers(self.region)

    @property
    def is_orphan(self) -> bool:
        """Return whether the command that should have removed this session is gone."""
        return not self.meta.detached and not self.meta.tracer.is_alive

    def close(self) -> None:
        """Unmap the region; a view that is still held keeps it until that is gone."""
        with suppress(BufferError):
            self.region.close()

    def kept_of(self, program: int) -> tuple[KeptObject, str]:
        """Return the object that a program id is of, and the program's name in it.

        Raises:
            Problem: the session's description does not know it.
        """
        for kept in self.meta.objects:
            for name, number in kept.programs.items():
                if number == program:
                    return kept, name
        raise Problem(f"session '{self.name}' has lost the object of program {program}", hint="load it again")

    def loaded(self, kept: KeptObject) -> Loaded:
        """Read an object of this session again."""
        return reopen(self.folder, self.region, kept)


def open_folder(folder: SessionFolder) -> OpenSession:
    """Map a session.

    Raises:
        Problem: it cannot be read or opened.
    """
    meta = folder.read()
    region = folder.open_region(meta)
    region.backed = meta.detached
    return OpenSession(folder, meta, region)


@contextmanager
def opened(name: str = "") -> Iterator[list[OpenSession]]:
    """Open one session, or with an empty name all that can be opened.

    Raises:
        Problem: the named one cannot be opened.
    """
    found: list[OpenSession] = []
    try:
        if name:
            folder = SessionFolder.find(name)
            if folder is None:
                raise gone(name)
            found.append(open_folder(folder))
        else:
            for folder in SessionFolder.all():
                try:
                    found.append(open_folder(folder))
                except Problem:
                    continue
        yield found
    finally:
        for session in found:
            session.close()


@contextmanager
def opened_or_new(name: str, mib: int = DEFAULT_MIB, least: int = 0) -> Iterator[OpenSession]:
    """Open a named session, made first where it does not exist; removed again when the block fails then.

    Raises:
        Problem: it cannot be opened or made.
    """
    folder = SessionFolder.find(name)
    is_new = folder is None
    session = open_folder(folder) if folder is not None else _create(name, max(mib << 20, least))
    is_done = False
    try:
        yield session
        is_done = True
    finally:
        session.close()
        if is_new and not is_done:
            session.folder.remove()


def _create(name: str, size: int) -> OpenSession:
    folder = SessionFolder.create(name)
    try:
        file = folder.path / REGION
        region = Region.create(name, max(size, HUGE), file)
        meta = describe(region, str(file), detached=True)
        folder.write(meta)
    except OSError as error:
        folder.remove()
        raise Problem(
            f"cannot make session '{name}': {error.strerror}", hint="make room in its folder"
        ) from None
    except Problem:
        folder.remove()
        raise
    return OpenSession(folder, meta, region)


@dataclass(frozen=True, slots=True)
class Source:
    """An object as the user gave it, ready to be placed."""

    file: str
    data: bytes
    values: dict[str, str]
    programs: LoadedPrograms

    @classmethod
    def read(cls, file: str, values: dict[str, str]) -> Source:
        """Read and verify an object.

        Raises:
            Problem: it is refused.
        """
        data = read_object(file)
        return cls(file, data, values, prepare(data, file, values))


def load_into(session: OpenSession, source: Source) -> Loaded:
    """Put a verified object into a session: maps, handlers, the file itself.

    Raises:
        Problem: there is no room.
    """
    with session.folder.locked():
        meta = session.folder.read()
        session.folder.keep_object(source.data)
        loaded = place(source.programs, session.region, source.data, source.file, source.values)
        session.folder.write(replace(meta, objects=(*meta.objects, loaded.kept)))
    return loaded


# --- searching


@dataclass(frozen=True, slots=True)
class FoundProgram:
    """A program of a session."""

    session: OpenSession
    entry: ProgramEntry


def split_id(text: str) -> tuple[str, str]:
    """Return session and rest of `SESSION:REST`; an empty session where there is none."""
    name, colon, rest = text.rpartition(":")
    return (name, rest) if colon else ("", text)


def find_program(sessions: list[OpenSession], text: str) -> FoundProgram:
    """Return the program that an id or name means, with or without its session before a colon.

    Raises:
        Problem: there is none, or there are several.
    """
    name, rest = split_id(text)
    found = [
        FoundProgram(session, entry)
        for session in sessions
        if not name or session.name == name
        for entry in session.handlers.programs()
        if (entry.id == int(rest) if rest.isdigit() else entry.name == rest[:31])
    ]
    if not found:
        known = ", ".join(f"{s.name}:{e.name}" for s in sessions for e in s.handlers.programs())
        raise Problem(
            f"no loaded program '{text}'",
            hint=f"loaded: {known}" if known else "load one: bpftime load FILE.bpf.o",
        )
    if len(found) > 1:
        names = ", ".join(f"{f.session.name}:{f.entry.id}" for f in found)
        raise Problem(f"'{text}' means several programs: {names}", hint="write SESSION:ID")
    return found[0]


def find_link(sessions: list[OpenSession], text: str) -> tuple[OpenSession, Link]:
    """Return the link that `ID` or `SESSION:ID` means.

    Raises:
        UsageProblem: the text is no id.
        Problem: there is none, or several sessions have it.
    """
    name, number = split_id(text)
    if not number.isdigit():
        raise UsageProblem(
            f"not the id of a link: '{text}'", hint="ID or SESSION:ID, as bpftime list shows them"
        )
    found = [
        (session, link)
        for session in sessions
        if not name or session.name == name
        for link in session.handlers.links()
        if link.id == int(number)
    ]
    if not found:
        raise Problem(f"no link {text}", hint="bpftime list shows the links")
    if len(found) > 1:
        raise Problem(
            f"several sessions have a link {number}: {', '.join(s.name for s, _ in found)}",
            hint=f"write SESSION:{number}",
        )
    return found[0]


def needed(programs: LoadedPrograms) -> int:
    """Return the bytes of a region for one object."""
    return room_for(programs) + TABLES
