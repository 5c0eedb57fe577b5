"""How long commands take that do nothing: help and list, against an empty Python program."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.row import Row
from tests.tools.tracing import BPFTIME, environment

RUNS = 7


def _best(argv: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(argv, env=environment(), capture_output=True, check=False)
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def rows() -> Iterator[Row]:
    """Each command's start-up."""
    python = _best([sys.executable, "-c", "pass"])
    yield Row("python -c pass", python, "ms")
    for name, argv, goal in (
        ("bpftime --version", ["--version"], 0.0), ("bpftime --help", ["--help"], 150.0),
        ("bpftime list", ["list"], 250.0), ("bpftime trace -e BEGIN", ["trace", "-q", "-e", "BEGIN { exit(); }"], 0.0),
    ):  # fmt: skip
        value = _best([*BPFTIME, *argv])
        yield Row(name, value, "ms", "python -c pass", value / python, goal)
