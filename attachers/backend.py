"""The backends of function probes by the names that `--backend` takes."""

from __future__ import annotations

from attachers.interceptor.attacher import AutoAttacher, InterceptorAttacher
from attachers.target import Target
from attachers.uprobe import FunctionAttacher
from runtime.shm.session import Session

BACKENDS: dict[str, type[FunctionAttacher]] = {
    "auto": AutoAttacher,
    "inline": FunctionAttacher,
    "frida": InterceptorAttacher,
}


def make_attacher(name: str, target: Target, session: Session, *, swap: bool = False) -> FunctionAttacher:
    """Return the attacher of one process for a backend's name; `swap` allows replaced return addresses."""
    return BACKENDS[name](target, session, swap=swap)
