"""Attach to system calls and detach again and again while threads make them, and while others are blocked in them.

    python -m tests.e2e.callcycles --cycles 1000 --threads 8

One session counts the calls all the time and must count exactly what the program counted itself; another comes
and goes at the beginning and end of all calls, or of some. The program checks every result, and at the end all its code.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from tests.e2e import cycles
from tests.tools.calls import CallScript
from tests.tools.target import build
from tests.tools.tracing import Running, changed, counts, text_of

STAYS = """
tracepoint:syscalls:sys_enter_getppid { @getppid = count(); }
tracepoint:syscalls:sys_enter_gettid { @gettid = count(); }
tracepoint:syscalls:sys_enter_getuid { @getuid = count(); }
tracepoint:syscalls:sys_enter_read /args.count == 64/ { @read = count(); }
tracepoint:syscalls:sys_enter_write /args.count == 7/ { @write = count(); }
tracepoint:syscalls:sys_exit_getppid { @getppid_end = count(); }
tracepoint:syscalls:sys_exit_gettid { @gettid_end = count(); }
tracepoint:syscalls:sys_exit_getuid { @getuid_end = count(); }
tracepoint:syscalls:sys_exit_write /args.ret == 7/ { @write_end = count(); }
"""
COMES = """
tracepoint:raw_syscalls:sys_enter { @in = count(); @last = args.id; }
tracepoint:raw_syscalls:sys_exit { @out = count(); @result = args.ret; }
"""
BUSY = """
tracepoint:syscalls:sys_enter_getppid,tracepoint:syscalls:sys_enter_read { @in = count(); @last = args.__syscall_nr; }
tracepoint:syscalls:sys_exit_gettid,tracepoint:syscalls:sys_exit_write { @out = count(); @result = args.ret; }
"""
TURNS = 16  # every so many cycles all calls, else those that are made all the time
COUNTED = ("getppid", "gettid", "getuid", "read", "write")


@dataclass(frozen=True)
class Outcome(cycles.Outcome):
    """The same, by call; `seen`: calls that were counted by what comes and goes."""

    seen: int

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong, and something happened."""
        return super().is_good and self.seen > 0


def cycle(cycles: int, threads: int) -> Outcome:
    """Run so many cycles under the load of so many threads."""
    with Running(build("calls"), str(threads)) as target:
        before = text_of(target.pid)
        stays, visitors = CallScript(STAYS), (CallScript(COMES), CallScript(BUSY))
        for script in (stays, *visitors):
            script.open(target.pid)
        assert stays.arm() > 0
        target.go()
        start = time.perf_counter()
        for number in range(cycles):
            comes = visitors[number % TURNS > 0]
            comes.attacher.target.refresh()
            assert comes.arm() > 0
            comes.attacher.detach_all(wait=number % 8 == 0)
        seconds = (time.perf_counter() - start) / max(1, cycles)
        target.go()
        own = counts(target.until(b"done\n"))
        stays.attacher.target.refresh()
        stays.disarm()
        restored = changed(before, text_of(target.pid)) == []
        assert target.end() == 0
        totals = {n: stays.total(f"@{n}") - own[n] for n in COUNTED}
        totals |= {f"end of {n}": stays.total(f"@{n}_end") - own[n] for n in COUNTED if n != "read"}
        seen = sum(one.total("@in") + one.total("@out") for one in visitors)
        for script in (stays, *visitors):
            script.close()
    return Outcome(own["wrong"], totals, restored, seconds, sum(own[n] for n in COUNTED), seen)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    wanted = parser.parse_args()
    outcome = cycle(wanted.cycles, wanted.threads)
    print(outcome)
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
