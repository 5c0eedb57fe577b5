"""While Frida comes into a process its own thread loads libraries: it may not wait for us, nor we for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from attachers.inject.entering import outside
from runtime.shm.desk import Desk
from runtime.shm.session import Session

NAP = 0.002  # seconds


@contextlib.contextmanager
def loads_pass(session: Session, pid: int) -> Iterator[None]:
    """Answer all threads of a process that say what they have loaded, until the block ends."""
    desk, over = Desk(session.region), threading.Event()

    def answer() -> None:
        while not over.wait(NAP):
            for knock in desk.waiting():
                if outside(knock)[0] == pid:
                    desk.answer(knock)

    doorman = threading.Thread(target=answer, daemon=True)
    doorman.start()
    try:
        yield
    finally:
        over.set()
        doorman.join()
