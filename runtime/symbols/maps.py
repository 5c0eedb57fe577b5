"""What a process has mapped: `/proc/PID/maps` as data, and reading its memory.

Source: proc_pid_maps(5), proc_pid_mem(5).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.errors import TargetProblem


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of the memory map. Addresses in the target, `offset` in the file, `path` may be empty."""

    start: int
    end: int
    protection: int  # 1 read, 2 write, 4 execute (PROT_*)
    private: bool
    offset: int
    device: str
    inode: int
    path: str


def read_maps(pid: int) -> list[Mapping]:
    """Return the memory map of a process.

    Raises:
        TargetProblem: there is no such process, or it may not be looked at.
    """
    return [_parse(line) for line in read_map_text(pid).decode(errors="surrogateescape").splitlines()]


def find_mapping(pid: int, name: str) -> int:
    """Return the start of the first mapping whose line holds a name, 0 for none; quicker than `read_maps`.

    Raises:
        TargetProblem: there is no such process, or it may not be looked at.
    """
    text = read_map_text(pid)
    found = text.find(name.encode())
    if found < 0:
        return 0
    line = text[text.rfind(b"\n", 0, found) + 1 : found]
    return int(line[: line.index(b"-")], 16)


def read_map_text(pid: int) -> bytes:
    """Return the memory map of a process as the kernel gives it.

    Raises:
        TargetProblem: there is no such process, or it may not be looked at.
    """
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            text = file.read()
        if text:
            return text
        with open(f"{folder_of(pid)}/maps", "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise no_process(pid) from None
    except PermissionError:
        raise TargetProblem(
            f"not allowed to read the memory map of {pid}", hint="run as the same user, or as root"
        ) from None
    except ProcessLookupError:
        raise no_process(pid) from None


def folder_of(pid: int) -> str:
    """Return the folder of /proc where a process's memory is seen: that of its first thread, if it lives.

    A first thread that has ended while others run on (pthread_exit(3) in main) has none any more.
    """
    for task in [f"/proc/{pid}", *_tasks(pid)]:
        try:
            with open(f"{task}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
                    return task
        except OSError:
            continue
    return f"/proc/{pid}"


def _tasks(pid: int) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return []


def no_process(pid: int) -> TargetProblem:
    """Return the error for a process that is not there."""
    return TargetProblem(f"no process {pid}", hint="bpftime list --processes shows yours")


def _parse(line: str) -> Mapping:
    fields = line.split(None, 5)
    start, _, end = fields[0].partition("-")
    flags = fields[1]
    protection = sum(bit for bit, char in ((1, "r"), (2, "w"), (4, "x")) if char in flags[:3])
    path = fields[5] if len(fields) > 5 else ""
    return Mapping(
        int(start, 16),
        int(end, 16),
        protection,
        flags[3] == "p",
        int(fields[2], 16),
        fields[3],
        int(fields[4]),
        path,
    )


class Memory:
    """Reads and writes another process's memory through `/proc/PID/mem`; protection bits do not matter."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd = os.open(f"{folder_of(pid)}/mem", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise no_process(pid) from None
        except ProcessLookupError:
            raise TargetProblem(
                f"{pid} has no memory to trace: it is a kernel thread, or has ended and waits for its parent",
                hint="bpftime list --processes shows what may be traced",
            ) from None
        except OSError as error:
            raise TargetProblem(
                f"not allowed to open the memory of {pid}: {error.strerror}",
                hint="run as the same user or as root; bpftime doctor -p PID tells why",
            ) from error

    def read(self, address: int, size: int) -> bytes:
        """Return up to `size` bytes at `address`: fewer, or none, where it is not mapped."""
        try:
            return os.pread(self._fd, size, address)
        except OSError:
            return b""

    def u64(self, address: int) -> int:
        """Return the u64 at `address`, 0 where it is not mapped."""
        return int.from_bytes(self.read(address, 8), "little")

    def write(self, address: int, data: bytes) -> None:
        """Write all of `data` at `address`.

        Raises:
            TargetProblem: the process is gone or nothing is mapped there.
        """
        done = 0
        while done < len(data):
            try:
                count = os.pwrite(self._fd, data[done:], address + done)
            except OSError as error:
                raise TargetProblem(
                    f"cannot write to {self.pid} at {address + done:#x}: {error.strerror}"
                ) from error
            if not count:
                raise TargetProblem(f"process {self.pid} ended while attaching")
            done += count

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
