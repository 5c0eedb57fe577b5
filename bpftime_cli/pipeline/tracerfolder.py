"""The folder of a command that stays, so that others find its session and, after a kill -9, what it left."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from bpftime_cli.console import Console
from runtime.errors import Problem
from runtime.shm.folder import KeptObject, ProcessMark, SessionFolder, describe
from runtime.shm.region import process_start
from runtime.shm.session import Session


def mark_of(pid: int) -> ProcessMark:
    """Return a process as it is noted in a session."""
    return ProcessMark(pid, process_start(pid))


class TracerFolder:
    """The folder of this command's session; without one, where none can be made, it does nothing."""

    def __init__(self, folder: SessionFolder | None) -> None:
        self._folder = folder
        self._known: set[int] = set()

    @classmethod
    def open(cls, prefix: str, session: Session, console: Console) -> TracerFolder:
        """Make the folder, named as the session is or `prefix-PID`.

        Raises:
            Problem: the user named a session that exists.
        """
        name = session.region.name
        chosen = name != f"{prefix}-{os.getpid()}"
        try:
            stale = SessionFolder.find(name)
            if stale is not None and not stale.read().detached and not stale.read().tracer.is_alive:
                stale.remove()
            folder = SessionFolder.create(name)
            folder.write(describe(session.region, session.region.path, detached=False))
        except (Problem, OSError) as error:
            if chosen and isinstance(error, Problem):
                raise
            console.note(f"no session folder: {error}", 1)
            return cls(None)
        return cls(folder)

    def add(self, pids: Iterable[int]) -> None:
        """Note processes before they are probed."""
        fresh = [pid for pid in pids if pid not in self._known]
        if self._folder is not None and fresh:
            self._known.update(fresh)
            self._folder.add_targets([mark_of(pid) for pid in fresh])

    def add_object(self, kept: KeptObject, data: bytes) -> None:
        """Note an object, so that other commands can read its maps."""
        if self._folder is None:
            return
        with self._folder.locked():
            self._folder.keep_object(data)
            meta = self._folder.read()
            self._folder.write(replace(meta, objects=(*meta.objects, kept)))

    def remove(self) -> None:
        """Remove it."""
        if self._folder is not None:
            self._folder.remove()
