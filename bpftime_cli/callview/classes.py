"""Which calls an expression names: `openat,read`, `%file`, `/^sock/`, `!futex`, as strace's `-e trace=`."""

from __future__ import annotations

import re
from collections.abc import Callable

from runtime.errors import UsageProblem
from runtime.lang.suggest import near
from runtime.syscalls.kinds import kinds_of
from runtime.syscalls.table import Syscall, by_name, syscalls

PROCESS = """clone clone3 fork vfork execve execveat exit exit_group wait4 waitid arch_prctl kill tkill tgkill
pidfd_open pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo unshare""".split()
SIGNAL = """kill tkill tgkill pause signalfd signalfd4 sigaltstack pidfd_send_signal""".split()
NETWORK = """socket socketpair bind listen accept accept4 connect getsockname getpeername sendto recvfrom
sendmsg recvmsg sendmmsg recvmmsg shutdown setsockopt getsockopt sendfile""".split()
MEMORY = """brk mmap munmap mprotect mremap msync madvise mlock mlock2 munlock mlockall munlockall mincore
mbind set_mempolicy get_mempolicy migrate_pages move_pages pkey_mprotect remap_file_pages
process_madvise""".split()
IPC = """shmget shmat shmdt shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl""".split()
CREDS = """getuid geteuid getgid getegid setuid setgid setreuid setregid setresuid setresgid getresuid
getresgid getgroups setgroups setfsuid setfsgid capget capset prctl""".split()
CLOCK = """clock_gettime clock_settime clock_getres clock_adjtime gettimeofday settimeofday adjtimex
time""".split()
STAT = "stat lstat fstat newfstatat statx".split()


def _has(*kinds: str) -> Callable[[Syscall], bool]:
    return lambda call: any(kind in kinds for kind in kinds_of(call.number))


def _named(names: list[str], prefix: str = "") -> Callable[[Syscall], bool]:
    return lambda call: call.name in names or bool(prefix and call.name.startswith(prefix))


CLASSES: dict[str, Callable[[Syscall], bool]] = {
    "all": lambda _: True,
    "file": _has("path"),
    "desc": _has("fd", "dirfd"),
    "process": _named(PROCESS),
    "signal": _named(SIGNAL, "rt_sig"),
    "network": _named(NETWORK),
    "net": _named(NETWORK),
    "memory": _named(MEMORY),
    "ipc": _named(IPC),
    "creds": _named(CREDS),
    "clock": _named(CLOCK),
    "stat": _named(STAT),
}


def chosen(expression: str) -> frozenset[int]:
    """Return the numbers of the calls that an expression names; all for an empty one.

    Raises:
        UsageProblem: a name, a class or a pattern that does not exist.
    """
    text = expression.removeprefix("trace=").strip()
    if not text:
        return frozenset(call.number for call in syscalls())
    negated = text.startswith("!")
    numbers = frozenset(n for word in text.lstrip("!").split(",") if word for n in _word(word.strip()))
    return frozenset(call.number for call in syscalls()) - numbers if negated else numbers


def _word(word: str) -> set[int]:
    if word.startswith("%"):
        return {call.number for call in syscalls() if _class(word[1:])(call)}
    if word.startswith("/"):
        try:
            pattern = re.compile(word[1:].removesuffix("/"))
        except re.error as error:
            raise UsageProblem(f"'{word}' is not a regular expression: {error}") from None
        return {call.number for call in syscalls() if pattern.search(call.name)}
    optional = word.startswith("?")
    call = by_name().get(word.removeprefix("?"))
    if call is None and not optional:
        names = [known.name for known in syscalls()]
        raise UsageProblem(
            f"unknown system call '{word}'",
            hint=near(word, names) or "%file, %network and others are classes",
        )
    return {call.number} if call else set()


def _class(name: str) -> Callable[[Syscall], bool]:
    found = CLASSES.get(name)
    if found is None:
        raise UsageProblem(
            f"unknown class of system calls '%{name}'", hint=f"classes: {', '.join(f'%{c}' for c in CLASSES)}"
        )
    return found
