"""Attach and detach again and again while threads run through the site: python -m tests.e2e.cycles --cycles 10000

One session stays armed all the time and must count exactly what the program counted itself; another comes and
goes at the same function and at one of its own. Every result is checked by the program, the code bytes at the end.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from tests.tools.session import Script
from tests.tools.target import build
from tests.tools.tracing import Running, changed, counts, text_of

STAYS = "uprobe:hammer:step { @all = count(); }"
COMES = (
    "uprobe:hammer:step { @in = count(); } uretprobe:hammer:step { @out = count(); } "
    "uprobe:hammer:other { @oin = count(); } uretprobe:hammer:other { @oout = count(); }"
)


@dataclass(frozen=True)
class Outcome:
    """`wrong`: wrong results of the program; `miscounted`: by how much; `seconds`: the mean time of a cycle."""

    wrong: int
    miscounted: int
    restored: bool
    seconds: float
    steps: int


def cycle(cycles: int, threads: int) -> Outcome:
    """Run so many cycles under the load of so many threads."""
    with Running(build("hammer"), str(threads)) as target:
        before = text_of(target.pid)
        stays, comes = Script(STAYS), Script(COMES)
        stays.open(target.pid)
        assert stays.arm() == 1
        comes.open(target.pid)
        target.go()
        start = time.perf_counter()
        for _ in range(cycles):
            _one(comes, target.pid)
        seconds = (time.perf_counter() - start) / max(1, cycles)
        target.go()
        own = counts(target.until(b"done\n"))
        miscounted = abs(stays.total("@all") - own["step"])
        stays.attacher.target.refresh()
        stays.disarm()
        restored = changed(before, text_of(target.pid)) == []
        assert target.end() == 0
        for script in (stays, comes):
            script.close()
    return Outcome(own["wrong"], miscounted, restored, seconds, own["step"])


def _one(comes: Script, pid: int) -> None:
    comes.attacher.target.refresh()
    assert comes.arm() == 4
    comes.disarm()
    state = open(f"/proc/{pid}/stat", "rb").read()
    assert state.rpartition(b")")[2].split()[0] != b"Z", "the program died"


def main() -> int:
    """Run the command; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    options = parser.parse_args()
    done = cycle(options.cycles, options.threads)
    print(
        f"{options.cycles} cycles, {options.threads} threads, {done.steps:,} calls: {done.wrong} wrong, {done.miscounted} miscounted, "
        f"code {'restored' if done.restored else 'CHANGED'}, {done.seconds * 1000:.1f} ms a cycle"
    )
    return int(bool(done.wrong or done.miscounted) or not done.restored)


if __name__ == "__main__":
    raise SystemExit(main())
