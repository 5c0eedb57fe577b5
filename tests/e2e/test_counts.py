"""Exact counts while eight threads hammer a function, however the tracer gets into the process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, Tracer, changed, counts, environment, text_of

THREADS, CALLS = 8, 200_000
PROGRAM = "uprobe:loop:step { @in = count(); @arg[arg1] = count(); } uretprobe:loop:step { @out = count(); @sum = sum(retval & 1); }"


def check(own: dict[str, int], got: dict[str, int]) -> None:
    total = THREADS * CALLS
    assert own["calls"] == total
    assert (got["@in:"], got["@out:"]) == (total, total)
    assert {k: got[f"@arg[{k}]:"] for k in range(8)} == dict.fromkeys(range(8), total // 8)


@pytest.mark.parametrize("how", ["ptrace", "frida"])
def test_running(how: str) -> None:
    with Running(build("loop"), str(THREADS), str(CALLS)) as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "--inject", how, "-e", PROGRAM)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert (ended.status, ended.err) == (0, "")
    check(own, counts(ended.out.encode()))


@pytest.mark.parametrize("how", ["ptrace", "frida"])
def test_attached_and_taken_out_while_it_runs(how: str) -> None:
    """What is counted between is at most what happened, entries never lag, and the program computes on."""
    with Running(build("loop"), str(THREADS), str(10 * CALLS)) as target:
        before = text_of(target.pid)
        target.go()
        with Tracer(("-q", "-p", str(target.pid), "--inject", how, "-e", PROGRAM)) as tracer:
            ended = tracer.end()
        own = counts(target.until(b"done\n"))
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    got = counts(ended.out.encode())
    assert own["calls"] == 10 * THREADS * CALLS
    assert abs(got.get("@in:", 0) - got.get("@out:", 0)) <= THREADS
    assert got.get("@in:", 0) <= own["calls"]


def test_launched(tmp_path: Path) -> None:
    out = tmp_path / "data"
    argv = [
        *BPFTIME,
        "trace",
        "-q",
        "-o",
        str(out),
        "-e",
        PROGRAM,
        "--",
        str(build("loop")),
        str(THREADS),
        str(CALLS),
    ]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=PATIENCE, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    check(counts(done.stdout), counts(out.read_bytes()))


def test_malloc_of_eight_threads() -> None:
    """The one-liner of the read-me: keyed by size, on libc's malloc, with a size that only the program uses."""
    with Running(build("mallocs"), str(THREADS), str(CALLS)) as target:
        program = (
            "uprobe:libc.so.6:malloc { @[arg0] = count(); } uprobe:libc.so.6:free /arg0/ { @free = count(); }"
        )
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert target.end() == 0
    got = counts(ended.out.encode())
    assert got["@[4321]:"] == own["malloc"] == THREADS * CALLS
    assert got["@free:"] >= own["malloc"]


def test_several_processes_share_one_map() -> None:
    with (
        Running(build("loop"), "2", str(CALLS)) as first,
        Running(build("loop"), "2", str(CALLS)) as second,
    ):
        with Tracer(
            (
                "-q",
                "-p",
                f"{first.pid},{second.pid}",
                "-e",
                "uprobe:loop:step { @[pid] = count(); @all = count(); }",
            )
        ) as tracer:
            first.go()
            second.go()
            first.until(b"done\n")
            second.until(b"done\n")
            ended = tracer.end()
        assert (first.end(), second.end()) == (0, 0)
    got = counts(ended.out.encode())
    assert got == {"@all:": 4 * CALLS, f"@[{first.pid}]:": 2 * CALLS, f"@[{second.pid}]:": 2 * CALLS}


def test_what_is_printed_and_cleared_again_and_again_adds_up() -> None:
    """Programs count on between the print and the clear of an interval; nothing is lost or counted twice.

    A key goes with what it held; an addition that has found it but not yet added may go with it.
    """
    program = (
        "uprobe:loop:step { @n = count(); @arg[arg1] = count(); @sum = sum(arg1); } "
        "interval:ms:2 { print(@n); print(@arg); print(@sum); clear(@n); clear(@arg); clear(@sum); }"
    )
    with Running(build("loop"), str(THREADS), str(CALLS)) as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert target.end() == 0
    total: dict[str, int] = {}
    for line in ended.out.splitlines():
        name, _, value = line.rpartition(": ")
        total[name] = total.get(name, 0) + int(value)
    assert own["calls"] == THREADS * CALLS
    assert total["@n"] == THREADS * CALLS
    assert total["@sum"] == THREADS * CALLS // 8 * sum(range(8))
    keyed = sum(total[f"@arg[{key}]"] for key in range(8))
    assert THREADS * CALLS - 100 <= keyed <= THREADS * CALLS
