"""Several tracers at one process, tracers that are killed, cycles of attaching: the target computes on."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.e2e.cycles import cycle
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, Running, Tracer, changed, counts, environment, read_until, text_of

STEP = "uprobe:loop:step { @ = count(); }"
RETURN = "uretprobe:loop:step { @ = count(); }"


@pytest.mark.parametrize("first_ends_first", [True, False])
@pytest.mark.parametrize(
    "programs",
    [(STEP, STEP), (STEP, RETURN), (RETURN, STEP), (RETURN, RETURN)],
    ids=["entry", "mixed", "return-first", "return"],
)
def test_two_tracers_at_one_function(programs: tuple[str, str], first_ends_first: bool) -> None:
    with Running(build("loop"), "4", "100000") as target:
        before = text_of(target.pid)
        with (
            Tracer(("-q", "-p", str(target.pid), "-e", programs[0])) as first,
            Tracer(("-q", "-p", str(target.pid), "-e", programs[1])) as second,
        ):
            own = target.work()
            order = (first, second) if first_ends_first else (second, first)
            ended = [tracer.end() for tracer in order]
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert [counts(e.out.encode()) for e in ended] == [{"@:": own["calls"]}] * 2, ended


def test_one_of_two_tracers_leaves_while_calls_go_on() -> None:
    with Running(build("loop"), "4", "4000000") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", STEP)) as stays:
            target.go()
            for program in (RETURN, STEP, RETURN):
                with Tracer(("-q", "-p", str(target.pid), "-e", program)) as comes:
                    assert comes.end().status == 0
            own = counts(target.until(b"done\n"))
            ended = stays.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert counts(ended.out.encode()) == {"@:": own["calls"]}


def test_several_programs_at_one_function() -> None:
    program = f"{STEP.replace('@', '@a')} {STEP.replace('@', '@b')} {RETURN.replace('@', '@c')} {RETURN.replace('@', '@d')} uprobe:loop:step* {{ @e = count(); }}"
    with Running(build("loop"), "4", "100000") as target:
        before = text_of(target.pid)
        with Tracer(("-q", "-p", str(target.pid), "-e", program)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert counts(ended.out.encode()) == {f"@{name}:": own["calls"] for name in "abcde"}


def test_tracer_killed_at_random_moments() -> None:
    """Ten times, also in the middle of attaching: the program lives, is right, and can be traced again."""
    chance = random.Random(7)
    with Running(build("loop"), "4", "30000000") as target:
        before = text_of(target.pid)
        target.go()
        for _ in range(10):
            process = subprocess.Popen(
                [*BPFTIME, "trace", "-q", "-p", str(target.pid), "-e", f"{STEP} {RETURN.replace('@', '@r')} uprobe:libc.so.6:m* {{ @m = count(); }}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
            )  # fmt: skip
            time.sleep(chance.uniform(0.1, 0.7))  # the moment is what is tested
            process.kill()
            process.wait()
            assert target.process.poll() is None
        target.until(b"done\n")
        own = counts(target.said)
        with Tracer(("-q", "-p", str(target.pid), "-e", STEP)) as tracer:
            assert tracer.end().status == 0
        subprocess.run([*BPFTIME, "list"], env=environment(), capture_output=True, timeout=60, check=False)
        left = changed(before, text_of(target.pid))
        assert target.end() == 0
    assert own["calls"] == 4 * 30000000
    assert left == [], "the next commands clean up"


def test_a_hundred_cycles_under_load() -> None:
    done = cycle(100, threads=8)
    assert done.is_good, done


def test_cycles_of_the_command_line() -> None:
    """Ten whole runs of the command, ended by a signal each, while eight threads hammer the function."""
    with Running(build("loop"), "8", "20000000") as target:
        before = text_of(target.pid)
        target.go()
        for number in range(10):
            with Tracer(("-q", "-p", str(target.pid), "-e", STEP if number % 2 else RETURN)) as tracer:
                ended = tracer.end(signal.SIGTERM)
            assert (ended.status, ended.err) == (0, "")
        own = counts(target.until(b"done\n"))
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
    assert own["calls"] == 8 * 20000000


def test_the_named_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.cycles", "--cycles", "3", "--threads", "4"],
        capture_output=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"0 wrong" in done.stdout


@pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb")
def test_a_debugger_steps_through_a_probed_function() -> None:
    """gdb comes while the probes are there and goes through them instruction by instruction."""
    with Running(build("caller")) as target:
        before = text_of(target.pid)
        probes = "uprobe:caller:caller_add { @in = count(); } uretprobe:caller:caller_add { @out = count(); }"
        with Tracer(("-q", "-p", str(target.pid), "-e", probes)) as tracer:
            commands = ["set pagination off", "break fgets", "continue", "stepi 4000", "delete", "detach"]
            script = [word for text in commands for word in ("-ex", text)]
            debugger = subprocess.Popen(
                ["gdb", "-q", "-batch", "-p", str(target.pid), *script],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            read_until(debugger.stdout, b"Breakpoint 1")
            target.process.stdin.write(b"5\n6\n7\n")
            target.process.stdin.flush()
            for number in (5, 6, 7):
                result = number + 2 * number + sum(range(2 * number & 3))
                assert f"is {result}\n".encode() in target.until(f"is {result}\n".encode())
            debugger.communicate(timeout=60)
            ended = tracer.end()
        assert ended.status == 0, ended.err
        assert "@in: 3" in ended.out
        assert "@out: 3" in ended.out
        assert changed(before, text_of(target.pid)) == []
        assert target.end() == 0
