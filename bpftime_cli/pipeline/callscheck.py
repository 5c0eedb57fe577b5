"""What `bpftime doctor` says of system calls: what of them is seen, and by which ways on this machine."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from bpftime_cli.pipeline.finding import Finding

DISPATCH, OFF = 59, 0  # prctl: PR_SET_SYSCALL_USER_DISPATCH (linux/prctl.h)


def findings_of_calls() -> Iterator[Finding]:
    """Yield the findings; they are never more than hints."""
    yield Finding(
        "ok",
        "system calls",
        "seen where code of files makes them; not what io_uring and the vDSO do without any",
    )
    offered = ctypes.CDLL(None).prctl(DISPATCH, OFF, 0, 0, 0) == 0
    how = "with --syscalls dispatch" if offered else "not: no Syscall User Dispatch (Linux 5.11)"
    yield Finding("ok", "of made code", f"calls of code made at run time are seen {how}")
    address = Path("/proc/sys/vm/mmap_min_addr").read_text().strip()
    may = address == "0" or os.geteuid() == 0
    yield Finding(
        "ok", "mmap_min_addr", f"{address}: --syscalls page0 {'works' if may else 'needs root, or 0 here'}"
    )
