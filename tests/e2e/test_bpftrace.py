"""The same scripts under bpftrace and under us, at the same program: equal output (bpftrace needs root and uprobes)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer

# A copy of its own: the kernel's probes belong to the file and show in every process that runs it.
FOLDER = tempfile.TemporaryDirectory(prefix="bpftime-")
PLAIN = str(shutil.copy(build("plain"), FOLDER.name))
# Its reader of arguments knows no floats and no byte registers, so it gets a program of markers that it knows.
MARKED = str(shutil.copy(build("marked"), FOLDER.name))
SCRIPTS = {
    "count": "uprobe:PLAIN:add { @ = count(); }",
    "count of returns": "uretprobe:PLAIN:add { @ = count(); }",
    "keys": "uprobe:PLAIN:six { @[arg0, arg1] = count(); }",
    "text keys": 'uprobe:PLAIN:name_of { @[str(arg0), 1] = count(); }',
    "arguments": 'uprobe:PLAIN:six { printf("%ld %ld %ld %ld %ld %ld\\n", arg0, arg1, arg2, arg3, arg4, arg5); }',
    "retval": 'uretprobe:PLAIN:six { printf("%ld\\n", retval); }',
    "negative": 'uretprobe:PLAIN:negative { printf("%d\\n", (int32)retval); }',
    "narrow": 'uretprobe:PLAIN:narrow { printf("%d\\n", (uint8)retval); }',
    "hist": "uprobe:PLAIN:outer { @ = hist(arg0); }",
    "lhist": "uprobe:PLAIN:outer { @ = lhist(arg0, 0, 40, 5); }",
    "sum min max avg": "uprobe:PLAIN:outer { @s = sum(arg0); @i = min(arg0); @x = max(arg0); @a = avg(arg0); }",
    "predicate": "uprobe:PLAIN:add /arg1 == 10 && arg0 % 3 == 1/ { @ = count(); }",
    "if and else": 'uprobe:PLAIN:outer { if (arg0 > 10) { @big = count(); } else { @small = count(); } }',
    "ternary": 'uprobe:PLAIN:outer { @[arg0 > 10 ? 1 : 0] = count(); }',
    "unroll": "uprobe:PLAIN:outer { $x = arg0; unroll(3) { $x = $x * 2; } @ = sum($x); }",
    "while": "uprobe:PLAIN:outer { $i = 0; while ($i < 3) { @ = sum($i); $i++; } }",
    "strings": 'uprobe:PLAIN:name_of { printf("[%s] [%10s] [%-6s]\\n", str(arg0), str(arg0), str(arg0)); }',
    "formats": 'uprobe:PLAIN:outer { printf("%x %X %5ld %-5ld| %05ld %lx\\n", arg0, arg0, arg0, arg0, arg0, arg0 << 33); }',
    "shifts and bits": 'uprobe:PLAIN:outer { printf("%ld %ld %ld %ld\\n", arg0 << 2, arg0 & 6, arg0 | 8, arg0 ^ 5); }',
    "begin and end": 'BEGIN { printf("b\\n"); @ = 5; } uprobe:PLAIN:outer { @++; } END { printf("e\\n"); }',
    "delete and clear": "uprobe:PLAIN:outer { @[arg0] = arg0; if (arg0 == 7) { delete(@[3]); } @n = count(); }",
    "print with top": "uprobe:PLAIN:outer { @[arg0] = count(); @[1] = count(); } END { print(@, 1); clear(@); }",
    "wildcard": "uprobe:PLAIN:n* { @[func] = count(); }",
    "comm and pid": 'uprobe:PLAIN:outer { @[comm] = count(); @p = count(); }',
    "latency pairs": "uprobe:PLAIN:outer { @s[tid] = nsecs; } uretprobe:PLAIN:outer /@s[tid]/ { @n = count(); delete(@s[tid]); }",
    "several points": "uprobe:PLAIN:add, uprobe:PLAIN:outer, uretprobe:PLAIN:six { @ = count(); }",
    "markers": 'usdt:MARKED:app:turn { printf("%ld %ld %s\\n", arg0, arg1, str(arg2)); }',
    "markers by name alone": "usdt:MARKED:spread { @[arg1] = sum(arg0); }",
    "markers with a counter": "usdt:MARKED:app:guarded { @ = count(); @last = max(arg0); }",
    "markers by wildcard": "usdt:MARKED:app:s* { @ = count(); }",
    "nested": 'uprobe:PLAIN:outer { printf("("); } uprobe:PLAIN:add { printf("a"); } uretprobe:PLAIN:outer { printf(")\\n"); }',
}  # fmt: skip


@cache
def reason() -> str:
    """Why bpftrace cannot be asked; empty when it can."""
    if os.geteuid() != 0 or not shutil.which("bpftrace"):
        return "needs root and bpftrace"
    if not Path("/sys/kernel/tracing/uprobe_events").exists():
        return "tracefs is not mounted"
    done = subprocess.run(
        ["bpftrace", "-e", "BEGIN { exit(); }"], capture_output=True, timeout=30, check=False
    )
    return "" if done.returncode == 0 else "bpftrace does not run here"


EPOLL_WAIT = "232"


def _ended(process: subprocess.Popen[bytes]) -> bytes:
    """What it printed; a signal between its look at the flag and its wait is lost, so it is told again."""
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return process.communicate()[0]


def program_of(script: str) -> str:
    """The program that a script is about."""
    return MARKED if MARKED in script else PLAIN


def theirs(script: str) -> str:
    """bpftrace says nothing before its end here; it is ready when it waits for events."""
    with Running(program_of(script), "20") as target:
        argv = ["bpftrace", "-q", "-e", script, "-p", str(target.pid)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            if Path(f"/proc/{process.pid}/syscall").read_text().split()[0] == EPOLL_WAIT:
                break
            time.sleep(0.005)
        target.work()
        time.sleep(0.3)  # it drops lines that it has not read when the signal comes
        out = _ended(process)
        target.end()
    assert process.returncode == 0
    return out.decode("utf-8", "surrogateescape")


def ours(script: str) -> str:
    with Running(program_of(script), "20") as target:
        with Tracer(("-q", "--no-warnings", "-e", script, "-p", str(target.pid))) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert ended.status == 0, ended.err
    return ended.out


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_output(name: str) -> None:
    if reason():
        pytest.skip(reason())
    script = SCRIPTS[name].replace("PLAIN", PLAIN).replace("MARKED", MARKED)
    want, got = (
        sorted(line.rstrip() for line in text(script).splitlines() if line.strip()) for text in (theirs, ours)
    )
    assert got == want
