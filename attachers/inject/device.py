"""Frida in processes of this machine: the only door to frida. It injects libraries and runs scripts.

Frida's session lives as long as the tracer: when that ends, however it ends, the script is unloaded in the
process and what it hooked is as it was. Source: frida.re/docs (JavaScript API, Interceptor; Python API).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import TargetProblem

LEAVING = 1.0  # seconds
UNLOADED = 5.0  # seconds


def check_reachable(pid: int, instead: str) -> None:
    """Refuse a process in which Frida would fail, or which would die of it; `instead` says what works.

    Raises:
        TargetProblem: it has ended, is traced by somebody else, or filters system calls.
    """
    deadline = time.monotonic() + LEAVING
    status = _status(pid)
    while status.get("TracerPid", "0").strip() != "0" and time.monotonic() < deadline:
        time.sleep(0.01)  # a Frida that leaves traces for a moment
        status = _status(pid)
    tracer = status.get("TracerPid", "0").strip()
    if tracer != "0":
        raise TargetProblem(
            f"another tracer is attached to {pid}: process {tracer}",
            hint=f"end it first, or use {instead} later",
        )
    if status.get("Seccomp", "0").strip() == "2":
        raise TargetProblem(
            f"process {pid} has a system-call filter that may kill it when Frida makes a thread",
            hint=f"use {instead}",
        )


def _status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise TargetProblem(f"no process {pid}", hint="bpftime list --processes shows yours") from None
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@contextlib.contextmanager
def _failures(text: str, hint: str) -> Iterator[None]:
    """Turn what frida raises into one kind of problem: its classes have no common base of their own."""
    import frida

    kinds = tuple(v for v in vars(frida).values() if isinstance(v, type) and issubclass(v, Exception))
    try:
        yield
    except kinds as error:
        raise TargetProblem(f"{text}: {error}", hint=hint) from None


def _load_frida(hint: str) -> Any:  # noqa: ANN401 # frida has no types
    try:
        import frida
    except ImportError as error:
        raise TargetProblem(f"Frida cannot be used: {error}", hint=hint) from None
    return frida


def inject_library(pid: int, path: str, entry: str, text: str) -> None:
    """Load a library into a process and call a function of it with a text, on a thread that ends then.

    Raises:
        TargetProblem: Frida cannot.
    """
    hint = "use --inject ptrace"
    frida = _load_frida(hint)
    with _failures(f"Frida could not bring the agent into {pid}", hint):
        frida.get_local_device().inject_library_file(pid, path, entry, text)


class Script:
    """A script of Frida's in one process."""

    def __init__(self, pid: int, source: str, instead: str) -> None:
        """Bring Frida and the script in.

        Raises:
            TargetProblem: the process cannot be reached that way; `instead` is its hint.
        """
        check_reachable(pid, instead)
        self.pid = pid
        self._hint = instead
        self._frida = _load_frida(instead)
        with _failures(f"Frida could not attach to {pid}", instead):
            self._session = self._frida.get_local_device().attach(pid)
            self._script = self._session.create_script(source)
            self._script.on("message", _ignore)
            self._script.load()

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 # what the script returns, JSON
        """Call a function that the script exports; returns its result.

        Raises:
            TargetProblem: the process has ended, or the script failed.
        """
        with _failures(f"Frida in {self.pid} did not carry out '{name}'", self._hint):
            return getattr(self._script.exports_sync, name)(*arguments)

    def close(self, *, stays: bool) -> bool:
        """Unload the script and leave; returns whether all of Frida is out.

        `stays`: a thread is inside a function with a return probe, or has left one by longjmp. Frida would
        wait for its return, and take away what it returns to when we end; so it is left there for good.
        """
        limit = self._frida.Cancellable()
        timer = threading.Timer(UNLOADED, limit.cancel)
        timer.start()
        try:
            with _failures("", ""), limit:
                if stays:
                    self._script.eternalize()
                else:
                    self._script.unload()
                self._session.detach()
        except TargetProblem:
            return False
        finally:
            timer.cancel()
        return not stays


def _ignore(*_: object) -> None:
    """Take a message of the script; ours sends none, and frida would print it otherwise."""
