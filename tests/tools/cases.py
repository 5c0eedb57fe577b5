"""Scripts in real processes, launched or running: what the case tables of `tests/cases` are made of."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.tools.tracing import BPFTIME, PATIENCE, Ended, Running, Tracer, changed, environment, text_of


def launched(program: str, options: Sequence[str], target: list[str], folder: Path) -> tuple[Ended, str]:
    """Launch the target under a script; gives what the tracer left and what the target said."""
    out = folder / "data"
    argv = [*BPFTIME, "trace", "-q", "-o", str(out), *options, "-e", program, "--", *target]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    data = out.read_text(errors="surrogateescape") if out.exists() else ""
    return Ended(data, done.stderr.decode(), done.returncode), done.stdout.decode()


def attached(
    program: str,
    options: Sequence[str],
    target: list[str],
    *,
    ends_with_us: bool = True,
    fails: bool = False,
    lingers: bool = False,
) -> tuple[Ended, str]:
    """Attach a script to a running target, let that work, detach: its code is as it was, its status 0.

    `fails`: the script cannot be armed. `ends_with_us`: the trace ends when we say so. `lingers`: Frida stays in
    the target's libraries, but not in its own code.
    """
    with Running(*target) as process:
        before = text_of(process.pid)
        with Tracer(("-q", "-p", str(process.pid), *options, "-e", program), armed=not fails) as tracer:
            if fails:
                return tracer.end(0), ""
            process.work()
            ended = tracer.end(2 if ends_with_us else 0)
        after = {
            key: code for key, code in text_of(process.pid).items() if not lingers or key[0] == target[0]
        }
        assert changed(before, after) == []
        assert process.end() in (0, 1)  # 1: its own checks found what an override has done
        return ended, process.said.decode()
