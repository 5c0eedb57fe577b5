"""What tracing costs, as ratios of one run: python -m tests.bench [--json FILE] [--only WORD]

Each figure is the minimum of several runs. `+ns` is what a probe adds to one call of a function; baselines are
the bare call, Frida's Interceptor and the kernel's uprobe of the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from tests.bench import attaching, calls, code, cuda, printing, scripts, starting, syscalls, view
from tests.bench.row import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "calls": calls.rows,
    "syscalls": syscalls.rows,
    "view": view.rows,
    "attaching": attaching.rows,
    "starting": starting.rows,
    "printing": printing.rows,
    "scripts": scripts.rows,
    "code": code.rows,
    "cuda": cuda.rows,
}


def main() -> int:
    """Print the table; 0 unless a part could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE too")
    parser.add_argument("--only", metavar="PART", choices=PARTS, help="one part only")
    options = parser.parse_args()
    found = []
    print(f"{'what':46} {'value':>12}  {'against':30} goal")
    for name, rows in PARTS.items():
        if options.only in (None, name):
            for row in rows():
                found.append(row)
                print(row, flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([asdict(row) for row in found], file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
