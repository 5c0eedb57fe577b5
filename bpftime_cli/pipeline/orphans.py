"""What killed tracers left: found in session folders and in the processes themselves, and taken out.

A process that carries the agent's state names the sessions of its thunks and where their regions are mapped.
A session is over when its region's file is gone, or when it is a tracer's own region and that tracer has
ended. So nobody's live session is touched, wherever its folder is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from attachers.inject.visit import Visitor, find_state
from attachers.patch.apply import remove
from attachers.patch.chain import chain
from attachers.target import Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState
from runtime.errors import Problem
from runtime.shm.folder import ProcessMark, SessionFolder
from runtime.shm.region import process_start
from runtime.symbols.maps import Mapping, folder_of, read_maps
from runtime.symbols.paths import exists

MARK = f"memfd:{protocol.STATE_NAME}".encode()
DELETED = " (deleted)"


@dataclass(slots=True)
class Report:
    """What was found: lines to tell, and how many probes were taken out."""

    lines: list[str] = field(default_factory=list)
    removed: int = 0
    unreachable: int = 0


def carriers() -> list[int]:
    """Return the processes that carry the agent's state: this user's, for root everybody's."""
    found = []
    own = os.getpid()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        try:
            if os.geteuid() not in (0, entry.stat().st_uid):
                continue
            with open(f"{folder_of(int(entry.name))}/maps", "rb") as file:  # hundreds of them
                if MARK in file.read():
                    found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def reap() -> Report:
    """Take out what no live session owns, and remove the folders of ended tracers."""
    report = Report()
    names: dict[bytes, str] = {}
    dead: list[tuple[SessionFolder, tuple[ProcessMark, ...]]] = []
    pids = set(carriers())
    for folder in SessionFolder.all():
        try:
            meta = folder.read()
        except Problem as problem:
            report.lines.append(f"{problem} ({problem.hint})")
            continue
        names[bytes.fromhex(meta.id)] = folder.name
        if not meta.detached and not meta.tracer.is_alive:
            dead.append((folder, meta.targets))
            pids |= {mark.pid for mark in meta.targets if mark.is_alive}
    kept = {pid for pid in sorted(pids) if not _clean(pid, names, report)}
    for folder, targets in dead:
        if not any(mark.pid in kept and mark.is_alive for mark in targets):
            folder.remove()
            report.lines.append(f"removed session {folder.name}: its tracer has ended")
    return report


def _clean(pid: int, names: dict[bytes, str], report: Report) -> bool:
    """Take orphans out of one process; returns whether none is left in it."""
    start = process_start(pid)
    try:
        ended = ended_sessions(pid)
        if not ended:
            return True
        target = Target.open(pid)
    except (Problem, OSError) as error:
        return _unreachable(pid, start, error, report)
    try:
        for session in ended:
            count = remove(target, session)
            report.removed += count
            report.lines.append(
                f"took {count} {'probe' if count == 1 else 'probes'} of ended session "
                f"{names.get(session, session.hex()[:8])} out of {pid} ({command_of(pid)})"
            )
    except (Problem, OSError) as error:
        return _unreachable(pid, start, error, report)
    finally:
        target.close()
    return True


def _unreachable(pid: int, start: int, error: Exception, report: Report) -> bool:
    if process_start(pid) != start or not start:
        return True
    report.unreachable += 1
    report.lines.append(
        f"{pid} ({command_of(pid)}) keeps probes of an ended session: unreachable, harmless ({error})"
    )
    return False


def ended_sessions(pid: int) -> list[bytes]:
    """Return the sessions that have thunks in a process and are over. The process is only read.

    Raises:
        Problem: its memory may not be read.
    """
    if not find_state(pid):
        return []
    target = look_at(pid)
    try:
        found: dict[bytes, None] = {}
        for site in target.sites:
            if site.state == SiteState.ARMED:
                found |= dict.fromkeys(node.session for node in chain(target, site))
        maps = read_maps(pid)
        return [session for session in found if _is_over(target, session, maps)]
    finally:
        target.close()


def look_at(pid: int) -> Target:
    """Return a process with the agent's tables, read from outside: nothing in it runs for us.

    Raises:
        Problem: it carries no agent, or may not be read.
    """
    target = Target(pid, Visitor(pid), process_start(pid))
    target.state = find_state(pid)
    target.head = target.memory.read(target.state, protocol.STATE.size)
    if protocol.STATE.get(target.head.ljust(protocol.STATE.size, b"\0"), "magic") != protocol.STATE_MAGIC:
        target.close()
        raise Problem(f"the agent in {pid} is of another version", hint="use the bpftime that attached")
    target.read_tables()
    return target


def _is_over(target: Target, session: bytes, maps: list[Mapping]) -> bool:
    """Say whether a session has ended, by its region as the process has it mapped."""
    base = _region_of(target, session)
    mapping = next((m for m in maps if base and m.start <= base < m.end), None)
    if mapping is None:
        return True
    if f"memfd:{protocol.REGION_NAME}" not in mapping.path:
        return mapping.path.endswith(DELETED) or not exists(mapping.path)
    head = target.memory.read(base, protocol.REGION.size)
    if len(head) < protocol.REGION.size:
        return True
    get = protocol.REGION.get
    return not ProcessMark(get(head, "tracer_pid"), get(head, "tracer_start")).is_alive


def _region_of(target: Target, session: bytes) -> int:
    raw = target.memory.read(
        target.state + protocol.STATE_REGIONS, protocol.MAX_REGIONS * protocol.STATE_REGION.size
    )
    for at in range(0, len(raw), protocol.STATE_REGION.size):
        entry = protocol.STATE_REGION.unpack(raw, at)
        if (
            entry["base"]
            and not entry["offset"]
            and protocol.STATE_REGION.text(raw, "session", at) == session
        ):
            return entry["base"]
    return 0


def command_of(pid: int) -> str:
    """Return a process's command name, `-` when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "-"
