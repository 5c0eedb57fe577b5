"""What traced programs fork and become: all of it is traced, and none of it can tell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from tests.tools.target import build
from tests.tools.tracing import (
    BPFTIME,
    PATIENCE,
    Running,
    Tracer,
    bpftime,
    counts,
    environment,
    wait_for_probes,
)

CASES = tomllib.loads((Path(__file__).parents[1] / "cases" / "follow.toml").read_text())["case"]
FLAVOURS = {
    "dynamic": ((), "gcc"),
    "static": (("-static",), "gcc"),
    "static_pie": (("-static-pie",), "gcc"),
    "musl": ((), "musl-gcc"),
    "musl_static": (("-static",), "musl-gcc"),
}
MALLOCS = "uprobe:libc.so.6:malloc { @[comm] = count(); }"


def stage(flavour: str) -> Path:
    flags, compiler = FLAVOURS[flavour]
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    return build("stage", *flags, as_name=f"stage-{flavour}", compiler=compiler)


def words_of(text: str, folder: Path) -> list[str]:
    def replace(match: re.Match[str]) -> str:
        if match[1] != "script":
            return str(stage(match[1]))
        script = folder / "script"
        script.write_text(f"#!/bin/sh\n{stage('dynamic')}\n")
        script.chmod(0o755)
        return str(script)

    return re.sub(r"\{(\w+)\}", replace, text).split()


def launched(
    words: list[str], program: str, folder: Path, *options: str, **more: object
) -> tuple[subprocess.CompletedProcess[bytes], str]:
    """Run a command under `trace` to its end; the command's output and status, and our own data."""
    data = folder / "data"
    argv = [*BPFTIME, "trace", "-q", "--exit-code", "-o", str(data), *options, "-e", program, "--", *words]
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False, **more)
    return done, data.read_text(errors="surrogateescape")


def bare(words: list[str], **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False, **more)


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_case(case: dict, tmp_path: Path) -> None:
    words = words_of(case["argv"], tmp_path)
    expected = bare(words, env=environment())
    assert expected.returncode == 0, expected.stderr
    done, data = launched(
        words, "uprobe:stage-*:stage_step { @ = count(); }", tmp_path, "--no-warnings", env=environment()
    )
    assert (done.stdout, done.stderr, done.returncode) == (expected.stdout, expected.stderr, 0)
    assert data == f"@: {case['count']}\n"


def test_each_process_says_its_own_number(tmp_path: Path) -> None:
    words = words_of("{dynamic} spawn {dynamic} fork {dynamic} exec {dynamic}", tmp_path)
    _, data = launched(words, "uprobe:stage-*:stage_step { @[pid] = count(); }", tmp_path, env=environment())
    assert sorted(counts(data.encode()).values()) == [10, 10, 20]


@pytest.mark.parametrize(
    "command",
    [
        "env",
        "sh -c 'env; sh -c env'",
        "tr '\\0' '\\n' < /proc/self/environ",
        'LD_PRELOAD=libm.so.6 sh -c \'env; exec tr "\\0" "\\n" < /proc/self/environ\'',
        "LD_PRELOAD=libm.so.6 python3 -c 'import os; print(sorted(os.environ)); os.system(\"env\")'",
        "env -i A=1 sh -c env",
        'ls -l /proc/self/fd | sed "s/.* [0-9]*:[0-9]* //; s/[0-9][0-9]*\\]//; s/proc.[0-9]*//"',
        "grep -i '^sig[^q]\\|tracer\\|thread\\|nonewpriv\\|seccomp' /proc/self/status",
        "ps -o pid= --ppid $$ | wc -l",
    ],
)
def test_the_environment_is_the_one_that_was_given(command: str, tmp_path: Path) -> None:
    env = environment(PATH="/usr/bin:/bin", LC_ALL="C")
    words = ["/bin/bash", "-c", command]
    expected = bare(words, env=env)
    done, data = launched([*words], MALLOCS, tmp_path, env=env)
    clean = [line for line in done.stdout.splitlines() if line not in expected.stdout.splitlines()]
    assert (clean, done.stderr, done.returncode) == ([], expected.stderr, expected.returncode)
    assert len(done.stdout) == len(expected.stdout)
    assert data


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    """nohup, and a shell's `&`, ignore some; we handle them ourselves, but the program must not notice."""
    words = ["grep", "SigIgn", "/proc/self/status"]
    ignoring = ["sh", "-c", "trap '' INT QUIT HUP TERM USR1; exec \"$@\"", "sh"]
    expected = bare([*ignoring, *words])
    argv = [*BPFTIME, "trace", "-q", "-o", str(tmp_path / "data"), "-e", MALLOCS, "--", *words]
    done = bare([*ignoring, *argv], env=environment())
    assert (done.stdout, done.stderr) == (expected.stdout, b"")
    assert int(expected.stdout.split()[1], 16) & 0x4207 == 0x4207


def test_broken_pipes_end_programs_as_ever(tmp_path: Path) -> None:
    """Python ignores SIGPIPE; what it starts must not."""
    done, _ = launched(["bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}"], MALLOCS, tmp_path)
    assert done.stdout == b"y\n141\n"


STORMS = {
    "a thousand children": "i=0; while [ $i -lt 1000 ]; do (exit 3) & i=$((i+1)); done; wait; echo $?",
    "programs in parallel": "seq 60 | xargs -P 8 -n 1 sh -c 'echo $0' | sort -n",
    "a pipeline": "for i in $(seq 8); do seq $i | tr '\\n' ' ' | wc -c; done",
    "status words": "nosuch; echo $?; /etc/passwd; echo $?; sh -c 'kill -9 $$'; echo $?; timeout 0.1 sleep 9; echo $?",
    "job control": "set -m; sleep 0.2 & kill -STOP %1; sleep 0.05; kill -CONT %1; wait %1; echo $?",
    "a signal that is handled": "trap 'echo usr1' USR1; kill -USR1 $$; (trap '' TERM; sh -c 'kill -TERM $$; echo no'); echo $?",
    "descriptors of all kinds": "exec 3>/dev/null 4</dev/null; sh -c 'exec 3>&- 4<&-; ls /'; (ulimit -n 20; ls / | head -1)",
    "many files in parallel": "cd {} && for i in 1 2 3 4 5 6 7 8; do echo int f$i\\;>f$i.c; done; printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\n' > Makefile; make -s -j4 && ls",
    "a repository": "cd {} && git init -q . && echo x > x && git add x && git -c user.name=a -c user.email=b commit -qm m && git gc -q && git log --format=%s && ls",
    "as autoconf does": "ac=`(expr 3 + 4) 2>/dev/null`; echo $ac `echo hello | sed -e s/l/L/g | tr a-z A-Z`; test -x /bin/ls && echo ls; trap 'echo bye' 0; exit 3",
    "a tree of shells": 'f() { [ $1 = 0 ] || { sh -c "echo $1"; f $(($1 - 1)) & wait; }; }; f 12',
}


@pytest.mark.parametrize("name", STORMS)
def test_storms(name: str, tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs.append(["sh", "-c", STORMS[name].replace("{}", str(folder))])
    expected = bare(runs[0])
    done, data = launched(runs[1], MALLOCS, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (
        expected.stdout,
        expected.stderr,
        expected.returncode,
    )
    assert data


def test_a_tracer_that_follows_many_keeps_no_descriptors() -> None:
    words = ["sh", "-c", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; ulimit -n"]
    argv = ["prlimit", "--nofile=48", *BPFTIME, "trace", "-q", "-e", MALLOCS, "--", *words]
    done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"48\n@[sh]: ")


THREADS = """
import os, subprocess, sys, threading
def work(n):
    for i in range(2):
        assert subprocess.run(["sh", "-c", f"exit {n}"]).returncode == n
        pid = os.fork()
        if not pid:
            os.execv("/bin/sh", ["sh", "-c", f"exit {n}"])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n
    done.append(n)
done = []
threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(done), os.listdir("/proc/self/fd"))
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child is left")
"""


def test_sixty_four_threads_that_fork_and_exec(tmp_path: Path) -> None:
    done, _ = launched(["python3", "-W", "ignore", "-c", THREADS], MALLOCS, tmp_path)
    assert (done.stdout, done.stderr) == (b"64 ['0', '1', '2', '3']\nno child is left\n", b"")


@pytest.mark.parametrize("moment", [0.3, 0.45, 0.6, 0.9])
def test_a_killed_tracer_leaves_the_storm_alone(moment: float, tmp_path: Path) -> None:
    """At whatever moment it is killed: nobody waits for it, nobody dies."""
    out = tmp_path / "out"
    script = f"for i in $(seq 60); do sh -c 'echo x'; done | wc -l > {out}.new; mv {out}.new {out}"
    argv = [*BPFTIME, "trace", "-q", "-e", MALLOCS, "--", "sh", "-c", script]
    tracer = subprocess.Popen(argv, env=environment(), start_new_session=True)
    time.sleep(moment)
    tracer.kill()
    tracer.wait()
    members = [p for p in processes() if session_of(p) == tracer.pid]
    deadline = time.monotonic() + PATIENCE
    while any(session_of(p) == tracer.pid for p in members) and time.monotonic() < deadline:
        time.sleep(0.01)
    if members:
        assert out.read_text() == "60\n"


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def session_of(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] == "Z" else int(words[3])


# --- running processes ---

FAMILY = "uprobe:family:member { @ = count(); }"


@pytest.mark.parametrize(("option", "children"), [("--follow", True), ("--no-follow", False), ("", False)])
def test_children_of_a_running_process(option: str, children: bool) -> None:
    with Running(build("family"), "4", "500") as target:
        options = [option] if option else []
        with Tracer(("-q", *options, "-p", str(target.pid), "-e", FAMILY)) as tracer:
            own = target.work()
            ended = tracer.end()
        assert target.end() == 0
    got = counts(ended.out.encode())["@:"]
    assert (ended.err, ended.status, own["bad"]) == ("", 0, 0)
    if children:
        assert got == own["member"]
    else:  # what the process did itself, and a vfork child that shares its memory
        assert got < own["member"] / 2


def test_children_of_a_launched_program_are_left_alone_if_asked(tmp_path: Path) -> None:
    words = words_of("{dynamic} fork {dynamic}", tmp_path)
    _, data = launched(words, "uprobe:stage-*:stage_step { @ = count(); }", tmp_path, "--no-follow")
    assert data == "@: 10\n"


@pytest.mark.parametrize("follow", [True, False])
def test_a_running_process_becomes_another_program(follow: bool) -> None:
    script = f"echo ready; read x; exec {build('loop')} 2 1000"
    with Running("sh", "-c", script) as target:
        options = ("--follow",) if follow else ()
        with Tracer(
            (
                "-q",
                "--no-warnings",
                "--pending",
                *options,
                "-p",
                str(target.pid),
                "-e",
                "uprobe:loop:step { @ = count(); } uprobe:libc.so.6:dup2 { @d = count(); }",
            )
        ) as tracer:
            target.said = b""
            target.go()
            target.until(b"ready\n")
            assert target.work()["calls"] == 2000
            assert target.end() == 0
            ended = tracer.end(0)
    assert ended.status == 0
    assert counts(ended.out.encode()).get("@:", 0) == (2000 if follow else 0)


def test_a_process_that_is_no_longer_itself_is_told() -> None:
    with Running("sh", "-c", f"echo ready; read x; exec {build('loop')} 1 10") as target:
        with Tracer(("-q", "-p", str(target.pid), "-e", MALLOCS)) as tracer:
            target.said = b""
            target.go()
            target.until(b"ready\n")
            ended = tracer.end(0)  # it has no probe left
        target.work()
        assert target.end() == 0
    assert (ended.err, ended.status) == (
        f"WARNING: {target.pid} became {build('loop')}; probes gone\n",
        0,
    )


# --- by name ---


def test_processes_by_name() -> None:
    loop = build("loop", as_name=f"loop{os.getpid()}"[:15])
    program = "uprobe:loop*:step { @[pid] = count(); }"
    with Running(loop, "1", "100") as one, Running(loop, "1", "200") as two:
        with Tracer(("-q", "--name", loop.name, "-e", program)) as tracer:
            one.work()
            two.work()
            ended = tracer.end()
        assert (one.end(), two.end()) == (0, 0)
    assert counts(ended.out.encode()) == {f"@[{one.pid}]:": 100, f"@[{two.pid}]:": 200}


def test_processes_that_start_later_under_a_name() -> None:
    loop = build("loop", as_name=f"late{os.getpid()}"[:15])
    with Tracer(
        ("-q", "--no-warnings", "--name", loop.name, "--follow", "-e", "uprobe:late*:step { @ = count(); }")
    ) as tracer:
        for _ in range(2):
            with Running(loop, "1", "100") as target:
                wait_for_probes(target.pid, loop)
                target.work()
                assert target.end() == 0
        ended = tracer.end(signal.SIGINT)
    assert (ended.out, ended.err, ended.status) == ("@: 200\n", "", 0)


def test_no_process_of_that_name() -> None:
    done = bpftime("trace", "-q", "--name", "nosuchname", "-e", MALLOCS)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"ERROR: no process of yours is called 'nosuchname'\nHINT: " in done.stderr
