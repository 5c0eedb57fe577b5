"""System calls in real processes: exact counts under load, objects, programs that decide, ordinary programs."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import samerun
from tests.e2e.callcycles import cycle
from tests.e2e.transparent import commands, difference, of_ours, of_strace
from tests.tools.compile_bpf import TARGETS, compile_bpf, has_clang
from tests.tools.target import build
from tests.tools.tracing import BPFTIME, PATIENCE, Running, bpftime, counts, environment

ALL = "tracepoint:raw_syscalls:sys_enter { @in = count(); } tracepoint:raw_syscalls:sys_exit { @out = count(); }"
CLANG = pytest.mark.skipif(not has_clang(), reason="no clang")


def test_calls_are_counted_exactly_while_others_come_and_go() -> None:
    outcome = cycle(8, 4)
    assert outcome.is_good, outcome


def launched(*command: str) -> tuple[subprocess.CompletedProcess[bytes], subprocess.CompletedProcess[bytes]]:
    """Run a command bare, and with all its calls and those of its children traced."""
    bare = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    argv = [*BPFTIME, "trace", "-q", "--exit-code", "--follow", "-o", "/dev/null", "-e", ALL, "--", *command]
    traced = subprocess.run(argv, capture_output=True, timeout=PATIENCE, env=environment(), check=False)
    return bare, traced


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "for i in 1 2 3; do echo $i | cat; done; exit 3"),
        ("bash", "-c", "x=$(seq 20 | sort -n | tail -1); echo $x; (exit 5) || echo $?; kill -TERM $$"),
        (
            "python3",
            "-c",
            "import threading, subprocess, os, signal\n"
            "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
            "ts = [threading.Thread(target=lambda: [os.getppid() for _ in range(300)]) for _ in range(20)]\n"
            "[t.start() for t in ts]; [t.join() for t in ts]\n"
            "print(subprocess.check_output(['echo', 'hi']), os.waitpid(os.fork() or os._exit(9), 0)[1])\n",
        ),
        ("sqlite3", ":memory:", "create table t(a); insert into t values (1), (2); select sum(a) from t;"),
    ],
    ids=lambda c: c[0],
)
def test_programs_do_what_they_do_untraced(command: tuple[str, ...]) -> None:
    try:
        bare, traced = launched(*command)
    except FileNotFoundError:
        pytest.skip(f"no {command[0]}")
    assert traced.stdout == bare.stdout
    assert traced.returncode == (bare.returncode if bare.returncode >= 0 else 128 - bare.returncode)
    assert traced.stderr == bare.stderr


def cells(session: str) -> list[int]:
    """What the map of counts holds now, as far as it is not 0."""
    shown = bpftime("maps", "counts", "--session", session).stdout.decode()
    return [int(line.rpartition(" ")[2]) for line in shown.splitlines()]


def test_what_can_break_a_program_does_not() -> None:
    bare, traced = launched(str(build("traps")))
    assert bare.stdout.count(b"\n") == 10
    assert (traced.stdout, traced.returncode, traced.stderr) == (bare.stdout, bare.returncode, bare.stderr)


@CLANG
def test_programs_of_an_object_go_where_their_sections_say(tmp_path: Path) -> None:
    code = compile_bpf(TARGETS / "calls.bpf.c")
    if code is None:
        pytest.skip("no headers of libbpf")
    file = tmp_path / "calls.bpf.o"
    file.write_bytes(code)
    with Running(build("calls"), "2") as target:
        name = f"calls-{target.pid}"
        done = bpftime("load", str(file), "--session", name, "-p", str(target.pid), "--detached")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b"syscall:") == 6
        target.go()
        deadline = time.monotonic() + PATIENCE
        while len(cells(name)) < 6 and time.monotonic() < deadline:
            continue
        target.go()
        own = counts(target.until(b"done\n"))
        found = cells(name)
        assert bpftime("detach", "--all", "--unload", "--session", name).returncode == 0
        assert target.end() == 0
    assert own["wrong"] == 0
    assert found == [own["getppid"]] * 2 + [own["write"]] * 4


def test_a_followed_program_shows_what_it_becomes() -> None:
    program = 'tracepoint:syscalls:sys_enter_execve { printf("%s %s\\n", comm, str(*(uint64*)args.argv)); }'
    command = (
        "sh",
        "-c",
        "/bin/echo one; env -i /bin/true; /nonexistent/program 2>/dev/null; exec /bin/echo two",
    )
    done = bpftime("trace", "-q", "--follow", "-e", program, "--", *command)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith(("sh ", "env "))]
    assert lines == ["sh /bin/echo", "sh env", "env /bin/true", "sh /nonexistent/program", "sh /bin/echo"]


def test_nothing_of_the_kernel_alone_is_attached() -> None:
    done = bpftime("trace", "-e", "tracepoint:sched:sched_switch { }", "--", "true")
    assert done.returncode == 1
    assert b"cannot be served in user space" in done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.skipif(not samerun.is_possible(), reason="needs root and perf")
@pytest.mark.parametrize("name", ["sh", "python3"])
def test_the_calls_are_those_that_the_kernel_sees_in_the_same_run(name: str) -> None:
    (command,) = dict(commands([name])).values()
    count, wrong, missing = samerun.compare(command)
    assert count > 100
    assert (wrong, samerun.strange(missing)) == ([], {})


@pytest.mark.parametrize("name", ["cat", "ls", "sh", "static"])
def test_the_calls_are_those_that_strace_sees_in_their_order(name: str) -> None:
    found = list(commands([name]))
    if not found:
        pytest.skip(f"no {name}")
    theirs, ours = of_strace(found[0][1]), of_ours(found[0][1])
    assert sum(map(len, ours)) > 10
    assert [text for text in (difference(thread, theirs) for thread in ours) if text] == []
