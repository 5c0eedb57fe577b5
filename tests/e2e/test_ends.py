"""How a trace ends: signals, pipes, full disks, exit codes, options that end it; a million lines without a loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import (
    BPFTIME,
    PATIENCE,
    Running,
    Tracer,
    bpftime,
    changed,
    counts,
    environment,
    text_of,
)

COUNT = "uprobe:loop:step { @ = count(); }"
LINES = 'uprobe:loop:step { printf("%lld\\n", arg1); }'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_prints_the_maps(number: int) -> None:
    with (
        Running(build("loop"), "1", "1000") as target,
        Tracer(("-p", str(target.pid), "-e", COUNT)) as tracer,
    ):
        target.work()
        ended = tracer.end(number)
        assert (ended.out, ended.status) == ("@: 1000\n", 0) or ended.out == "Attached 1 probe\n@: 1000\n"
        assert target.end() == 0


def test_the_target_ends_the_trace() -> None:
    with (
        Running(build("loop"), "1", "1000") as target,
        Tracer(("-q", "-p", str(target.pid), "-e", COUNT)) as tracer,
    ):
        target.work()
        assert target.end() == 0
        ended = tracer.end(0)
    assert (ended.out, ended.err, ended.status) == ("@: 1000\n", "", 0)


def test_a_killed_target_ends_the_trace() -> None:
    with (
        Running(build("loop"), "1", "1000") as target,
        Tracer(("-q", "-p", str(target.pid), "-e", COUNT)) as tracer,
    ):
        target.work()
        target.process.kill()
        target.process.wait()
        ended = tracer.end(0)
    assert (ended.out, ended.err, ended.status) == ("@: 1000\n", "", 0)


def test_usr1_prints_and_goes_on() -> None:
    with Running(build("loop"), "1", "1000") as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", COUNT + ' END { printf("end\\n"); }')) as tracer:
            target.work()
            tracer.process.send_signal(signal.SIGUSR1)
            ended = tracer.end()
        assert ended.status == 0
        assert ended.out.endswith("end\n@: 1000\n")
        assert target.end() == 0


def launch(
    *options: str, stdin: bytes = b"\n\n", target: tuple[str, ...] = ("1", "1000"), program: str = COUNT
) -> subprocess.CompletedProcess[bytes]:
    return bpftime("trace", *options, "-e", program, "--", str(build("loop")), *target, stdin=stdin)


def test_quiet_and_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = launch("-o", str(out))
    assert (done.returncode, done.stdout) == (0, b"ready\ncalls 1000\ndone\n")
    assert (out.read_bytes() + done.stderr).replace(b"Attached 1 probe\n", b"", 1) == b"@: 1000\n"
    done = launch("-q", "-o", str(out))
    assert (done.returncode, done.stderr, out.read_bytes()) == (0, b"", b"@: 1000\n")


def test_json(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert launch("-f", "json", "-o", str(out)).returncode == 0
    kinds = [json.loads(line) for line in out.read_text().splitlines()]
    assert [k["type"] for k in kinds] == ["attached_probes", "map"]
    assert kinds[1]["data"] == {"@": 1000}


def test_exit_code_of_the_command() -> None:
    for script, status in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        argv = ("trace", "-q", "-e", "uprobe:libc.so.6:exit { @ = count(); } END { clear(@); }")
        assert bpftime(*argv, "--exit-code", "--", "sh", "-c", script).returncode == status, script
        assert bpftime(*argv, "--", "sh", "-c", script).returncode == 0, script


def test_exit_of_the_script_wins() -> None:
    assert bpftime("trace", "-q", "-e", "BEGIN { exit(5); }").returncode == 5
    done = launch("-q", target=("1", "1000"), program="uprobe:loop:step { exit(9); }")
    assert done.returncode == 9


def test_fail_on_empty() -> None:
    assert bpftime("trace", "-q", "--fail-on", "empty", "-e", "BEGIN { exit(); }").returncode == 4


def test_duration_and_most_events() -> None:
    with Running(build("loop"), "1", "1000") as target:
        done = bpftime("trace", "-q", "--duration", "50ms", "-p", str(target.pid), "-e", COUNT)
        assert (done.returncode, done.stdout) == (0, b"")
        with Tracer(("-q", "--max-events", "3", "-p", str(target.pid), "-e", LINES)) as tracer:
            target.work()
            ended = tracer.end(0)
        assert (ended.out, ended.status) == ("0\n1\n2\n", 0)
        assert target.end() == 0


def test_dry_run_arms_and_undoes() -> None:
    with Running(build("loop"), "1", "1000") as target:
        before = text_of(target.pid)
        done = bpftime("trace", "--dry-run", "-p", str(target.pid), "-e", COUNT)
        assert (done.returncode, done.stdout) == (0, b"")
        assert b"step" in done.stderr
        assert changed(before, text_of(target.pid)) == []
        assert target.work()["calls"] == 1000
        assert target.end() == 0


def test_the_line_that_test_suites_wait_for() -> None:
    with Running(build("loop"), "1", "1000") as target:
        env = environment(__BPFTRACE_NOTIFY_PROBES_ATTACHED="1")
        with Tracer(("-q", "-p", str(target.pid), "-e", COUNT), env=env) as tracer:
            target.work()
            ended = tracer.end()
        assert ended.out == "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n@: 1000\n"


def test_the_reader_of_the_pipe_leaves() -> None:
    """`| head -1`: the normal end, status 0, the target unharmed."""
    with Running(build("loop"), "2", "200000") as target:
        before = text_of(target.pid)
        env = environment(__BPFTRACE_NOTIFY_PROBES_ATTACHED="1")
        argv = [*BPFTIME, "trace", "-q", "-p", str(target.pid), "-e", LINES]
        tracer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        assert tracer.stdout.readline() == b"__BPFTRACE_NOTIFY_PROBES_ATTACHED\n"
        tracer.stdout.close()
        target.go()
        err = tracer.stderr.read()
        assert (tracer.wait(PATIENCE), err) == (0, b"")
        tracer.stderr.close()
        target.until(b"done\n")
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams(closed: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *BPFTIME, "trace", "-e", 'BEGIN { printf("hello\\n"); exit(); }'],
        capture_output=True, timeout=PATIENCE, env=environment(), check=False)  # fmt: skip
    assert b"Traceback" not in done.stderr
    assert b"BUG" not in done.stderr
    assert done.returncode in (0, 1)
    if closed == 0:
        assert b"hello\n" in done.stdout


def test_a_full_disk_ends_with_one_message() -> None:
    with Running(build("loop"), "1", "100000") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-o", "/dev/full", "-p", str(target.pid), "-e", LINES)) as tracer:
            target.work()
            ended = tracer.end(0)
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert (ended.out, ended.status) == ("", 1)
    assert ended.err.count("ERROR") == 1


def test_a_million_lines_lose_none(tmp_path: Path) -> None:
    """Ten bursts of 100,000 from one thread fit the ring; what does not fit would be told."""
    out = tmp_path / "out"
    with Running(build("paced"), "10", "100000") as target:
        with Tracer(
            (
                "-q",
                "-o",
                str(out),
                "-p",
                str(target.pid),
                "-e",
                'uprobe:paced:step { printf("%lld\\n", arg0); }',
            )
        ) as tracer:
            expected = 0
            target.go()
            for _ in range(10):
                target.until(b"burst\n")
                target.said = b""
                expected += 100000
                while out.stat().st_size < size_of(expected):
                    os.sched_yield()
                target.go()
            target.until(b"done\n")
            ended = tracer.end()
        assert target.end() == 0
    assert (ended.err, ended.status) == ("", 0)
    assert out.read_bytes() == b"".join(b"%d\n" % n for n in range(1_000_000))


def size_of(numbers: int) -> int:
    return sum(len(str(n)) + 1 for n in range(numbers))


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    """Without a pause the ring may overflow: printed and lost lines are all lines."""
    out = tmp_path / "out"
    with Running(build("loop"), "2", "1000000") as target:
        with Tracer(("-f", "json", "-o", str(out), "-p", str(target.pid), "-e", LINES + COUNT)) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    printed = sum(line["type"] == "printf" for line in lines)
    lost = sum(line["data"]["events"] for line in lines if line["type"] == "lost_events")
    assert ended.status == 0
    assert printed + lost == 2_000_000
    assert lines[-1] == {"type": "map", "data": {"@": 2_000_000}}


def test_a_full_map_is_told() -> None:
    with Running(build("plain"), "100") as target:
        program = "config = { max_map_keys = 10 } uprobe:plain:outer { @[arg0] = count(); }"
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            target.work()
            ended = tracer.end()
        assert target.end() == 0
    assert ended.status == 0
    assert len(counts(ended.out.encode())) == 10
    assert ended.err.count("WARNING: Map full; can't update element. Try increasing") == 10
    assert "WARNING: 80 more of: Map full; can't update element." in ended.err


def test_a_process_that_ends_while_attaching() -> None:
    """Short-lived programs, launched and attached: never a traceback, always 0 or 3."""
    for _ in range(5):
        process = subprocess.Popen(["sleep", "0.25"])
        done = bpftime("trace", "-q", "-p", str(process.pid), "-e", "uprobe:libc.so.6:* { @ = count(); }")
        process.wait()
        assert done.returncode in (0, 3), done.stderr
        assert b"BUG" not in done.stderr
        done = bpftime("trace", "-q", "-e", "uprobe:libc.so.6:malloc { @[arg0] = count(); }", "--", "true")
        assert (done.returncode, done.stderr) == (0, b"")


def test_begin_end_and_interval_need_no_target() -> None:
    program = 'BEGIN { printf("b\\n"); @n = 0; } interval:ms:5 { @n++; if (@n == 4) { exit(); } } END { printf("e\\n"); }'
    done = bpftime("trace", "-q", "-e", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"b\ne\n@n: 4\n", b"")


ENDLESS = "{ $i = 0; while (true) { @ = count(); $i++ } }"


@pytest.mark.parametrize("probe", ["begin", "uprobe:loop:step"])
def test_a_loop_without_end_is_ended_and_told(probe: str) -> None:
    target = () if probe == "begin" else ("--", str(build("loop")), "1", "1")
    done = bpftime("trace", "-q", "-e", f"{probe} {ENDLESS}", *target)
    assert done.returncode == 0
    assert done.stdout.endswith(b"@: %d\n" % ((1 << 23) + 1))
    assert b"1 run was ended by a loop that went round more than 8388608 times" in done.stderr
