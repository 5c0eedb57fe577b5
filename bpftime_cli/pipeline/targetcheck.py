"""`doctor -p PID`: whether one process can be traced, and what stands in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attachers.inject.visit import find_state
from bpftime_cli.pipeline.orphans import command_of, look_at
from runtime.agent import build, protocol
from runtime.errors import Problem
from runtime.shm.region import process_start
from runtime.symbols.elf import ElfFile
from runtime.symbols.maps import read_maps

if TYPE_CHECKING:
    from bpftime_cli.pipeline.finding import Finding

LIBCS = (("libc.so.6", "glibc"), ("ld-musl", "musl"), ("libc.musl", "musl"), ("libc.so", "bionic or another"))


def findings_of(pid: int) -> Iterator[Finding]:
    """Check one process."""
    from bpftime_cli.pipeline.finding import Finding

    if not process_start(pid):
        yield Finding("FAIL", f"process {pid}", "there is none", "bpftime list --processes shows yours")
        return
    yield Finding("ok", f"process {pid}", command_of(pid))
    try:
        for check in (_owner, _program, _places, _agent):
            yield from check(pid)
    except (Problem, OSError) as error:
        yield Finding(
            "FAIL", "looking at it", str(error), getattr(error, "hint", "") or "run as its user, or as root"
        )


def _owner(pid: int) -> Iterator[Finding]:
    from bpftime_cli.pipeline.finding import Finding

    uid = Path(f"/proc/{pid}").stat().st_uid
    good = os.geteuid() in (0, uid)
    yield Finding(
        "ok" if good else "FAIL", "owner", f"uid {uid}", "" if good else "run as that user, or sudo"
    )
    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    tracer = _field(status, "TracerPid")
    if tracer != "0":
        yield Finding("FAIL", "debugger", f"{command_of(int(tracer))} ({tracer}) traces it", "end that first")
    if _field(status, "Seccomp") == "2":
        yield Finding(
            "warn", "sandbox", "a seccomp filter may refuse mmap or mprotect", "try it: what fails is undone"
        )


def _field(status: str, name: str) -> str:
    return next(
        (line.split(":", 1)[1].strip() for line in status.splitlines() if line.startswith(f"{name}:")), "0"
    )


def _program(pid: int) -> Iterator[Finding]:
    from bpftime_cli.pipeline.finding import Finding

    elf = ElfFile(f"/proc/{pid}/exe")
    paths = {Path(m.path).name for m in read_maps(pid) if m.path.startswith("/")}
    if not elf.has_interpreter:
        yield Finding("ok", "program", "statically linked: it loads no libraries")
        return
    kind = next((word for name, word in LIBCS if any(p.startswith(name) for p in paths)), "unknown")
    yield Finding("ok", "program", f"dynamically linked, {kind}")


def _places(pid: int) -> Iterator[Finding]:
    from bpftime_cli.pipeline.finding import Finding

    differ = [name for name in ("pid", "mnt") if _namespace(pid, name) != _namespace(os.getpid(), name)]
    if "pid" in differ:
        yield Finding("ok", "container", "another PID namespace: it is handed our memory by descriptor")
    elif differ:
        yield Finding("ok", "container", "another file system: its files are read through /proc/PID/root")


def _namespace(pid: int, name: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{name}").readlink())


def _agent(pid: int) -> Iterator[Finding]:
    from bpftime_cli.pipeline.finding import Finding

    if not find_state(pid):
        yield Finding("ok", "agent in it", "none yet")
        return
    target = look_at(pid)
    theirs = protocol.STATE.text(target.head, "build_id").rstrip(b"\0").decode(errors="replace")
    target.close()
    same = build.source_hash().startswith(theirs)
    yield Finding(
        "ok" if same else "FAIL",
        "agent in it",
        f"build {theirs}",
        "" if same else "detach with the version that attached",
    )
