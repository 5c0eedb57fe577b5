"""Borrow a thread of a running process: it makes our calls and goes on as if nothing had happened.

The thread runs on a *landing*: code and data of ours in the target that holds its saved registers. Every
system call that we make it do is followed there by code that puts the registers back. So if the tracer is
killed at any moment of a visit, the thread finishes what it was told, restores itself and goes on.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from attachers.inject.ptrace import MASK, REGISTERS, Tracee
from runtime.errors import TargetProblem
from runtime.symbols.maps import Memory

LANDING_BYTES = 1024
CALL, TRAP = 0, 8  # offsets in the landing: where a call returns to, and its system call
SAVED = 512  # saved registers, 8 bytes each in the order of `SAVED_NAMES`
SAVED_NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi eflags rsp rip").split()
GETPID = 39

# mov reg, [rip + disp32]: REX and ModRM for each saved register (Intel SDM vol. 2, MOV)
_LOADS = {
    "r15": "4c8b3d",
    "r14": "4c8b35",
    "r13": "4c8b2d",
    "r12": "4c8b25",
    "rbp": "488b2d",
    "rbx": "488b1d",
    "r11": "4c8b1d",
    "r10": "4c8b15",
    "r9": "4c8b0d",
    "r8": "4c8b05",
    "rax": "488b05",
    "rcx": "488b0d",
    "rdx": "488b15",
    "rsi": "488b35",
    "rdi": "488b3d",
    "rsp": "488b25",
}

# What a call returns when it was interrupted by our stop and must be made again: kernel-internal numbers
# (include/linux/errno.h), and the calls that give EINTR instead (signal(7)).
RESTARTS = {-512, -513, -514}
RESTART_BLOCK = -516
RESTART_SYSCALL = 219
EINTR_CALLS = {
    232,
    281,
    441,
    128,
    220,
    45,
    47,
    208,
    299,
}  # epoll_*, sigtimedwait, semtimedop, recv*, io_getevents
LOCK_CALLS = {202, 9, 10, 11, 12, 25, 28}  # futex, and what an allocator calls with its lock held
PATIENCE = 0.5  # seconds to find a thread that holds no lock
SILENT_CALLS = {202, 35, 230, 7, 23, 270, 271, 61, 247, 0, 34}  # futex, sleeps, polls, waits, read, pause


def _rip_load(code: bytearray, opcode: str, name: str) -> None:
    raw = bytes.fromhex(opcode)
    end = len(code) + len(raw) + 4
    code += raw + struct.pack("<i", SAVED + 8 * SAVED_NAMES.index(name) - end)


def landing_code() -> bytes:
    """Return the landing's code: `mov rdi, rax; mov eax, getpid; syscall`, then put every register back."""
    code = bytearray(bytes.fromhex("4889c7") + b"\xb8" + struct.pack("<I", GETPID) + b"\x0f\x05")
    _rip_load(code, "ff35", "eflags")  # push [rip + disp]
    code += b"\x9d"  # popfq; nothing below changes flags
    for name in SAVED_NAMES[:-3]:
        _rip_load(code, _LOADS[name], name)
    _rip_load(code, _LOADS["rsp"], "rsp")
    _rip_load(code, "ff25", "rip")  # jmp [rip + disp]
    return bytes(code.ljust(LANDING_BYTES, b"\0"))


def resumed(registers: dict[str, int]) -> dict[str, int]:
    """Return the registers with which an interrupted system call is made again without the kernel's help."""
    after = dict(registers)
    number = registers["orig_rax"]
    if number >> 63:
        return after
    result = registers["rax"] - (1 << 64) if registers["rax"] >> 63 else registers["rax"]
    if result in RESTARTS or (result == -4 and number in EINTR_CALLS):
        after["rax"], after["rip"] = number, registers["rip"] - 2
    elif result == RESTART_BLOCK:
        after["rax"], after["rip"] = RESTART_SYSCALL, registers["rip"] - 2
    after["orig_rax"] = MASK
    return after


def threads(pid: int) -> list[int]:
    """Return the thread ids, those that can be borrowed with the least disturbance first."""
    ranked = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "syscall").read_text().split()
        except OSError:
            text = ["?"]
        ranked.append((_rank(text[0]), int(task.name)))
    return [tid for _, tid in sorted(ranked)]


def _rank(call: str) -> int:
    if call.lstrip("-").isdigit():
        number = int(call)
        return 0 if number in SILENT_CALLS else 3 if number in EINTR_CALLS else 1
    return 2


class Borrowed:
    """A stopped thread that makes system calls and calls functions for us, from a landing at `landing`."""

    def __init__(self, tracee: Tracee, memory: Memory) -> None:
        self.tracee = tracee
        self.memory = memory
        self.saved = tracee.registers()
        self._abort_critical_section()
        self.landing = 0
        self.stack = 0

    def _abort_critical_section(self) -> None:
        """Restart a restartable sequence as the kernel would: it would forget the section when rip changes.

        Source: Documentation/userspace-api/rseq.rst, include/uapi/linux/rseq.h.
        """
        area = self.tracee.rseq_pointer()
        section = self.memory.u64(area + 8) if area else 0
        if not section:
            return
        start, length, abort = struct.unpack("<3Q", self.memory.read(section + 8, 24).ljust(24, b"\0"))
        if start <= self.saved["rip"] < start + length:
            self.saved["rip"] = abort
            self.memory.write(area + 8, bytes(8))
            self.tracee.set_registers(self.saved)

    def use_landing(self, at: int, stack: int, *, write: bool = True) -> None:
        """Make `at` the landing (`LANDING_BYTES`, executable); `stack` is the top of our stack, else 0."""
        if write:
            after = resumed(self.saved)
            registers = b"".join(struct.pack("<Q", after[name] & MASK) for name in SAVED_NAMES)
            self.memory.write(at, (landing_code()[:SAVED] + registers).ljust(LANDING_BYTES, b"\0"))
        self.landing = at
        # Below the red zone of the interrupted function (System V ABI, 3.2.2).
        self.stack = stack or (self.saved["rsp"] - 512) & -16

    def _start(self, **changes: int) -> None:
        values = {**self.saved, "orig_rax": MASK, "rsp": self.stack - 8, **changes}
        self.tracee.set_registers(values)

    def syscall(self, number: int, *arguments: int) -> int:
        """Make one system call; returns its result, -errno on failure."""
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        values = dict(zip(names, (*arguments, *(0,) * (6 - len(arguments))), strict=True))
        self._start(rip=self.landing + TRAP, rax=number, **values)
        self.tracee.to_syscall_stop()
        self.tracee.to_syscall_stop()
        return _signed(self.tracee.registers()["rax"])

    def call(self, function: int, *arguments: int) -> int:
        """Call a function of the target with up to four integer arguments; returns rax."""
        names = ("rdi", "rsi", "rdx", "rcx")
        self.memory.write(self.stack - 8, struct.pack("<Q", self.landing + CALL))
        self._start(rip=function, rax=0, **dict(zip(names, arguments, strict=False)))
        while True:
            self.tracee.to_syscall_stop()
            registers = self.tracee.registers()
            if registers["rip"] == self.landing + TRAP + 2:
                break
            self.tracee.to_syscall_stop()  # the exit of a call that the function makes
        # The call that ends the visit is never made: neither the kernel nor a seccomp filter sees it.
        self.tracee.set_registers({**registers, "orig_rax": MASK})
        self.tracee.to_syscall_stop()
        return _signed(registers["rdi"])

    def release(self) -> None:
        """Put the registers back and let the thread go on.

        The interrupted call is made again by us, not by the kernel's restart logic, which only runs when a
        signal is pending; with a signal to deliver it is the kernel's decision (EINTR or not).
        """
        self.tracee.set_registers(self.saved if self.tracee.kept else resumed(self.saved))
        self.tracee.detach()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def borrow(pid: int, memory: Memory, *, lockless: bool = False, tid: int = 0) -> Borrowed:
    """Stop one thread of the process that may be borrowed.

    `tid`: that one, which waits for us and may do everything.

    Raises:
        TargetProblem: there is no such process, it may not be traced, or is traced already.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        thread, reason = _borrow_once(pid, memory, lockless, tid)
        if thread is not None:
            return thread
        if not lockless or reason is not None:
            raise refusal(pid, reason)
        if time.monotonic() > deadline:
            raise TargetProblem(
                f"no thread of {pid} waits where it holds no lock", hint="try again in a moment"
            )
        time.sleep(0.002)


def _borrow_once(
    pid: int, memory: Memory, lockless: bool, chosen: int
) -> tuple[Borrowed | None, Exception | None]:
    """Try each thread once; returns the thread, or why the last one could not be traced."""
    reason: Exception | None = None
    for tid in [chosen] if chosen else threads(pid):
        try:
            tracee = Tracee(pid, tid)
        except OSError as error:
            reason = error
            continue
        tracee.interrupt()
        registers = tracee.registers()
        native = registers["cs"] == 0x33 and registers["rip"] >> 63 == 0
        waiting = registers["orig_rax"] >> 63 == 0 and registers["orig_rax"] not in LOCK_CALLS
        if native and (waiting or chosen or not lockless):
            return Borrowed(tracee, memory), None
        tracee.detach()
    return None, reason


def refusal(pid: int, reason: Exception | None) -> TargetProblem:
    """Say why no thread of a process can be stopped."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return TargetProblem(f"no process {pid}", hint="bpftime list --processes shows yours")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    tracer = fields.get("TracerPid", "0").strip()
    if tracer != "0":
        return TargetProblem(
            f"another tracer is attached to {pid}: process {tracer}",
            hint=f"end it first (gdb, strace …), or kill {tracer}",
        )
    if fields.get("State", "").startswith(("Z", "X")):
        return TargetProblem(f"process {pid} has ended (its parent has not collected it)")
    owner = int(fields.get("Uid", "0").split()[0])
    if os.geteuid() not in (0, owner):
        return TargetProblem(f"process {pid} belongs to user {owner}", hint="run as that user, or with sudo")
    return TargetProblem(
        f"not allowed to attach to {pid}: {_rule()}{f' ({reason})' if reason else ''}",
        hint="launch it instead: bpftime trace … -- COMMAND; or sudo sysctl kernel.yama.ptrace_scope=0",
    )


def _rule() -> str:
    try:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
    except OSError:
        return "ptrace is refused"
    return f"ptrace_scope is {scope} and it is not our child" if scope == "1" else f"ptrace_scope is {scope}"


__all__ = [
    "LANDING_BYTES",
    "REGISTERS",
    "Borrowed",
    "borrow",
    "landing_code",
    "refusal",
    "resumed",
    "threads",
]
