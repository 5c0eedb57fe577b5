"""Real tracers and real targets as processes, for the end-to-end tests.

A target of `tests/targets` prints `ready`, waits for a line, works, prints what it counted, waits for a line (or
the end of its input) and ends. So a tracer is armed before the work starts without any sleeping.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from runtime.symbols.maps import folder_of

BPFTIME = (sys.executable, "-m", "bpftime_cli")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds that anything may take on a loaded machine


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: this checkout's packages, no colours."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("BPFTIME_", "FORCE_COLOR", "CLICOLOR", "PYTHONDONTWRITE"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def bpftime(
    *argv: str, stdin: bytes = b"", env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end."""
    return subprocess.run(
        [*BPFTIME, *argv],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        env=env or environment(),
        check=False,
        **more,
    )


class Running:
    """A target that waits for its start. `said` collects what it printed."""

    def __init__(self, *argv: str | Path, wait: bool = True, env: dict[str, str] | None = None) -> None:
        words, both = [str(a) for a in argv], subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=both, stdout=both, env=env)
        self.pid = self.process.pid
        self.said = b""
        if wait:
            self.until(b"ready\n")

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def until(self, text: bytes) -> bytes:
        """Read until `text` was said; gives everything said so far."""
        self.said += read_until(self.process.stdout, text, self.said)
        return self.said

    def go(self) -> None:
        """Let it work."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def work(self, last: bytes = b"done\n") -> dict[str, int]:
        """Let it work to the end; gives its own counts."""
        self.go()
        return counts(self.until(last))

    def end(self) -> int:
        """Let it end; gives its status."""
        out, _ = self.process.communicate(b"\n", timeout=PATIENCE)
        self.said += out
        return self.process.returncode


def read_until(stream: object, text: bytes, before: bytes = b"") -> bytes:
    """Bytes up to and including `text`; fails at the end of the stream or of our patience."""
    number, got, deadline = stream.fileno(), b"", time.monotonic() + PATIENCE
    while text not in before + got:
        ready, _, _ = select.select([number], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more came within {PATIENCE} s, only {before + got!r}"
        piece = os.read(number, 65536)
        assert piece, f"ended without {text!r}: {before + got!r}"
        got += piece
    return got


def counts(text: bytes) -> dict[str, int]:
    """The lines `NAME NUMBER` of a target's report."""
    words = [line.rsplit(" ", 1) for line in text.decode("utf-8", "replace").splitlines()]
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].lstrip("-").isdigit()}


@dataclass
class Ended:
    """What a tracer left: its data, its messages, its status."""

    out: str
    err: str
    status: int


@dataclass
class Tracer:
    """A tracer in the background, armed when the `with` block begins."""

    argv: tuple[str, ...]
    armed: bool = True
    env: dict[str, str] = field(default_factory=environment)

    def __enter__(self) -> Tracer:
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            [*BPFTIME, "trace", "--ready-fd", str(writer), *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            pass_fds=[writer],
            env=self.env,
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            try:
                if self.armed:
                    read_until(pipe, b"READY=1\n")
            except AssertionError as error:
                self.process.kill()
                ended = self._collect()
                raise AssertionError(f"{error}\nstatus {ended.status}\n{ended.out}{ended.err}") from None
        return self

    def end(self, number: int = signal.SIGINT) -> Ended:
        """Send a signal (0: none) and wait for the end."""
        if number:
            self.process.send_signal(number)
        return self._collect()

    def _collect(self) -> Ended:
        status = self.process.wait(timeout=PATIENCE)
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
        return Ended(*texts, status)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in self._files:
            file.close()


def text_of(pid: int) -> dict[tuple[str, int], bytes]:
    """All executable bytes of a process that come from files, by path and address."""
    found = {}
    folder = folder_of(pid)
    with open(f"{folder}/mem", "rb", 0) as memory:
        for line in Path(f"{folder}/maps").read_text().splitlines():
            words = line.split(maxsplit=5)
            if len(words) < 6 or "x" not in words[1] or not words[5].startswith("/") or "memfd" in words[5]:
                continue
            start, end = (int(w, 16) for w in words[0].split("-"))
            code = os.pread(memory.fileno(), end - start, start)
            # What was made writable for a moment may be a mapping of its own since.
            before = next((k for k, v in found.items() if k == (words[5], start - len(v))), (words[5], start))
            found[before] = found.get(before, b"") + code
    return found


def changed(before: dict[tuple[str, int], bytes], after: dict[tuple[str, int], bytes]) -> list[str]:
    """Where code differs, as `path:address`; mappings that came or went are not looked at."""
    places = []
    for key in before.keys() & after.keys():
        if before[key] != after[key]:
            pairs = enumerate(zip(before[key], after[key], strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(before[key]), len(after[key])))
            bytes_now = f"{before[key][at : at + 8].hex()} -> {after[key][at : at + 8].hex()}"
            places.append(f"{key[0]}:{key[1] + at:#x}: {bytes_now}")
    return places


def wait_for_probes(pid: int, path: Path) -> None:
    """Wait until a program's code is no longer what its file says; unused bytes at its end do not count."""
    deadline = time.monotonic() + PATIENCE
    file = path.read_bytes()
    while all(code[:-1024] in file for (name, _), code in text_of(pid).items() if name == str(path)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
