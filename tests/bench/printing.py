"""What printing costs: a record in the traced program, lines and maps in the tracer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from runtime.lang import Options, compile_script
from tests.bench.row import Row
from tests.bench.scripts import best
from tests.tools.script import Session
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer

LINES, KEYS, RUNS = 500_000, 10_000, 5
BURSTS = {
    "lines of three numbers": 'printf("%d %d %d\\n", $i, $i * 2, $i + 5)',
    "lines with two strings": 'printf("%s %d %s\\n", comm, $i, "text")',
}
MAPS = {
    "numbers by number": "@[$i] = $i * 7 % 1000",
    "counts by two keys": '@[$i, "text"] = count()',
}


def _filled(body: str, count: int) -> Session:
    text = f"config = {{ max_map_keys = {2 * KEYS} }} begin {{ for ($i : 0..{count}) {{ {body}; }} }}"
    session = Session(compile_script(text, "stdin", Options()))
    for image in session.images.values():
        session.sandbox.program(image)()
    return session


def _record() -> Row:
    path = str(build("works"))
    script = f'uprobe:{path}:step {{ printf("%d %d %d\\n", arg0, arg1, arg2); }}'
    with Running(path) as target:
        bare = best(target, "call")
        with Tracer(
            ("-q", "--no-warnings", "-o", "/dev/null", "-p", str(target.pid), "-e", script)
        ) as tracer:
            traced = best(target, "call")
            tracer.end()
    return Row(
        "printf: a record of three numbers", traced - bare, "ns", f"bare, {bare:.0f} ns", traced / bare, 60
    )


def _lines(name: str, body: str) -> Row:
    fastest = 0.0
    for _ in range(RUNS):
        session = _filled(body, LINES)
        start = time.perf_counter()
        session.drain()
        fastest = max(fastest, session.out.count(b"\n") / (time.perf_counter() - start))
    return Row(f"printing: {name}", fastest / 1e6, "M/s")


def _map(name: str, body: str) -> Row:
    session, fastest = _filled(body, KEYS), float("inf")
    for _ in range(RUNS):
        start = time.perf_counter()
        session.show("@")
        fastest = min(fastest, time.perf_counter() - start)
    return Row(f"printing: a map of {KEYS:,} {name}", fastest * 1000, "ms", goal=50)


def rows() -> Iterator[Row]:
    """One row each."""
    yield _record()
    for name, body in BURSTS.items():
        yield _lines(name, body)
    for name, body in MAPS.items():
        yield _map(name, body)
