"""`list` without a pattern: programs, maps and links of all sessions, and processes that may be traced."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from attachers.cuda.data import KERNEL, KERNEL_RETURN
from attachers.inject.visit import find_state
from attachers.patch.cost import COSTS, HOOK
from bpftime_cli.console import Console
from bpftime_cli.pipeline.attaching import WORDS, is_attached
from bpftime_cli.pipeline.kernels import WOVEN
from bpftime_cli.pipeline.objects import CONTEXTS
from bpftime_cli.pipeline.orphans import command_of, reap
from bpftime_cli.pipeline.sessions import OpenSession, opened
from bpftime_cli.render.json import value_json
from runtime.errors import Problem
from runtime.events import Value
from runtime.maps.layout import HASHES
from runtime.maps.spec import MapKind
from runtime.shm.handlers import EventEntry, Link, LinkState

Row = dict[str, Value]
KERNEL_TYPES = (KERNEL, KERNEL_RETURN)
KERNEL_WORDS = tuple(f"{word}:" for word in WOVEN)
COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "session": (
        ("SESSION", "session"),
        ("TRACER", "tracer"),
        ("STATE", "state"),
        ("TARGETS", "targets"),
        ("COMMAND", "command"),
    ),
    "program": (
        ("ID", "shown"),
        ("PROGRAM", "name"),
        ("TYPE", "type"),
        ("SECTION", "section"),
        ("INSNS", "instructions"),
        ("SESSION", "session"),
    ),
    "map": (
        ("ID", "shown"),
        ("MAP", "name"),
        ("TYPE", "type"),
        ("KEY", "key_size"),
        ("VALUE", "value_size"),
        ("USED/MAX", "used"),
        ("BYTES", "bytes"),
        ("SESSION", "session"),
    ),
    "link": (
        ("ID", "shown"),
        ("PID", "pid"),
        ("COMM", "comm"),
        ("PROGRAM", "program"),
        ("TYPE", "type"),
        ("TARGET", "target"),
        ("BACKEND", "backend"),
        ("HITS", "hits"),
        ("NS/HIT", "ns"),
        ("STATE", "state"),
    ),
    "process": (("PID", "pid"), ("COMM", "comm"), ("UID", "uid"), ("AGENT", "agent")),
}

MORE_COLUMNS = {"link": (("COOKIE", "cookie"), ("SITES", "sites"), ("COST", "cost"))}


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What `list` was asked, but for patterns. `pids`: only their links; empty for all."""

    session: str = ""
    pids: tuple[int, ...] = ()
    links: bool = False
    verbose: bool = False
    format: str = "text"


def show_sessions(request: ListRequest, console: Console) -> int:
    """Clean up what ended tracers left, then print what there is.

    Raises:
        Problem: the named session cannot be opened.
    """
    report = reap()
    for line in report.lines:
        console.note(line)
    with opened(request.session) as sessions:
        rows = _rows(request, sessions)
    kinds = ("link",) if request.links or request.pids else ("session", "program", "map", "link")
    shown = [kind for kind in kinds if rows.get(kind)]
    for index, kind in enumerate(shown):
        if index and request.format == "text":
            console.data(b"\n")
        print_rows(console, kind, rows[kind], request.format, verbose=request.verbose)
    console.out.flush()
    return 0


def print_rows(console: Console, kind: str, rows: list[Row], form: str, *, verbose: bool = False) -> None:
    """Print rows of one kind: a table (`verbose`: more columns), or an object a line with the kind in it."""
    if form == "json":
        for row in rows:
            plain: Row = {"kind": kind, **{name: value for name, value in row.items() if name != "shown"}}
            console.data(value_json(plain).encode("utf-8", "surrogateescape") + b"\n")
        return
    columns = COLUMNS[kind] if not verbose else (*COLUMNS[kind], *MORE_COLUMNS.get(kind, ()))
    cells = [["-" if row[key] is None else str(row[key]) for _, key in columns] for row in rows]
    console.table([head for head, _ in columns], cells)


def _rows(request: ListRequest, sessions: list[OpenSession]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {"session": [], "program": [], "map": [], "link": []}
    for session in sessions:
        rows["session"].append(_session_row(session))
        try:
            rows["program"] += _program_rows(session)
            rows["map"] += _map_rows(session)
        except Problem as problem:
            rows["session"][-1]["state"] = f"unreadable: {problem}"
        rows["link"] += _link_rows(session, request.pids)
    for kind in ("program", "map", "link"):
        numbers = Counter(row["id"] for row in rows[kind])
        for row in rows[kind]:
            row["shown"] = row["id"] if numbers[row["id"]] == 1 else _full(row)
    return rows


def _full(row: Row) -> str:
    return f"{row['session']!s}:{row['id']!s}"


def _session_row(session: OpenSession) -> Row:
    meta = session.meta
    living = [mark.pid for mark in meta.targets if mark.is_alive]
    state = "detached" if meta.detached else "running" if meta.tracer.is_alive else "ended"
    return {
        "session": session.name,
        "tracer": None if meta.detached else meta.tracer.pid,
        "state": state,
        "targets": ",".join(map(str, living)) or None,
        "command": " ".join(meta.argv[1:]) or None,
    }


def _program_rows(session: OpenSession) -> list[Row]:
    sections: dict[int, Value] = {
        number: kept.sections[name] for kept in session.meta.objects for name, number in kept.programs.items()
    }
    return [
        {
            "id": entry.id,
            "session": session.name,
            "name": entry.name,
            "type": CONTEXTS[entry.context].value if entry.context < len(CONTEXTS) else None,
            "section": sections.get(entry.id),
            "instructions": entry.instructions,
        }
        for entry in session.handlers.programs()
    ]


def _map_rows(session: OpenSession) -> list[Row]:
    rows: list[Row] = []
    for kept in session.meta.objects:
        loaded = session.loaded(kept)
        for name, where in kept.maps.items():
            placed = loaded.session.maps[name]
            spec = placed.spec
            kind = (
                MapKind(spec.kind).name.lower() if spec.kind in MapKind._value2member_map_ else str(spec.kind)
            )
            used = (
                f"{loaded.session.view(name).count()}/{spec.max_entries}"
                if spec.kind in HASHES
                else f"-/{spec.max_entries}"
            )
            rows.append(
                {
                    "id": where.id,
                    "session": session.name,
                    "name": name,
                    "type": kind,
                    "key_size": spec.key_size,
                    "value_size": spec.value_size,
                    "used": used,
                    "bytes": placed.layout.bytes,
                }
            )
    return rows


def _link_rows(session: OpenSession, pids: tuple[int, ...]) -> list[Row]:
    handlers = session.handlers
    events = handlers.events()
    names = {entry.id: entry.name for entry in handlers.programs()}
    rows: list[Row] = []
    for link in handlers.links():
        if pids and link.pid not in pids:
            continue
        event = events.get(link.event)
        rows.append(
            {
                "id": link.id,
                "session": session.name,
                "pid": link.pid,
                "comm": _comm(link),
                "program": names.get(link.program),
                "type": _type(event) if event else None,
                "target": _target(event.text) if event else None,
                "backend": "frida" if link.cost == HOOK.number else "inline",
                "hits": None,
                "ns": None,
                "state": _state(link, event),
                "sites": link.sites,
                "cookie": link.cookie,
                "cost": _cost(link),
            }
        )
    return rows


def _state(link: Link, event: EventEntry | None) -> str:
    """Return a link's state in a word; one of kernels that no module has yet waits for one."""
    state = is_attached(link)
    waits = state is LinkState.PENDING and event is not None and event.type in KERNEL_TYPES
    return "waiting" if waits else state.name.lower()


def _cost(link: Link) -> str | None:
    cost = COSTS.get(link.cost)
    return f"{cost.name}, ~{cost.ns:g} ns" if cost else None


def _comm(link: Link) -> str:
    return command_of(link.pid) if is_attached(link).name != "GONE" else "-"


def _type(event: EventEntry) -> str | None:
    if event.type in KERNEL_TYPES:
        return event.text.partition(":")[0]
    return "usdt" if event.text.startswith("usdt:") else WORDS.get(event.type)


def _target(text: str) -> str:
    if text.startswith(KERNEL_WORDS):
        return text.partition(":")[2]
    binary, _, function = text.rpartition(":")
    return f"{Path(binary).name}:{function}"


# --- processes


def show_processes(form: str, console: Console) -> int:
    """Print the processes that this user may trace."""
    rows = [row for row in map(_process_row, _pids()) if row is not None]
    if rows:
        print_rows(console, "process", rows, form)
    console.out.flush()
    return 0


def _pids() -> list[int]:
    return sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def _process_row(pid: int) -> Row | None:
    try:
        folder = Path(f"/proc/{pid}")
        uid = folder.stat().st_uid
        if pid == os.getpid() or os.geteuid() not in (0, uid) or not str((folder / "exe").readlink()):
            return None
        agent = "yes" if find_state(pid) else "-"
    except (OSError, Problem):
        return None
    return {"pid": pid, "comm": command_of(pid), "uid": uid, "agent": agent}
