"""Launch a program with the agent preloaded, and talk to it through a mailbox until it may go on.

The agent's constructor opens the session's region, makes a mailbox, claims a process slot and waits. It gives
up after some seconds without a word, so a program never hangs because of us.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable

from attachers.inject.frames import Reply, Request, batches, decode, encode
from runtime.agent import build, protocol
from runtime.errors import Problem, TargetProblem
from runtime.shm.region import Region, has_ended

FUTEX, WAIT, WAKE = 202, 0, 1
PATIENCE = 2.0  # seconds


class CannotRun(Problem):
    """The command does not exist (127) or cannot be executed (126): the shell's numbers."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status  # type: ignore[misc] # two statuses of one class


def environment(region: Region, base: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment with which a program is launched: ours first in LD_PRELOAD."""
    env = dict(os.environ if base is None else base)
    others = env.get("LD_PRELOAD", "")
    env["LD_PRELOAD"] = f"{build.library()}{':' + others if others else ''}"
    env["BPFTIME_AGENT"] = launch_text(region)
    return env


def launch_text(region: Region) -> str:
    """Return what tells an agent its session: version, the region's id, and where to open it."""
    return f"1;id={region.id.hex()};region={region.path}"


class Mailbox:
    """The channel to a preloaded agent that waits in its constructor."""

    def __init__(self, pid: int, fd_number: int) -> None:
        self.pid = pid
        try:
            fd = os.open(f"/proc/{pid}/fd/{fd_number}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TargetProblem(f"cannot open the mailbox of {pid}: {error.strerror}") from None
        self._map = mmap.mmap(fd, protocol.MAIL_BYTES, mmap.MAP_SHARED)
        os.close(fd)
        self._turn = ctypes.c_uint32.from_buffer(self._map, 0)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def exchange(self, requests: list[Request]) -> list[Reply]:
        """Send requests in order, return a reply for each.

        Raises:
            TargetProblem: the process ended or does not answer within two seconds.
        """
        replies: list[Reply] = []
        for batch in batches(requests):
            data = encode(batch)
            self._map[protocol.MAIL_DOWN : protocol.MAIL_DOWN + len(data)] = data
            protocol.MAILBOX.put(memoryview(self._map), "bytes_down", len(data))
            self._turn.value = 1
            self._futex(WAKE, 1)
            self._wait()
            size = protocol.MAILBOX.get(memoryview(self._map), "bytes_down")
            replies += decode(self._map[protocol.MAIL_UP : protocol.MAIL_UP + size], batch)
        return replies

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._turn.value != 2:
            self._futex(WAIT, 1)
            if self._turn.value == 2:
                return
            if has_ended(self.pid):
                raise TargetProblem(f"process {self.pid} ended while attaching")
            if time.monotonic() > deadline:
                raise TargetProblem(f"{self.pid} did not answer within {PATIENCE:.0f} s")

    def _futex(self, operation: int, value: int) -> None:
        limit = (ctypes.c_long * 2)(0, 100_000_000)
        self._libc.syscall(FUTEX, ctypes.byref(self._turn), operation, value, limit, None, 0)

    def close(self) -> None:
        """Unmap the mailbox."""
        del self._turn
        self._map.close()


class Doorbell:
    """The region's counter that an agent raises when it has made its mailbox: a futex."""

    def __init__(self, region: Region) -> None:
        self._word = ctypes.c_uint32.from_buffer(region.buffer, protocol.REGION.fields["doorbell"].offset)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._heard = 0

    def has_rung(self) -> bool:
        """Return whether somebody has rung since the last call."""
        now = self._word.value
        rung = now != self._heard
        self._heard = now
        return rung

    def wait(self, seconds: float) -> None:
        """Sleep until it rings, at most so long; a signal ends the sleep too."""
        limit = (ctypes.c_long * 2)(int(seconds), int(seconds % 1 * 1e9))
        self._libc.syscall(FUTEX, ctypes.byref(self._word), WAIT, self._heard, limit, None, 0)


def wait_for_agent(
    region: Region, doorbell: Doorbell, pid: int, goes_on: Callable[[], bool] = lambda: True
) -> int:
    """Wait until the preloaded agent of `pid` has a mailbox; returns its descriptor number there.

    Raises:
        TargetProblem: the program ended, or runs without the agent (static, set-uid).
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        doorbell.has_rung()
        for entry in region.processes():
            if entry.mail_fd >= 0 and entry.ns_pid == pid and entry.state == 2:
                region.set_process(entry.slot, "pid", pid)
                region.set_process(entry.slot, "mail_fd", -1)
                return entry.mail_fd
        if has_ended(pid) or not goes_on() or time.monotonic() > deadline:
            raise TargetProblem(f"the agent did not start in {pid}")
        doorbell.wait(0.02)
