"""Events of perf_event_open(2), one for each thread of a process, that send it a signal when they are full.

The descriptors are ours, so nothing of it stays where the tracer dies. The signal is no real-time one: those
would queue up in a thread that blocks signals, and where the queue is full the kernel sends SIGIO instead.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from attachers.inject.borrow import threads
from runtime.errors import AttachProblem

SYS_PERF_EVENT_OPEN = 298
ATTR_BYTES = 112  # PERF_ATTR_SIZE_VER5
DISABLED, EXCLUDE_KERNEL, EXCLUDE_HV = 1 << 0, 1 << 5, 1 << 6
CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
ENABLE = 0x2400  # PERF_EVENT_IOC_ENABLE
F_SETSIG, F_SETOWN_EX, OWNER_THREAD, O_ASYNC = 10, 15, 0, 0o20000
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to count, as `struct perf_event_attr` names it; `address` and `length` of a watched place."""

    type: int
    config: int
    period: int
    address: int = 0
    length: int = 0

    def attributes(self, flags: int) -> bytes:
        """Return the structure."""
        watched = self.length > 0
        fields = struct.pack(
            "<IIQQQQQIIQQ",
            self.type,
            ATTR_BYTES,
            0 if watched else self.config,
            self.period,
            0,
            0,
            flags,
            1,
            self.config if watched else 0,
            self.address,
            self.length,
        )
        return fields.ljust(ATTR_BYTES, b"\0")


@dataclass
class ThreadEvents:
    """One kind of event in all threads of a process, `signal` at each overflow. `name` is for messages."""

    pid: int
    wanted: Wanted
    signal: int
    name: str
    _open: dict[int, int] = field(default_factory=dict)

    def look(self) -> None:
        """Open the event for threads that are new, close it for those that are gone.

        Raises:
            AttachProblem: the kernel or the processor does not count this.
        """
        now = set(threads(self.pid))
        for tid in now - self._open.keys():
            self._open[tid] = self._start(tid)
        for tid in self._open.keys() - now:
            self._close(self._open.pop(tid))

    def close(self) -> None:
        """Let go of all."""
        for fd in self._open.values():
            self._close(fd)
        self._open.clear()

    @staticmethod
    def _close(fd: int) -> None:
        if fd >= 0:
            os.close(fd)

    def _start(self, tid: int) -> int:
        fd = self._try(tid, DISABLED)
        if fd in (-errno.EACCES, -errno.EPERM):
            fd = self._try(tid, DISABLED | EXCLUDE_KERNEL | EXCLUDE_HV)
        if fd == -errno.ESRCH:
            return -1  # it has ended
        if fd < 0:
            raise _refused(self.name, -fd)
        fcntl.fcntl(fd, F_SETOWN_EX, struct.pack("<ii", OWNER_THREAD, tid))
        fcntl.fcntl(fd, F_SETSIG, self.signal)
        fcntl.fcntl(fd, fcntl.F_SETFL, O_ASYNC)
        fcntl.ioctl(fd, ENABLE)
        return fd

    def _try(self, tid: int, flags: int) -> int:
        attributes = ctypes.create_string_buffer(self.wanted.attributes(flags), ATTR_BYTES)
        fd: int = _libc.syscall(SYS_PERF_EVENT_OPEN, attributes, tid, -1, -1, CLOEXEC)
        return fd if fd >= 0 else -ctypes.get_errno()


def _refused(name: str, number: int) -> AttachProblem:
    hints = {
        errno.ENOENT: "this processor has no such counter, or a virtual machine hides it",
        errno.EOPNOTSUPP: "this processor has no such counter, or a virtual machine hides it",
        errno.ENODEV: "this processor has no such counter, or a virtual machine hides it",
        errno.ENOSPC: "all four debug registers of the processor are in use",
        errno.EINVAL: "an address is watched in its own length: a multiple of it",
    }
    level = PARANOID.read_text().strip() if PARANOID.exists() else "missing"
    hint = hints.get(number, f"{PARANOID} is {level}: ask for a smaller one, or run as root")
    return AttachProblem(f"{name} cannot be counted here ({os.strerror(number)})", errno=number, hint=hint)
