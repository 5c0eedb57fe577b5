"""Attach and detach again and again while threads run through the sites.

    python -m tests.e2e.cycles --cycles 10000 --threads 64

One session counts ten functions all the time and must count exactly what the program counted itself; another
comes and goes at the entries and returns of the same ones, together or by turns. Every result is checked by the
program, the bytes of all code at the end. `--functions N` takes only the first N.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.tools.session import Script
from tests.tools.target import build
from tests.tools.tracing import Running, changed, counts, text_of

PLACES = {
    "malloc": "libc.so.6", "memcpy": "libc.so.6", "pthread_mutex_lock": "libc.so.6", "ten_six": "ten",
    "ten_recursive": "ten", "ten_tail": "ten", "ten_nine": "ten", "strlen": "libc.so.6", "free": "libc.so.6",
    "pthread_mutex_unlock": "libc.so.6",
}  # fmt: skip
TURNS = 4  # every fourth cycle all functions together, else one alone
RESTS = 8  # after every eighth, padding and code memory are given back: that waits for all threads


@dataclass(frozen=True)
class Outcome:
    """`wrong`: wrong results of the program; `miscounted`: by function; `seconds`: the mean time of a cycle."""

    wrong: int
    miscounted: dict[str, int]
    restored: bool
    seconds: float
    calls: int

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        return not self.wrong and not any(self.miscounted.values()) and self.restored


def cycle(cycles: int, threads: int, functions: int = len(PLACES)) -> Outcome:
    """Run so many cycles under the load of so many threads."""
    names = list(PLACES)[:functions]
    with Running(build("ten"), str(threads)) as target:
        before = text_of(target.pid)
        stays = Script(" ".join(f"uprobe:{PLACES[n]}:{n} {{ @{n} = count(); }}" for n in names))
        stays.open(target.pid)
        assert stays.arm() == len(names)
        with _visitors(names, target.pid) as visitors:
            target.go()
            start = time.perf_counter()
            for number in range(cycles):
                comes = visitors[0 if number % TURNS == 0 else 1 + number % functions]
                _one(comes, target.pid, wait=number % RESTS == 0)
            seconds = (time.perf_counter() - start) / max(1, cycles)
            target.go()
            own = counts(target.until(b"done\n"))
            miscounted = {n: stays.total(f"@{n}") - own[n] for n in names}
            stays.attacher.target.refresh()
            stays.disarm()
            restored = changed(before, text_of(target.pid)) == []
            assert target.end() == 0
        stays.close()
    return Outcome(own["wrong"], miscounted, restored, seconds, sum(own[n] for n in names))


@contextmanager
def _visitors(names: list[str], pid: int) -> Iterator[list[Script]]:
    """The sessions that come and go: one for all functions, then one for each."""
    pair = "uprobe:{1}:{0} {{ @in = count(); }} uretprobe:{1}:{0} {{ @out = count(); }}"
    texts = [pair.format(n, PLACES[n]) for n in names]
    scripts = [Script(" ".join(texts)), *(Script(text) for text in texts)]
    for script in scripts:
        script.open(pid)
    yield scripts
    for script in scripts:
        script.close()


def _one(comes: Script, pid: int, *, wait: bool) -> None:
    comes.attacher.target.refresh()
    assert comes.arm() == len(comes.script.probes)
    comes.attacher.detach_all(wait=wait)
    state = open(f"/proc/{pid}/stat", "rb").read()
    assert state.rpartition(b")")[2].split()[0] != b"Z", "the program died"


def main() -> int:
    """Run the command; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--functions", type=int, default=len(PLACES), choices=range(1, len(PLACES) + 1))
    options = parser.parse_args()
    done = cycle(options.cycles, options.threads, options.functions)
    print(
        f"{options.cycles} cycles, {options.threads} threads, {options.functions} functions, {done.calls:,} calls: "
        f"{done.wrong} wrong, miscounted {({n: d for n, d in done.miscounted.items() if d}) or 'none'}, "
        f"code {'restored' if done.restored else 'CHANGED'}, {done.seconds * 1000:.1f} ms a cycle"
    )
    return int(not done.is_good)


if __name__ == "__main__":
    raise SystemExit(main())
