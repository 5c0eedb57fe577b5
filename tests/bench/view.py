"""The view of system calls beside strace: what one call costs the program, with a line for each, and with a table."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

from tests.bench.row import Row
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, counts, read_until

GETPPID, CALLS, BATCHES = 0, 20_000, 8
STARTS = 5


def rows() -> Iterator[Row]:
    """Ours, then strace with the same options."""
    with Running(build("askbench")) as target:
        bare = _best(target)
        yield Row("getppid()", bare, "ns")
        ours: dict[str, float] = {}
        for name, options in (("a line", ()), ("a table", ("--summary",))):
            with Tracer(("-q", "-o", "/dev/null", "-p", str(target.pid), *options)) as tracer:
                ours[name] = _best(target) - bare
                tracer.end()
            yield Row(f"+ {name}: bpftime trace -p", ours[name], "ns", "the bare call", ours[name] / bare + 1)
        for name, options in (("a line", ()), ("a table", ("-c",))):
            yield _strace(target, bare, name, options, ours[name])
        yield Row("the view armed by -p", min(_arm(target) for _ in range(STARTS)), "ms", goal=300)


def _strace(target: Running, bare: float, name: str, options: tuple[str, ...], ours: float) -> Row:
    title = f"+ {name}: strace -p"
    if not shutil.which("strace"):
        return Row(title, 0, "ns", skipped="no strace")
    command = ["strace", "-f", "-o", "/dev/null", *options, "-p", str(target.pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    read_until(process.stderr, b"attached")
    cost = _best(target, batches=2) - bare
    process.terminate()
    process.communicate()
    return Row(title, cost, "ns", "ours", cost / ours)


def _arm(target: Running) -> float:
    start = time.perf_counter()
    with Tracer(("-q", "-o", "/dev/null", "-p", str(target.pid))) as tracer:
        took = time.perf_counter() - start
        tracer.end()
    return 1000 * took


def _best(target: Running, batches: int = BATCHES) -> float:
    """Nanoseconds a call, the minimum of some batches."""
    return min(_once(target) for _ in range(batches)) / CALLS


def _once(target: Running) -> int:
    target.process.stdin.write(b"%d %d\n" % (GETPPID, CALLS))
    target.process.stdin.flush()
    return counts(read_until(target.process.stdout, b"done\n"))["ns"]
