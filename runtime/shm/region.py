"""The region: one shared mapping a session, with handlers, maps, rings and the clock. Data only, never code.

It is a sealed memfd while a tracer owns it, or a file in the session's folder when it outlives its command.
Every reference inside is an offset from its start. Only the tracer allocates; targets are not trusted: each
offset read back is checked against the size. Layout: `runtime/agent/protocol.py`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from runtime.agent import protocol
from runtime.errors import ObjectProblem, Problem
from runtime.maps.layout import possible_cpus

PAGE = 4096
HUGE = 2 << 20  # regions are rounded up to this
_SEALS = 0x0002 | 0x0004  # F_SEAL_SHRINK | F_SEAL_GROW (fcntl(2))


def process_start(pid: int) -> int:
    """Return field 22 of `/proc/PID/stat`: start time in clock ticks since boot; 0 for no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def stack_start(pid: int) -> int:
    """Return field 28 of `/proc/PID/stat`, which changes when it becomes another program; 0 if unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[25])


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or its end only waits to be collected (state Z of proc(5)).

    A first thread may end before the others: the process lives as long as one of them does.
    """
    if not _has_ended(f"/proc/{pid}"):
        return False
    try:
        return all(_has_ended(task.path) for task in os.scandir(f"/proc/{pid}/task"))
    except OSError:
        return True


def _has_ended(folder: str) -> bool:
    try:
        with open(f"{folder}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def pid_namespace(pid: int | str = "self") -> int:
    """Return the inode of a process's pid namespace, 0 where it may not be looked at."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One process that has claimed a slot. `mail_fd` is its mailbox's descriptor while it waits, else -1."""

    slot: int
    state: int
    pid: int
    ns_pid: int
    mail_fd: int


class Region:
    """A mapped region. `create` makes one, `open` maps what another process made."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.buffer = memoryview(self._map)

    @classmethod
    def create(cls, name: str, size: int, file: Path | None = None) -> Region:
        """Make a region of at least `size` bytes, as a memfd or as `file` (mode 0600).

        Raises:
            Problem: there is not that much memory.
        """
        size = (size + HUGE - 1) & -HUGE
        if file is None:
            fd = os.memfd_create(protocol.REGION_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(fd, size)
            if file is None:
                fcntl.fcntl(fd, 1033, _SEALS)  # F_ADD_SEALS
            region = cls(fd, size)
        except OSError as error:
            os.close(fd)
            raise Problem(
                f"cannot make a region of {size >> 20} MiB: {error.strerror}",
                hint="use a smaller --session-size or --ring-size",
            ) from error
        region._format(name, file is not None)
        return region

    @classmethod
    def open(cls, path: Path) -> Region:
        """Map an existing region.

        Raises:
            ObjectProblem: the file is no region, or one of another version.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        head = os.pread(fd, protocol.REGION.size, 0)
        size = os.fstat(fd).st_size
        get = protocol.REGION.get
        if (
            len(head) < protocol.REGION.size
            or get(head, "magic") != protocol.REGION_MAGIC
            or get(head, "bytes") != size
        ):
            os.close(fd)
            raise ObjectProblem("not a bpftime region", file=str(path), hint="remove the session's folder")
        if get(head, "abi") != protocol.ABI:
            os.close(fd)
            raise ObjectProblem(
                f"region of version {get(head, 'abi')}, this is version {protocol.ABI}",
                file=str(path),
                hint="use the bpftime that made it",
            )
        return cls(fd, size)

    def _format(self, name: str, backed: bool) -> None:
        cpus = possible_cpus()
        tables = [
            ("process", protocol.PROCESSES, protocol.PROCESS.size),
            ("handler", protocol.HANDLERS, protocol.HANDLER.size),
            ("slot", protocol.THREAD_SLOTS, protocol.THREAD_SLOT.size),
        ]
        top = protocol.REGION.size
        for label, count, size in tables:
            self.put(f"{label}_table", top)
            self.put(f"{label}_count", count)
            self.put(f"{label}_size", size)
            top += count * size
        if backed:
            self._back(0, top)
        for label, value in (
            ("abi", protocol.ABI),
            ("header_bytes", protocol.REGION.size),
            ("bytes", self.size),
            ("id", secrets.token_bytes(16)),
            ("tracer_pid", os.getpid()),
            ("tracer_start", process_start(os.getpid())),
            ("tracer_ns", pid_namespace()),
            ("top", top),
            ("cpus", cpus),
            ("cells", cpus + 1),
            ("secret", secrets.randbits(32)),
            ("hash_seed", secrets.randbits(32) | 1),
            ("name", name.encode()[:63]),
            ("started_boot", boot_ns()),
        ):
            self.put(label, value)
        self.backed = backed
        self._claim_slot_zero()
        self.put("magic", protocol.REGION_MAGIC)

    def _claim_slot_zero(self) -> None:
        table = self.get("process_table")
        for label, value in (("state", 2), ("pid", os.getpid()), ("ns_pid", os.getpid()), ("mail_fd", -1)):
            protocol.PROCESS.put(self.buffer, label, value, table)

    def _back(self, offset: int, size: int) -> None:
        """Give a file's pages memory now: a full tmpfs fails here, in the tracer, never in a target."""
        os.posix_fallocate(self.fd, offset, size)

    def get(self, name: str) -> int:
        """Return an integer of the header."""
        return protocol.REGION.get(self.buffer, name)

    def put(self, name: str, value: int | bytes) -> None:
        """Set a member of the header."""
        protocol.REGION.put(self.buffer, name, value)

    @property
    def id(self) -> bytes:
        """Return the session's 16 random bytes."""
        return protocol.REGION.text(self.buffer, "id")

    @property
    def name(self) -> str:
        """Return the session's name."""
        return protocol.REGION.text(self.buffer, "name").decode(errors="replace")

    @property
    def path(self) -> str:
        """Return a path by which another process of this user opens the region."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def allocate(self, size: int, align: int = 64) -> int:
        """Take `size` bytes; returns their offset. They are zero.

        Raises:
            Problem: the region is full.
        """
        at = (self.get("top") + align - 1) & -align
        if at + size > self.size:
            raise Problem(
                f"the session's region of {self.size >> 20} MiB is full ({size} bytes more were needed)",
                hint="use a larger --session-size, or smaller maps",
            )
        if getattr(self, "backed", False):
            self._back(at, size)
        self.put("top", (at + size + 63) & -64)
        return at

    def processes(self) -> list[ProcessEntry]:
        """Return the claimed slots of other processes."""
        base, size, get = self.get("process_table"), protocol.PROCESS.size, protocol.PROCESS.get
        count = min(self.get("process_count"), protocol.PROCESSES)
        found = []
        for slot in range(1, count):
            at = base + slot * size
            if get(self.buffer, "state", at):
                found.append(
                    ProcessEntry(
                        slot, *(get(self.buffer, f, at) for f in ("state", "pid", "ns_pid", "mail_fd"))
                    )
                )
        return found

    def set_process(self, slot: int, name: str, value: int | bytes) -> None:
        """Set one member of a process entry."""
        protocol.PROCESS.put(
            self.buffer, name, value, self.get("process_table") + slot * protocol.PROCESS.size
        )

    def close(self) -> None:
        """Unmap and close; a memfd ends with the last process that maps it."""
        self.buffer.release()
        self._map.close()
        os.close(self.fd)


def boot_ns() -> int:
    """Return CLOCK_BOOTTIME in ns."""
    import time

    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
