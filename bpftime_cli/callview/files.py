"""What descriptors are: by the calls that made them, else by /proc while the process lives."""

from __future__ import annotations

import os.path
from pathlib import Path

from bpftime_cli.callview.call import Call
from bpftime_cli.callview.field import AT_FDCWD
from runtime.syscalls.table import name_of

OPENS = {"open": 0, "openat": 1, "openat2": 1, "creat": 0}  # call → which argument is the path
COPIES = frozenset(("dup", "dup2", "dup3"))


class Files:
    """Descriptors of all processes of a trace."""

    def __init__(self) -> None:
        self._paths: dict[tuple[int, int], str] = {}

    def path_of(self, pid: int, number: int) -> str:
        """Return what a descriptor is, "" when that is not known (any more)."""
        known = self._paths.get((pid, number))
        if known is not None:
            return known
        name = "cwd" if number == AT_FDCWD else f"fd/{number}"
        try:
            return str(Path(f"/proc/{pid}/{name}").readlink())
        except OSError:
            return ""

    def note(self, call: Call) -> None:
        """Learn from a call that has been shown."""
        name = name_of(call.number)
        if name == "close":
            self._paths.pop((call.pid, call.arguments[0] & 0xFFFFFFFF), None)
        elif call.has_failed or not call.has_ended:
            return
        elif name in OPENS:
            self._paths[call.pid, call.result] = self._opened(call, OPENS[name])
        elif name in COPIES:
            self._paths[call.pid, call.result] = self.path_of(call.pid, call.arguments[0] & 0xFFFFFFFF)

    def _opened(self, call: Call, index: int) -> str:
        """Return the path of a file that was opened, from its directory where it is relative."""
        copy = call.copies.get(index)
        path = copy.decode("utf-8", "surrogateescape") if isinstance(copy, bytes) else ""
        if path.startswith("/"):
            return path
        low = call.arguments[0] & 0xFFFFFFFF
        folder = AT_FDCWD if index == 0 or low == AT_FDCWD & 0xFFFFFFFF else low
        return os.path.join(self.path_of(call.pid, folder), path)  # noqa: PTH118  # it is text, of another process
