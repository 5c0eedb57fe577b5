"""The calls of one run as we see them and as the kernel does, at the same time: nothing differs by chance.

`perf record` takes the kernel's tracepoint while a program runs under us; it needs root. Each thread of ours
must be a part of the kernel's, in order and with the same results. What is missing is counted by call, and
must be of a kind that is known: what the loader does before we come, what never returns, what ends a signal
handler, and what the agent does for us. A child of vfork
bears its parent's number here, as does one of fork that was called by its number: the C library thinks so too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from runtime.syscalls.table import name_of
from tests.tools.tracing import BPFTIME, environment

EACH = 'tracepoint:raw_syscalls:sys_exit { printf("%d %lld %lld\\n", tid, args.id, args.ret); }'
LIMIT = 180.0
Call = tuple[int, int]
# What the agent and a visit do in a thread of the program (runtime/agent, attachers/inject).
OURS = frozenset(
    "futex kill tkill tgkill access gettid getpid mmap munmap mprotect membarrier process_vm_readv rt_sigaction open "
    "close madvise socketpair recvmsg prctl arch_prctl clock_gettime memfd_create ftruncate newfstatat sched_yield execve rt_sigprocmask".split()
)
CREATES = (56, 57, 58, 435)  # clone, fork, vfork, clone3
EXECUTED = (59, 0)
RETURNED = -1  # as what rt_sigreturn ends: the number of the interrupted context, which was in no call
AGAIN = range(-516, -511)  # results inside the kernel: the call is made again (include/linux/errno.h)
START = 400  # calls, with those of the agent, behind an execve before we see all; and which they are
LOADER = frozenset(
    "read openat pread64 set_tid_address set_robust_list rseq prlimit64 brk getrandom fstat".split()
)
OLD_GETPID = 20  # by int 0x80, which we do not see: the kernel's tracepoint has it as writev
RESTARTED, INTERRUPTED = 219, -4  # restart_syscall; EINTR
FAR = 12  # calls, within which the next that is alike is the one that is meant
NEAR = 4  # calls of the agent may stand between
UNSEEN = frozenset(("rt_sigreturn", "restart_syscall", "execve", "exit", "exit_group"))


def is_possible() -> bool:
    """Whether the kernel can be asked."""
    return os.geteuid() == 0 and shutil.which("perf") is not None


def both(command: tuple[str, ...]) -> tuple[dict[int, list[Call]], list[tuple[int, Call]]]:
    """Our calls by thread, and the kernel's in the order of time with their threads."""
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder, "data"), Path(folder, "log")
        argv = [*BPFTIME, "trace", "-q", "--follow", "-o", str(log), "-e", EACH, "--", *command]
        record = [
            "perf",
            "record",
            "-q",
            "-m",
            "8192",
            "-o",
            str(data),
            "-e",
            "raw_syscalls:sys_exit",
            "--",
            *argv,
        ]
        subprocess.run(
            record, input=b"\n\n", capture_output=True, timeout=LIMIT, env=environment(), check=False
        )
        script = ["perf", "script", "-i", str(data), "-F", "tid,trace"]
        text = subprocess.run(script, capture_output=True, timeout=LIMIT, check=False).stdout.decode()
        ours: dict[int, list[Call]] = defaultdict(list)
        for line in log.read_text().splitlines():
            tid, number, result = map(int, line.split())
            ours[tid].append((number, result))
        rows = re.findall(r"^\s*(\d+) +NR (-?\d+) = (-?\d+)$", text, re.M)
        return ours, [(int(tid), (int(number), int(result))) for tid, number, result in rows]


def compare(command: tuple[str, ...]) -> tuple[int, list[str], Counter[str]]:
    """How many calls of ours there were, what of them the kernel does not have, and what of its is missing by name."""
    ours, kernel = both(command)
    theirs = _by_thread(kernel, ours)
    wrong: list[str] = []
    missing: Counter[str] = Counter()
    for tid, calls in ours.items():
        lost = _missing(calls, theirs.get(tid, []))
        if lost is None:
            wrong.append(f"thread {tid}: {len(calls)} calls are no part of the kernel's")
        else:
            missing.update(
                name_of(number) for number, result in lost if (number, result) != (OLD_GETPID, tid)
            )
    return sum(map(len, ours.values())), wrong, missing


def _by_thread(kernel: list[tuple[int, Call]], ours: dict[int, list[Call]]) -> dict[int, list[Call]]:
    """The kernel's calls by thread; those of a child that bears its parent's number go there."""
    owner: dict[int, int] = {}
    found: dict[int, list[Call]] = defaultdict(list)
    parents = {result: tid for tid, (number, result) in kernel if number in CREATES and result > 0}
    for tid, call in kernel:
        if tid not in owner:
            parent = parents.get(tid, 0)
            shares = parent in ours and (tid not in ours or _becomes_another(tid, kernel, ours[tid]))
            owner[tid] = owner.get(parent, parent) if shares else tid
        found[owner[tid]].append(call)
        if call == EXECUTED:
            owner[tid] = tid
    return {tid: _settled(calls) for tid, calls in found.items()}


def _settled(calls: list[Call]) -> list[Call]:
    """The kernel's calls with the results that the program gets, where it got them."""
    found: list[Call] = []
    waiting: list[int] = []
    for number, result in calls:
        if result in AGAIN:
            waiting.append(number)
        elif waiting and (number == RESTARTED or (number == RETURNED and result == INTERRUPTED)):
            found.append((waiting.pop(), result))
        else:
            found.append((number, result))
    return found


def _becomes_another(tid: int, kernel: list[tuple[int, Call]], ours: list[Call]) -> bool:
    """Whether all that we have of a thread is behind its execve."""
    calls = [call for owner, call in kernel if owner == tid]
    return (
        EXECUTED in calls
        and _missing(ours, calls[: calls.index(EXECUTED)]) is None
        and ours[0] not in calls[:3]
    )


def strange(missing: Counter[str]) -> dict[str, int]:
    """What is missing and of no kind that is known."""
    return {name: count for name, count in missing.items() if name not in OURS | UNSEEN}


def _missing(calls: list[Call], theirs: list[Call]) -> list[Call] | None:
    """What of theirs is not ours, behind our first; None where ours is no part of theirs in that order.

    One order is ours alone: a call that a signal has interrupted ends, for us, behind the signal's handler.
    """
    at, first = 0, -1
    skipped: list[int] = []
    for call in calls:
        found = next((i for i in range(at, len(theirs)) if theirs[i] == call), -1)
        before = -1
        if not at <= found < at + FAR:
            before = next((i for i in skipped if theirs[i] == call and _is_interrupted(theirs, i, at)), -1)
        if before >= 0:
            skipped.remove(before)
            continue
        if found < 0:
            return None
        first = found if first < 0 else first
        skipped += range(at, found)
        at = found + 1
    starts = {n for i, one in enumerate(theirs) if one == EXECUTED or not i for n in range(i, i + START)}
    lost = [i for i in skipped if i > first and theirs[i][0] != RETURNED]
    return [theirs[i] for i in lost if i not in starts or name_of(theirs[i][0]) not in LOADER]


def _is_interrupted(theirs: list[Call], place: int, at: int) -> bool:
    return any(number == RETURNED for number, _ in theirs[place : at + NEAR])
