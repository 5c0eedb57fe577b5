"""What a probe adds to a system call: to the traced one, and to all others of the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

from tests.bench.row import Row
from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, counts, read_until

WARM = 2.0  # seconds
TURNS = 4
BATCHES, CALLS = 60, 50_000
GETPPID, BY_NUMBER, OTHER = 0, 1, 2
LATENCY = """
tracepoint:syscalls:sys_enter_getppid { @s[tid] = nsecs; }
tracepoint:syscalls:sys_exit_getppid { @ = hist(nsecs - @s[tid]); delete(@s[tid]); }
"""
ROWS = (
    ("count() before a call", "tracepoint:syscalls:sys_enter_getppid { @ = count(); }", GETPPID, 3.0),
    ("count() after a call", "tracepoint:syscalls:sys_exit_getppid { @ = count(); }", GETPPID, 0.0),
    ("count() before and after",
     "tracepoint:syscalls:sys_enter_getppid { @ = count(); } tracepoint:syscalls:sys_exit_getppid { @r = count(); }",
     GETPPID, 30.0),
    ("sum() of results", "tracepoint:syscalls:sys_exit_getppid { @ = sum(args.ret); }", GETPPID, 0.0),
    ("a latency histogram by thread", LATENCY, GETPPID, 0.0),
    ("count() of all calls, before", "tracepoint:raw_syscalls:sys_enter { @ = count(); }", GETPPID, 0.0),
    ("count() by number, all calls", "tracepoint:raw_syscalls:sys_enter { @[args.id] = count(); }", GETPPID, 0.0),
    ("count() where any call is made", "tracepoint:syscalls:sys_enter_getppid { @ = count(); }", BY_NUMBER, 0.0),
    ("count() after one made there", "tracepoint:syscalls:sys_exit_getppid { @ = count(); }", BY_NUMBER, 0.0),
    ("another call is traced, of one made there", "tracepoint:syscalls:sys_enter_getuid { @ = count(); }", BY_NUMBER, 1.0),
)  # fmt: skip
PAGE_ROWS = (
    ("+ page 0: count() before a call", ROWS[0][1]),
    ("+ page 0: all are rewritten, another is counted", "tracepoint:raw_syscalls:sys_enter /args.id == 39/ { @ = count(); }"),
)  # fmt: skip


class Calls:
    """The running target and how long its calls take."""

    def __init__(self, target: Running) -> None:
        self.target = target

    def best(self, kind: int) -> float:
        """Nanoseconds a call, the minimum of many short batches."""
        return min(self._once(kind) for _ in range(BATCHES)) / CALLS

    def in_turns(self, kind: int, options: tuple[str, ...]) -> tuple[float, float]:
        """The same with a tracer and without, by turns: the machine's speed changes meanwhile."""
        armed, bare = [], []
        for _ in range(TURNS):
            with Tracer(("-q", "-p", str(self.target.pid), *options)) as tracer:
                armed.append(self.best(kind))
                tracer.end()
            bare.append(self.best(kind))
        return min(armed), min(bare)

    def _once(self, kind: int) -> int:
        self.target.process.stdin.write(b"%d %d\n" % (kind, CALLS))
        self.target.process.stdin.flush()
        return counts(read_until(self.target.process.stdout, b"done\n"))["ns"]


def rows() -> Iterator[Row]:
    """Ours, then the kernel's own tracepoint."""
    with Running(build("askbench")) as target:
        calls = Calls(target)
        bare = calls.best(GETPPID)
        yield Row("getppid()", bare, "ns")
        other, alone = calls.in_turns(OTHER, ("-e", ROWS[0][1]))
        yield Row("a call that is not traced", other, "ns", "the bare call", other / alone)
        for name, program, kind, goal in ROWS:
            armed, again = calls.in_turns(kind, ("-e", program))
            yield Row(f"+ {name}", armed - again, "ns", "the bare call", armed / again, goal)
        yield from _by_page(calls)
        yield from _kernel(calls, bare)
        yield from _perf(calls, bare)


def _by_page(calls: Calls) -> Iterator[Row]:
    """What rewriting every `syscall` to a call into page 0 costs: the traced call, and the others."""
    if os.geteuid():
        yield Row("+ page 0, count()", 0, "ns", skipped="needs root")
        return
    for name, program in PAGE_ROWS:
        armed, bare = calls.in_turns(GETPPID, ("--no-warnings", "--syscalls", "page0-always", "-e", program))
        yield Row(name, armed - bare, "ns", "the bare call", armed / bare)


def _perf(calls: Calls, bare: float) -> Iterator[Row]:
    """A summary by `perf trace`, the kernel's tracepoints and a buffer of events."""
    name = "+ perf trace -s"
    if not shutil.which("perf") or os.geteuid():
        yield Row(name, 0, "ns", skipped="needs root and perf")
        return
    process = subprocess.Popen(
        ["perf", "trace", "-s", "-e", "getppid", "-p", str(calls.target.pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(WARM)  # it does not tell when it has begun
    armed = calls.best(GETPPID)
    process.send_signal(2)
    process.communicate()
    yield Row(name, armed - bare, "ns", "the bare call", armed / bare)


def _kernel(calls: Calls, bare: float) -> Iterator[Row]:
    name = "+ the kernel's tracepoint, count()"
    if not shutil.which("bpftrace") or os.geteuid():
        yield Row(name, 0, "ns", skipped="needs root and bpftrace")
        return
    program = 'BEGIN { printf("on\\n"); } tracepoint:syscalls:sys_enter_getppid { @ = count(); }'
    process = subprocess.Popen(["bpftrace", "-e", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    read_until(process.stdout, b"on\n")
    armed = calls.best(GETPPID)
    process.send_signal(2)
    process.communicate()
    yield Row(name, armed - bare, "ns", "the bare call", armed / bare)
