"""The view of system calls beside strace's: the same calls with the same results, and nearly the same text."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import Running, Tracer, bpftime, changed, counts, environment, text_of

PROGRAMS = {
    "cat": ["cat", "/etc/hostname", "/no/such/file"],
    "ls": ["ls", "-l", "/"],
    "stat": ["stat", "/etc/hostname"],
    "uname": ["uname", "-a"],
    "dd": ["dd", "if=/dev/zero", "of=/dev/null", "bs=4k", "count=5", "status=none"],
    "id": ["id"],
    "sort": ["sort", "/etc/passwd"],
    "sh": ["sh", "-c", "echo one; cd /; pwd; test -e /etc"],
    "python": [sys.executable, "-S", "-c", "import os; os.listdir('/'); open('/etc/hostname').read()"],
    "tail": ["tail", "-n", "2", "/etc/passwd"],
    "sleep": ["sleep", "0.01"],
    "find": ["find", "/etc/apt", "-name", "x*"],
}
CALL = re.compile(r"^(?:\[pid +\d+\] )?(\w+)\((.*)\)\s+= (\S+)")
CHANCE = (
    "getpid",
    "gettid",
    "getppid",
    "getrandom",
    "futex",
    "sysinfo",
    "brk",
    "rseq",
    "set_robust_list",
    "arch_prctl",
    "set_tid_address",
)


def calls(text: str) -> list[tuple[str, str]]:
    """The calls with their results: those of chance and addresses are made equal."""
    found = [m.groups() for line in text.splitlines() if (m := CALL.match(line))]
    return [
        (name, re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", result))
        for name, _, result in found
        if name not in CHANCE
    ]


def theirs(argv: list[str], out: Path) -> list[tuple[str, str]]:
    command = ["strace", "-o", str(out), *argv]
    subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False, env=environment())
    return calls(out.read_text(errors="replace"))


def ours(argv: list[str], out: Path, *options: str) -> list[tuple[str, str]]:
    bpftime("strace", "--time", "none", "--no-durations", "-o", str(out), *options, "--", *argv)
    return calls(out.read_text(errors="replace"))


def can_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_calls_as_strace(name: str, tmp_path: Path) -> None:
    if not can_strace():
        pytest.skip("strace does not run here")
    argv = PROGRAMS[name]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    expected, got = theirs(argv, tmp_path / "theirs"), ours(argv, tmp_path / "ours")
    assert len(got) > 3
    # What the loader does before it calls us is not seen: ours is the end of theirs.
    assert got == expected[-len(got) :]


SHOWN = re.compile(r"^(\w+)\((.*)\) += (.*)$")
BY_CHANCE = (
    "statfs",
    "times",
    "getrusage",
    "wait4",
    "waitid",
    "clone",
    "fork",
    "splice",
    "ppoll",
    "utimensat",
)


def texts(text: str) -> list[str]:
    """The lines between the two marks; addresses, ports and what differs from run to run made equal."""
    found = [m.groups() for line in text.splitlines() if (m := SHOWN.match(line))]
    marks = [number for number, (name, _, _) in enumerate(found) if name == "getpgrp"]
    lines = []
    for name, arguments, result in found[marks[0] + 1 : marks[1]]:
        line = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", f"{name}({arguments}) = {result}")
        line = re.sub(r" /\* [\d.]+ s \*/", "", re.sub(r"htons\(\d+\)", "PORT", line))
        lines.append(re.sub(r"\d+", "N", line) if name in BY_CHANCE else line)
    return lines


def test_same_texts_as_strace(tmp_path: Path) -> None:
    """Of 80 calls with structures, vectors, addresses and sets: each line is strace's, letter by letter."""
    if not can_strace() or platform.machine() != "x86_64":
        pytest.skip("strace does not run here")
    said = subprocess.run(["strace", "-V"], capture_output=True, text=True, check=False).stdout
    if said.split("\n")[0] != "strace -- version 6.1":
        pytest.skip("other versions have other words")
    argv = [str(build("manycalls")), str(tmp_path / "file")]
    strace = ["strace", "-o", str(tmp_path / "theirs"), *argv]
    subprocess.run(strace, capture_output=True, timeout=60, check=False, env=environment())
    bpftime(
        "strace", "--time", "none", "--no-durations", "--no-follow", "-o", str(tmp_path / "ours"), "--", *argv
    )
    expected, got = (texts((tmp_path / name).read_text()) for name in ("theirs", "ours"))
    assert len(got) > 60
    assert got == expected


def test_a_call_that_is_interrupted_is_shown_after_those_of_the_handler(tmp_path: Path) -> None:
    got = ours([str(build("nested"))], tmp_path / "t", "-e", "pause,close")
    assert [row for row in got if row[1] == "-1"] == [("close", "-1"), ("pause", "-1")]


def test_every_program_that_a_process_becomes_is_shown(tmp_path: Path) -> None:
    """The second follows the first without a call of those that are shown between them."""
    words = ["sh", "-c", "exec /usr/bin/env -i /bin/echo one"]
    assert [result for _, result in ours(words, tmp_path / "t", "-e", "execve")] == ["0", "0"]


def test_same_output_and_status(tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    bare = subprocess.run(argv, capture_output=True, check=False)
    done = bpftime("strace", "-q", "-o", str(tmp_path / "t"), "--", *argv)
    assert (done.stdout, done.returncode) == (bare.stdout, bare.returncode)
    assert bare.stderr in done.stderr
    assert (tmp_path / "t").read_text().endswith("+++ exited with 7 +++\n")


def test_text_of_a_few_lines(tmp_path: Path) -> None:
    out = tmp_path / "t"
    bpftime("strace", "--time", "none", "--no-durations", "-y", "-o", str(out), "--", *PROGRAMS["cat"])
    lines = [re.sub(r"\s+= ", " = ", line) for line in out.read_text().splitlines()]
    wanted = [
        r'openat\(AT_FDCWD(<.*>)?, "/etc/hostname", O_RDONLY\) = 3</etc/hostname>',
        r'read\(3</etc/hostname>, ".*\\n", 131072\) = \d+',
        r"close\(3</etc/hostname>\) = 0",
        r'openat\(.*, "/no/such/file", O_RDONLY\) = -1 ENOENT \(No such file or directory\)',
        r"exit_group\(1\) = \?",
        r"\+\+\+ exited with 1 \+\+\+",
    ]
    for pattern in wanted:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern


@pytest.mark.parametrize(
    ("expression", "only"),
    [("openat,close", {"openat", "close"}), ("%stat", {"newfstatat"}), ("/^open/", {"openat"})],
)
def test_sets_of_calls(expression: str, only: set[str], tmp_path: Path) -> None:
    got = ours(PROGRAMS["cat"], tmp_path / "t", "-e", expression)
    assert {name for name, _ in got} == only


def test_everything_but(tmp_path: Path) -> None:
    names = {name for name, _ in ours(PROGRAMS["cat"], tmp_path / "t", "-e", "!close,mmap")}
    assert "openat" in names
    assert not names & {"close", "mmap"}


def test_only_failures_and_only_successes(tmp_path: Path) -> None:
    failed = ours(PROGRAMS["cat"], tmp_path / "t", "-Z", "-e", "%file")
    assert failed
    assert {result for _, result in failed} == {"-1"}
    good = ours(PROGRAMS["cat"], tmp_path / "t", "-z", "-e", "%file")
    assert good
    assert "-1" not in {result for _, result in good}


def test_lines_and_summary_at_once(tmp_path: Path) -> None:
    out = tmp_path / "t"
    assert not bpftime("strace", "-C", "-q", "-o", str(out), "--", *PROGRAMS["cat"]).stdout.startswith(
        b"usage"
    )
    text = out.read_text()
    lines = [line for line in text.splitlines() if re.match(r"\+[\d.]+ openat\(", line)]
    [row] = [line for line in text.splitlines() if line.endswith(" openat")]
    assert str(len(lines)) in row.split()


def test_summary() -> None:
    done = bpftime("strace", "-c", "--sort", "calls", "--", *PROGRAMS["cat"])
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("cat:")]
    assert lines[0].split() == "% time seconds usecs/call calls errors p50 p99 max syscall".split()
    rows = {line.split()[-1]: line.split() for line in lines if not line.startswith("-")}
    assert int(rows["read"][3]) >= 2
    openat = rows["openat"]
    assert int(openat[3]) > int(openat[4]) >= 1


def test_json() -> None:
    done = bpftime("strace", "--json", "-e", "openat", "--", *PROGRAMS["cat"])
    rows = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b'{"type": "syscall"')]
    (row,) = [row for row in rows if '"/no/such/file"' in row["args"]]
    assert (row["name"], row["ret"], row["error"]) == ("openat", -2, "ENOENT")
    assert row["duration"] > 0


def test_slow_calls() -> None:
    done = bpftime("strace", "--slow", "400ms", "--", "sh", "-c", "sleep 0.5; sleep 0.001")
    assert done.stderr.count(b"clock_nanosleep(") == 1


def test_a_running_process() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do sleep 0.01; done"]) as shell:
        done = bpftime("trace", "--calls", "%process", "--duration", "1s", "-p", str(shell.pid))
        shell.kill()
    assert b"wait4(-1, " in done.stdout
    assert done.returncode == 0


def test_trace_without_a_program_is_the_view() -> None:
    done = bpftime("trace", "--calls", "openat", "--", *PROGRAMS["cat"])
    assert b'openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 3' in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("strace",), "give a command or -p PID"),
        (("strace", "-e", "opena", "true"), "unknown system call 'opena'"),
        (("strace", "-e", "%nets", "true"), "unknown class of system calls '%nets'"),
        (("strace", "-e", "/(/", "true"), "is not a regular expression"),
        (("strace", "-z", "-Z", "true"), "-z and -Z exclude one another"),
        (("strace", "--sort", "x", "true"), "Invalid order"),
        (("trace", "--calls", "openat", "-e", "begin { }"), "are for a target without a program"),
    ],
)
def test_refused(argv: tuple[str, ...], message: str) -> None:
    done = bpftime(*argv)
    assert done.returncode in (1, 2)
    assert message.encode() in done.stderr


def test_a_running_program_is_viewed_again_and_again_and_left_as_it_was() -> None:
    """All shapes of calls at once take more than one arena of code."""
    with Running(build("askbench")) as target:
        before = text_of(target.pid)
        for options in ((), ("--summary",), ()):
            with Tracer(("-q", "-o", "/dev/null", "-p", str(target.pid), *options)) as tracer:
                target.process.stdin.write(b"0 2000\n")
                target.process.stdin.flush()
                assert counts(target.until(b"done\n"))["ns"] > 0
                ended = tracer.end()
            assert (ended.status, ended.err) == (0, "")
        assert changed(before, text_of(target.pid)) == []
