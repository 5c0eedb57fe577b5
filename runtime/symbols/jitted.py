"""Functions that a program has compiled at run time: node, Java and others list them in /tmp/perf-PID.map.

Source: tools/perf/Documentation/jit-interface.txt of the kernel: lines `START SIZE NAME`, numbers in hex.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from pathlib import Path

from runtime.types import Location

LIMIT = 64 << 20  # bytes read


class PerfMap:
    """The list of one process as it is now; empty where there is none.

    Only a file of the process's own user (or root) is believed: anybody may write into /tmp. When the process
    has ended its file is looked for here, and must be ours.
    """

    def __init__(self, pid: int) -> None:
        inner = Path(f"/proc/{pid}/root/tmp/perf-{_inner_pid(pid)}.map")
        self.path = inner if Path(f"/proc/{pid}").exists() else Path(f"/tmp/perf-{pid}.map")
        self._size = self._bytes(pid)
        rows = sorted(self._rows()) if self._size else []
        self._starts = [start for start, _, _ in rows]
        self._entries = rows

    def _bytes(self, pid: int) -> int:
        try:
            about = os.lstat(self.path)
        except OSError:
            return 0
        try:
            owner = os.stat(f"/proc/{pid}").st_uid
        except OSError:
            owner = os.geteuid()
        return about.st_size if stat.S_ISREG(about.st_mode) and about.st_uid in (0, owner) else 0

    def is_stale(self) -> bool:
        """Return whether the file is another size now."""
        try:
            return os.lstat(self.path).st_size != self._size
        except OSError:
            return False

    def _rows(self) -> list[tuple[int, int, str]]:
        found = []
        try:
            with open(self.path, errors="replace") as file:
                lines = file.read(LIMIT).splitlines()
        except OSError:
            return []
        for line in lines:
            words = line.split(" ", 2)
            try:
                found.append((int(words[0], 16), int(words[1], 16), words[2]))
            except (IndexError, ValueError):
                continue  # the program is writing it
        return found

    def at(self, address: int) -> Location | None:
        """Return the function at an address, None where there is none."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size, name = self._entries[index]
        return Location(name, address - start, str(self.path)) if address < start + size else None


def _inner_pid(pid: int) -> int:
    """Return the number that a process has in its own pid namespace (proc(5), NSpid)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return pid
    line = next((text for text in status.splitlines() if text.startswith("NSpid:")), "")
    return int(line.split()[-1]) if line else pid
