"""ptrace(2) on one thread: seize, stop, registers, resume, detach. Nothing here knows what runs.

A thread is never ended with a breakpoint or single steps: the forced SIGTRAP removes the target's own
handler. All calls of one `Tracee` must come from one thread of the tracer (ptrace's rule).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from dataclasses import dataclass

from runtime.errors import TargetProblem

SEIZE, INTERRUPT, LISTEN, CONT, SYSCALL, DETACH, GETREGS, SETREGS = 0x4206, 0x4207, 0x4208, 7, 24, 17, 12, 13
GET_RSEQ = 0x420F
TRACESYSGOOD, TRACE_EXEC, SUSPEND_SECCOMP = 1, 1 << 4, 1 << 21
EVENT_STOP, EVENT_EXEC = 128, 4
WALL = 0x40000000
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
SYSCALL_STOP = signal.SIGTRAP | 0x80

# struct user_regs_struct (sys/user.h)
REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base "
    "gs_base ds es fs gs"
).split()
_REGS = struct.Struct("<27Q")
MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a thread stopped: `signal` to deliver (0 none), `syscall` at an entry or exit, `event` number."""

    signal: int
    syscall: bool
    event: int


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    return libc


def is_sandboxed(pid: int, tid: int) -> bool:
    """Return whether a thread's system calls are filtered (seccomp(2); field Seccomp of proc(5))."""
    try:
        with open(f"/proc/{pid}/task/{tid}/status", "rb") as file:
            return b"\nSeccomp:\t0\n" not in file.read()
    except OSError:
        return False


# Children of ours that ended while we traced them: waitpid(2) tells it once. Statuses as waitpid gives them.
collected: dict[int, int] = {}


class Tracee:
    """One seized thread. Signals that arrive meanwhile are kept and handed over when it is let go."""

    def __init__(self, pid: int, tid: int, options: int = 0) -> None:
        self.pid = pid
        self.tid = tid
        self.kept: list[int] = []
        self._libc = _libc()
        self._buffer = ctypes.create_string_buffer(_REGS.size)
        self._seize(TRACESYSGOOD | options)

    def _seize(self, options: int) -> None:
        """Seize the thread; its sandbox sleeps as long as we hold it, where we may ask for that (root)."""
        if os.geteuid() == 0 and is_sandboxed(self.pid, self.tid):
            try:
                self._ptrace(SEIZE, 0, options | SUSPEND_SECCOMP)
            except OSError:
                pass  # a kernel without it, or a sandbox around ourselves
            else:
                return
        self._ptrace(SEIZE, 0, options)

    def _ptrace(self, request: int, address: int = 0, data: int = 0) -> int:
        result = int(self._libc.ptrace(request, self.tid, address, data))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def interrupt(self) -> None:
        """Stop the thread, wherever it is."""
        self._ptrace(INTERRUPT)
        while self.wait().event != EVENT_STOP:
            self._ptrace(SYSCALL)

    def wait(self) -> Stop:
        """Wait for the next stop.

        Raises:
            TargetProblem: the thread ended.
        """
        try:
            _, status = os.waitpid(self.tid, WALL)
        except ChildProcessError:
            raise TargetProblem(f"process {self.pid} ended while attaching") from None
        return self._stop_of(status)

    def _stop_of(self, status: int) -> Stop:
        if not os.WIFSTOPPED(status):
            if self.tid == self.pid:
                collected[self.pid] = status
            raise TargetProblem(
                f"process {self.pid} ended while attaching (status {os.waitstatus_to_exitcode(status)})"
            )
        number, event = os.WSTOPSIG(status), status >> 16
        if number == SYSCALL_STOP:
            return Stop(0, True, 0)
        if event == 0:
            self.kept.append(number)
        return Stop(number, False, event)

    def poll(self) -> Stop | None:
        """Return the next stop if there is one already.

        A thread that becomes another program takes the number of its process (ptrace(2)).

        Raises:
            TargetProblem: the thread ended.
        """
        for tid in dict.fromkeys((self.tid, self.pid)):
            try:
                found, status = os.waitpid(tid, WALL | os.WNOHANG)
            except ChildProcessError:
                continue
            if found:
                self.tid = tid
                return self._stop_of(status)
            return None
        raise TargetProblem(f"process {self.pid} ended while attaching")

    def go_on(self, stop: Stop) -> None:
        """Let the thread run on from a stop that is not ours: its signal is delivered, if any."""
        if stop.event == EVENT_STOP and stop.signal != signal.SIGTRAP:
            self._ptrace(LISTEN)
            return
        if stop.signal in self.kept:
            self.kept.remove(stop.signal)
        self._ptrace(CONT, 0, 0 if stop.event or stop.syscall else stop.signal)

    def registers(self) -> dict[str, int]:
        """Return all registers by name."""
        self._ptrace(GETREGS, 0, ctypes.addressof(self._buffer))
        return dict(zip(REGISTERS, _REGS.unpack(self._buffer.raw), strict=True))

    def set_registers(self, values: dict[str, int]) -> None:
        """Set all registers."""
        self._buffer.raw = _REGS.pack(*(values[name] & MASK for name in REGISTERS))
        self._ptrace(SETREGS, 0, ctypes.addressof(self._buffer))

    def to_syscall_stop(self) -> None:
        """Run on to the next entry or exit of a system call; signals on the way are kept for later.

        Raises:
            TargetProblem: our own code in the target failed.
        """
        while True:
            self._ptrace(SYSCALL)
            stop = self.wait()
            if stop.syscall:
                return
            if stop.signal in FAULTS and not stop.event:
                self.kept.pop()
                raise TargetProblem(
                    f"the agent failed in {self.pid} ({signal.Signals(stop.signal).name})",
                    hint="the process goes on as before; please report this",
                )

    def rseq_pointer(self) -> int:
        """Return the address of the thread's `struct rseq`, 0 for none or when the kernel cannot tell."""
        data = ctypes.create_string_buffer(24)
        try:
            self._ptrace(GET_RSEQ, 24, ctypes.addressof(data))
        except OSError:
            return 0
        return int.from_bytes(data.raw[:8], "little")

    def detach(self) -> None:
        """Let the thread go, with the signals that came for it meanwhile."""
        first = self.kept[0] if self.kept else 0
        self._ptrace(DETACH, 0, first)
        for number in self.kept[1:]:
            self._libc.syscall(234, self.pid, self.tid, number)  # tgkill
        self.kept.clear()
