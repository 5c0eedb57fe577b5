"""Ordinary programs with all their system calls traced, beside the same programs bare; and the order of the calls.

    python -m tests.e2e.transparent [NAME …]

Each must print the same and end alike. With --order, as root and with perf: each thread's calls are the kernel's of
the same run, see samerun.py. Else, where strace is there, each thread of ours must be a subsequence of one
that strace saw (greedily), and what is missing must be of a known kind: the loader's start, calls that never
return, returns from signal handlers, and what a vfork child does, which bears its parent's number here.
"""

from __future__ import annotations

import argparse
import errno
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from runtime.syscalls.table import name_of
from tests.e2e import samerun
from tests.tools.target import SOURCES
from tests.tools.tracing import BPFTIME, environment

ALL = "tracepoint:raw_syscalls:sys_enter { @in = count(); } tracepoint:raw_syscalls:sys_exit { @out = count(); }"
EACH = 'tracepoint:raw_syscalls:sys_exit { printf("%d %lld %lld\\n", tid, args.id, args.ret); }'
LIMIT = 120.0
PYTHON = """
import threading, subprocess, os, signal, time
signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def work():
    for i in range(200):
        os.getppid(); i % 50 or time.sleep(0.0001)
ts = [threading.Thread(target=work) for _ in range(50)]
[t.start() for t in ts]; [t.join() for t in ts]
print(subprocess.check_output(["echo", "hi"]))
for i in range(5):
    pid = os.fork() or os._exit(i)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
TREE = """
import os, sys
def grow(depth):  # 1,110 processes: each waits for its children and passes on how many there were
    if depth == 3:
        return 0
    ends = []
    for _ in range(10):
        r, w = os.pipe()
        if not os.fork():
            os.write(w, b"%d" % (1 + grow(depth + 1)))
            os._exit(0)
        os.close(w)
        ends.append(r)
    total = sum(int(os.read(r, 20)) for r in ends)
    [os.close(r) or os.wait() for r in ends]
    return total
print(grow(0))
"""
NODE = (
    'console.log(require("child_process").execSync("echo hi") + ""); setTimeout(() => console.log("t"), 20)'
)
PROGRAMS: dict[str, tuple[str, ...]] = {
    "true": ("true",),
    "false": ("false",),
    "cat": ("cat", "/etc/hostname"),
    "ls": ("ls", "-l", "/usr/lib"),
    "sh": ("sh", "-c", "for i in 1 2 3 4 5; do echo $i | cat; done; exit 3"),
    "bash": ("bash", "-c", "for i in $(seq 30); do x=$(echo $i); echo $x; done | sort -n | tail -3; kill -9 $$"),
    "python3": ("python3", "-c", PYTHON),
    "git": ("sh", "-c", "cd $SCRATCH && rm -rf a && git init -q a && cd a && echo 1 > f && git add f && git -c user.name=a -c "
            "user.email=b@c commit -qm c && cd .. && rm -rf b && git clone -q a b && git -C b log --format=%s"),
    "make": ("sh", "-c", "cd $SCRATCH && printf 'all: a b c d e f\\n%%:\\n\\t@sh -c \"true $$(echo $@)\"\\n' > Makefile "
             "&& make -s -j4 && echo made"),
    "sqlite3": ("sqlite3", ":memory:", "create table t(a); insert into t values (1), (2); select sum(a) from t;"),
    "node": ("node", "-e", NODE),
    "perl": ("perl", "-e", 'print "x$_\\n" for 1..3; system("echo perl"); exit 7'),
    "gcc": ("sh", "-c", f"gcc -O1 -c {SOURCES / 'plain.c'} -o $SCRATCH/o.o && echo ok"),
    "xargs": ("sh", "-c", "seq 60 | xargs -P8 -n1 true; echo $?"),
    "timeout": ("sh", "-c", "timeout 0.2 sleep 5; echo $?"),
    "awk": ("awk", 'BEGIN { while (("echo a" | getline l) > 0) print l; print 3 }'),
    "forks": ("python3", "-c", "import os\nfor i in range(1000):\n    p = os.fork() or os._exit(i % 7)\n"
              "    assert os.waitpid(p, 0)[1] >> 8 == i % 7\nprint('done')"),
    "tree": ("python3", "-c", TREE),
    "su": ("setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c", "id -u; cat /etc/shadow; echo $?"),
    "busybox": ("busybox", "sh", "-c", "for i in 1 2 3; do echo $i | busybox md5sum; done; busybox find /etc -name 'host*' | sort"),
    "spawn": ("python3", "-c", "import os\nfor i in range(100):\n    p = os.posix_spawn('/bin/true', ['true'], {})\n"
              "    assert os.waitpid(p, 0)[1] == 0\nprint('done')"),
}  # fmt: skip
BUILT = {
    "go": ("go", "till.go", ("go", "build", "-o")),
    "musl": ("musl-gcc", "asks.c", ("musl-gcc", "-static", "-O2", "-o")),
    "static": ("gcc", "asks.c", ("gcc", "-static", "-O2", "-o")),
    "traps": ("gcc", "traps.c", ("gcc", "-O2", "-pthread", "-o")),
    "cancel": ("gcc", "cancelled.c", ("gcc", "-O2", "-pthread", "-o")),
    "cancel-musl": ("musl-gcc", "cancelled.c", ("musl-gcc", "-static", "-O2", "-o")),
}
# Results that differ from run to run: addresses, numbers of processes, races.
VARYING = frozenset(
    "mmap brk clone clone3 fork vfork getpid gettid getppid wait4 set_tid_address mremap getpgrp getpgid "
    "setpgid ioctl getrandom futex clock_nanosleep times read".split()
)
LATE = frozenset(("exit", "exit_group", "rt_sigreturn", "execve", "restart_syscall"))
START = 60  # calls that the loader makes at most before it is done


def commands(wanted: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The programs that are here; some are compiled first."""
    scratch = Path(tempfile.mkdtemp(prefix="bpftime-"))
    for name, command in PROGRAMS.items():
        if (not wanted or name in wanted) and shutil.which(command[0]):
            yield name, tuple(word.replace("$SCRATCH", str(scratch)) for word in command)
    for name, (compiler, source, build) in BUILT.items():
        if (not wanted or name in wanted) and shutil.which(compiler):
            out = scratch / name
            subprocess.run([*build, str(out), str(SOURCES / source)], check=True, cwd=SOURCES)
            yield name, (str(out), "2")


def run(command: tuple[str, ...]) -> tuple[bytes, int]:
    done = subprocess.run(command, input=b"\n\n", capture_output=True, timeout=LIMIT, check=False)
    return done.stdout, done.returncode if done.returncode >= 0 else 128 - done.returncode


def traced(program: str, command: tuple[str, ...], out: str) -> tuple[bytes, int, str]:
    argv = [*BPFTIME, "trace", "-q", "--exit-code", "--follow", "-o", out, "-e", program, "--", *command]
    done = subprocess.run(
        argv, input=b"\n\n", capture_output=True, timeout=LIMIT, env=environment(), check=False
    )
    return done.stdout, done.returncode, done.stderr.decode(errors="replace")


# --- the order of calls

Call = tuple[str, object]


def of_strace(command: tuple[str, ...]) -> list[list[Call]]:
    """The calls of each thread that strace sees, in the order in which they end."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        argv = ["strace", "-f", "-o", log.name, "-e", "signal=none", *command]
        subprocess.run(argv, input=b"\n\n", capture_output=True, timeout=LIMIT, check=False)
        found: dict[str, list[Call]] = defaultdict(list)
        for line in log:
            tid, _, rest = line.partition(" ")
            call = re.match(r"\s*(?:<\.\.\. )?(\w+)(?:\(| resumed)", rest)
            result = re.search(r"\) += (-?\w+)(?: ([A-Z0-9]+))?", rest)
            if call and result and result[1] != "?":
                found[tid].append(_call(call[1], result[1], result[2]))
    return list(found.values())


def _call(name: str, value: str, error: str | None) -> Call:
    number = -getattr(errno, error, 0) if value == "-1" and error else int(value, 0)
    return name, "" if name in VARYING else number


def of_ours(command: tuple[str, ...]) -> list[list[Call]]:
    """The calls of each thread that we see."""
    with tempfile.NamedTemporaryFile("r") as log:
        traced(EACH, command, log.name)
        found: dict[str, list[Call]] = defaultdict(list)
        for line in Path(log.name).read_text().splitlines():
            tid, number, result = line.split()
            found[tid].append(_call(name_of(int(number)), result, None))
    return list(found.values())


def difference(ours: list[Call], theirs: list[list[Call]]) -> str:
    """What is wrong with one thread of ours; empty where it is a part of one of theirs."""
    calls = [c for c in ours if c[0] not in LATE]
    for other in theirs:
        missing = _missing(calls, [c for c in other if c[0] not in LATE])
        if missing is not None and not missing:
            return ""
    return f"{len(calls)} calls, {calls[:3]} …"


def _missing(calls: list[Call], other: list[Call]) -> list[Call] | None:
    """What is not ours behind the loader's start; None where ours is no subsequence of theirs."""
    if calls and calls[0][0] in ("clone", "clone3", "fork", "vfork"):
        calls = calls[1:]  # the child's own return from it, which strace does not show
    rest = iter(enumerate(other))
    places = []
    for call in calls:
        at = next((index for index, one in rest if one == call), -1)
        if at < 0:
            return None
        places.append(at)
    lost = set(range(len(other))) - set(places)
    return [other[at] for at in sorted(lost) if at > START]


def _order(command: tuple[str, ...]) -> str:
    if samerun.is_possible():
        count, odd, missing = samerun.compare(command)
        strange = samerun.strange(missing)
        return f", {count} calls, {len(odd)} threads differ from the kernel's {odd[:2]}, missing {strange or 'none'}"
    theirs, ours = of_strace(command), of_ours(command)
    odd = [d for d in (difference(thread, theirs) for thread in ours) if d]
    return f", {sum(map(len, ours))} calls of {len(ours)} threads, {len(odd)} differ from strace's {odd[:2]}"


def main() -> int:
    """Run all and report; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument(
        "--order", action="store_true", help="compare the calls with the kernel's, or strace's"
    )
    wanted = parser.parse_args()
    wrong = 0
    for name, command in commands(wanted.names):
        bare = run(command)
        out, status, err = traced(ALL, command, "/dev/null")
        good = (out, status) == bare
        text = "ok" if good else f"differs: {bare[1]} {bare[0][-80:]!r}, traced {status} {out[-80:]!r}"
        if wanted.order and good:
            text += _order(command)
        print(f"{name:10} {text} {err.strip()[:200]}", flush=True)
        wrong += not good
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
