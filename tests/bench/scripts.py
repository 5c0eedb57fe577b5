"""What the ready scripts add to one operation of the kind that they watch."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.row import Row
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, counts, read_until

CALLS, RUNS = 20_000, 9
WATCHED = {
    "funccount": "call",
    "funclatency": "call",
    "funcslower": "call",
    "stackcount": "call",
    "mallocsize": "allocate",
    "memleak": "allocate",
    "lockstat": "lock",
    "syscount": "parent",
    "opensnoop": "open",
    "statsnoop": "stat",
    "iolatency": "write",
    "futexwait": "futex",
    "killsnoop": "kill",
    "connsnoop": "connect",
    "syncsnoop": "sync",
}
PARAMS = ("funccount", "funclatency", "funcslower", "stackcount")  # scripts that are told a function


def best(target: Running, operation: str) -> float:
    """Nanoseconds an operation, the minimum of several runs."""
    found = []
    for _ in range(RUNS):
        target.process.stdin.write(f"{operation} {CALLS}\n".encode())
        target.process.stdin.flush()
        found.append(counts(read_until(target.process.stdout, b"done\n"))["ns"])
    return min(found) / CALLS


def rows() -> Iterator[Row]:
    """One row a script; those whose events are seconds apart are left out."""
    path = str(build("works"))
    for name, operation in WATCHED.items():
        params = (path, "step", "1000000") if name in PARAMS else ()
        with Running(path) as target:
            bare = best(target, operation)
            with Tracer(("-q", "--no-warnings", "-p", str(target.pid), name, *params)) as tracer:
                traced = best(target, operation)
                tracer.end()
        yield Row(f"{name}: {operation}", traced - bare, "ns", f"bare, {bare:.0f} ns", traced / bare)
