"""Where walks through the stacks of one process find their unwind tables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from attachers.target import Target
    from runtime.shm.session import Session
    from runtime.unwind.directory import Unwinding

_unwindings: WeakKeyDictionary[Session, Unwinding] = WeakKeyDictionary()


def directory_in(target: Target, session: Session) -> int:
    """Write the directory of a process for one session; returns its address there, 0 for none.

    Renewed whenever a program that walks stacks is linked: modules and thunks may have come since.
    """
    from runtime.unwind.directory import Unwinding  # lazy: only programs that ask for stacks need it

    unwinding = _unwindings.setdefault(session, Unwinding(session.region))
    thunks = [(a.base, a.base + a.size) for a in target.arenas]
    offset = unwinding.directory(target.pid, target.modules, thunks)
    return target.map_session(session) + offset if offset else 0
