"""System calls where no jump fits: told, or probed by a trap or by a call into page 0."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, Tracer, changed, counts, environment, text_of

ROUNDS = 2000
SCRIPT = (
    "tracepoint:syscalls:sys_enter_getppid { @in = count(); } "
    "tracepoint:syscalls:sys_exit_getppid { @out = count(); @pid = args.ret; }"
)
IS_ROOT = os.geteuid() == 0  # page 0 may be mapped
PAGE = pytest.mark.skipif(not IS_ROOT, reason="only root may map page 0")
MUSL = pytest.mark.skipif(not shutil.which("musl-gcc"), reason="no musl")


def traced(way: str, *argv: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program with its calls traced."""
    command = [*BPFTIME, "trace", "-q", "--exit-code", "--syscalls", way, "-e", SCRIPT, "--"]
    return subprocess.run(
        [*command, str(build("tight")), *argv],
        input=b"\n\n",
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )


def shown(done: subprocess.CompletedProcess[bytes]) -> dict[str, int]:
    """The maps at the end."""
    lines = [line.split(": ") for line in done.stdout.decode().splitlines() if line.startswith("@")]
    return {name: int(value) for name, value in lines}


def test_they_are_told_of_when_nothing_else_is_asked_for() -> None:
    done = traced("jump", str(ROUNDS))
    assert done.stderr.count(b"no room for a jump") == 1
    assert b"--syscalls trap" in done.stderr
    assert b"wrong 0\n" in done.stdout


@pytest.mark.parametrize(
    "way", ["trap", pytest.param("page0", marks=PAGE), pytest.param("page0-always", marks=PAGE)]
)
def test_each_is_seen_on_both_sides_once(way: str) -> None:
    done = traced(way, str(ROUNDS))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"wrong 0\n" in done.stdout
    assert shown(done) == {"@in": 2 * ROUNDS + 1, "@out": 2 * ROUNDS + 1, "@pid": shown(done)["@pid"]}


@pytest.mark.parametrize("way", ["trap", pytest.param("page0", marks=PAGE)])
def test_detaching_puts_everything_back(way: str) -> None:
    with Running(build("tight"), str(ROUNDS)) as target:
        before = text_of(target.pid)
        tracer = subprocess.Popen(
            [
                *BPFTIME,
                "trace",
                "-q",
                "--ready-fd",
                "1",
                "--syscalls",
                way,
                "-e",
                SCRIPT,
                "-p",
                str(target.pid),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        tracer.stdout.read(1)
        assert changed(before, text_of(target.pid)) != []
        tracer.send_signal(2)
        tracer.communicate(timeout=PATIENCE)
        assert changed(before, text_of(target.pid)) == []
        maps = Path(f"/proc/{target.pid}/maps").read_text()
        assert not maps.startswith("00000000-")
        status = Path(f"/proc/{target.pid}/status").read_text()
        assert "SigCgt:\t0000000000000000" in status
        target.go()
        assert counts(target.until(b"done\n"))["wrong"] == 0


def test_a_program_that_handles_traps_itself_is_left_alone() -> None:
    with Running(build("tight"), "10", "trap") as target:
        command = [
            *BPFTIME,
            "trace",
            "-q",
            "--duration",
            "100ms",
            "--syscalls",
            "trap",
            "-e",
            SCRIPT,
            "-p",
            str(target.pid),
        ]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, env=environment(), check=False)
        assert b"handles or blocks SIGTRAP itself" in done.stderr
        target.go()
        assert counts(target.until(b"done\n"))["wrong"] == 0


@PAGE
def test_a_call_of_a_null_pointer_ends_as_it_would() -> None:
    bare = subprocess.run([build("tight"), "1", "null"], input=b"\n\n", capture_output=True, check=False)
    done = traced("page0", "1", "null")
    assert bare.returncode == -11
    assert done.returncode == 128 + 11


def test_calls_of_generated_code_are_handed_over() -> None:
    script = (
        "tracepoint:raw_syscalls:sys_enter { @in[args.id] = count(); } "
        "tracepoint:raw_syscalls:sys_exit { @out[args.id] = count(); }"
    )
    command = [*BPFTIME, "trace", "-q", "--exit-code", "--syscalls", "dispatch", "-e", script, "--"]
    done = subprocess.run(
        [*command, str(build("made")), str(ROUNDS)],
        input=b"\n\n",
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"wrong 0\n" in done.stdout
    found = shown(done)
    assert found["@in[39]"] == found["@out[39]"] == 6 * (ROUNDS + 1)  # five threads and a child
    assert (found["@in[57]"], found["@out[57]"]) == (1, 2)  # fork, made there, returns twice


def test_a_running_program_is_as_before_when_its_calls_are_no_longer_handed_over() -> None:
    with Running(build("made"), str(ROUNDS)) as target:
        options = ("-q", "--syscalls", "dispatch", "-p", str(target.pid))
        with Tracer((*options, "-e", "tracepoint:syscalls:sys_enter_getpid { @in = count(); }")) as tracer:
            ended = tracer.end()
        assert (ended.status, ended.err) == (0, "")
        status = Path(f"/proc/{target.pid}/status").read_text()
        assert "SigCgt:\t0000000000000000" in status
        target.go()
        assert counts(target.until(b"done\n"))["wrong"] == 0


def test_a_program_that_handles_handed_over_calls_itself_is_left_alone() -> None:
    with Running(build("made"), "handles", "10") as target:
        options = ("-q", "--syscalls", "dispatch", "-p", str(target.pid))
        with Tracer((*options, "-e", "tracepoint:syscalls:sys_enter_getpid { @in = count(); }")) as tracer:
            target.go()
            assert counts(target.until(b"done\n"))["wrong"] == 0
            assert "handles or blocks SIGSYS itself" in tracer.end().err


@MUSL
@pytest.mark.parametrize("flags", [("-static",), ("-static", "-s"), ()], ids=["static", "stripped", "shared"])
def test_calls_of_musl_that_can_be_cancelled_are_seen_to_end(flags: tuple[str, ...]) -> None:
    program = build("cancelled", *flags, compiler="musl-gcc")
    loader = [] if flags else ["/lib/ld-musl-x86_64.so.1"]
    script = "tracepoint:syscalls:sys_enter_read { @in = count(); } tracepoint:syscalls:sys_exit_read { @out = count(); }"
    done = subprocess.run(
        [*BPFTIME, "trace", "-q", "--no-warnings", "-e", script, "--", *loader, str(program)],
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )
    assert b"cancelled 1\n" in done.stdout
    assert shown(done) == {"@in": 1001, "@out": 1000}
