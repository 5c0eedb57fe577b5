"""`maps`: contents of a session's maps, single entries changed, rings drained."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bpftime_cli.console import Console
from bpftime_cli.pipeline.loading import interrupts
from bpftime_cli.pipeline.objects import Loaded
from bpftime_cli.pipeline.records import Rings, renderer
from bpftime_cli.pipeline.sessions import OpenSession, opened, split_id
from bpftime_cli.pipeline.typed import EVENTS, encode, is_section, map_event
from runtime.errors import Problem, UsageProblem

NAP = 0.02  # seconds between two looks at a ring


@dataclass(frozen=True, slots=True)
class MapsRequest:
    """What `maps` was asked. `name`: of a map, with its session before a colon, or an id; empty for all.

    `key`: only this entry. `pids`: only sessions that have probes in one of these processes.
    """

    name: str = ""
    key: str = ""
    pids: tuple[int, ...] = ()
    session: str = ""
    format: str = "text"
    set: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    watch: float = 0.0
    follow: bool = False


@dataclass(frozen=True, slots=True)
class FoundMap:
    """A map of an object of a session."""

    session: OpenSession
    loaded: Loaded
    name: str
    id: int


def maps(request: MapsRequest, console: Console) -> int:
    """Carry the command out; returns the exit status.

    Raises:
        Problem: there is no such map, or it cannot be changed so.
    """
    with opened(request.session) as every:
        sessions = [
            s for s in every if not request.pids or {t.pid for t in s.meta.targets} & set(request.pids)
        ]
        found = _find(sessions, request.name)
        if request.set or request.delete:
            _change(found, request)
            return 0
        if len(found) == 1 and request.name and found[0].loaded.session.maps[found[0].name].is_ring:
            return _drain(found[0], request, console)
        with interrupts() as pressed:
            while True:
                _print(found, request, console)
                if not request.watch or pressed:
                    return 0
                time.sleep(request.watch)
                if pressed:
                    return 0


def _find(sessions: list[OpenSession], text: str) -> list[FoundMap]:
    """Return the maps that a name or id means; all for an empty text.

    Raises:
        Problem: there is none, or the name means several.
    """
    owner, name = split_id(text)
    every: list[FoundMap] = []
    for session in sessions:
        if owner and session.name != owner:
            continue
        for kept in session.meta.objects:
            loaded = session.loaded(kept)
            every += [FoundMap(session, loaded, n, m.id) for n, m in kept.maps.items()]
    if not text:
        return every
    found = [m for m in every if m.name == name or (name.isdigit() and m.id == int(name))]
    if not found:
        known = ", ".join(m.name for m in every)
        raise Problem(
            f"no map '{text}'", hint=f"there are: {known}" if known else "bpftime list shows the sessions"
        )
    if len(found) > 1:
        raise Problem(
            f"'{text}' means several maps: {', '.join(f'{m.session.name}:{m.id}' for m in found)}",
            hint="write SESSION:ID",
        )
    return found


def _print(found: list[FoundMap], request: MapsRequest, console: Console) -> None:
    out = renderer(console, request.format)
    for one in found:
        if not one.loaded.session.maps[one.name].is_ring:
            view = one.loaded.session.view(one.name)
            btf = one.loaded.programs.object.btf
            key = encode(btf, view.spec.key_type, view.spec.key_size, request.key) if request.key else None
            out.write(map_event(one.name, view, btf, key))
    out.finish()
    console.out.flush()


def _drain(found: FoundMap, request: MapsRequest, console: Console) -> int:
    with found.session.folder.consuming(found.name), interrupts() as pressed:
        rings = Rings(found.loaded, console, request.format, only=found.name)
        rings.drain(all_of_it=True)
        while request.follow and not pressed:
            if not rings.drain():
                time.sleep(NAP)
        rings.finish()
    return 0


def _change(found: list[FoundMap], request: MapsRequest) -> None:
    if not request.name:
        raise UsageProblem("which map?", hint="bpftime maps NAME --set KEY=VALUE")
    [one] = found
    btf = one.loaded.programs.object.btf
    view = one.loaded.session.view(one.name)
    spec = view.spec
    if one.loaded.session.maps[one.name].is_ring or one.name == EVENTS or is_section(spec):
        raise UsageProblem(
            f"'{one.name}' has no keys", hint="globals are set when loading: bpftime load --set NAME=VALUE"
        )
    for text in request.delete:
        view.delete(encode(btf, spec.key_type, spec.key_size, text))
    for text in request.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageProblem(f"--set takes KEY=VALUE, not '{text}'")
        raw = encode(btf, spec.value_type, spec.value_size, value)
        view.set(encode(btf, spec.key_type, spec.key_size, key), raw)
