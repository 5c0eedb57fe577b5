"""Rings of an object, printed as they fill: each record by its type, lines of trace_printk as they are."""

from __future__ import annotations

import os

from bpftime_cli.console import Console, wants_colour
from bpftime_cli.pipeline import losses
from bpftime_cli.pipeline.objects import Loaded
from bpftime_cli.pipeline.typed import Records
from bpftime_cli.render import FORMATS, PLAIN, Renderer, Style, bar_width
from runtime.errors import Problem
from runtime.events import Event
from runtime.shm.ring import RingReader

HEADS = 2 * 4096
BATCH = 20_000


def renderer(console: Console, form: str) -> Renderer:
    """Return a renderer that writes to the console."""
    return FORMATS[form](console.data, console.talk, _style(console))


def _style(console: Console) -> Style:
    terminal = console.out.isatty()
    columns = os.get_terminal_size(console.out.fileno()).columns if terminal else 80
    if not wants_colour(console.colour, is_terminal=terminal):
        return Style(bar=bar_width(columns), sanitise=True) if terminal else PLAIN
    return Style(b"\x1b[36m", b"\x1b[36m", b"\x1b[32m", b"\x1b[0m", bar_width(columns), sanitise=terminal)


class Rings:
    """The consumer of an object's rings; `names` is the one to read, empty for all."""

    def __init__(
        self,
        loaded: Loaded,
        console: Console,
        form: str,
        events: dict[str, str] | None = None,
        only: str = "",
    ) -> None:
        wanted = events or {}
        self._console = console
        self._renderer = renderer(console, form)
        self._rings: list[tuple[str, RingReader, Records]] = []
        session, btf = loaded.session, loaded.programs.object.btf
        self._region = session.region
        unknown = sorted(set(wanted) - set(session.maps))
        if unknown:
            raise Problem(
                f"no ring '{unknown[0]}' in the object", hint="--event MAP=STRUCT names one of its rings"
            )
        for name, placed in session.maps.items():
            if placed.is_ring and only in ("", name):
                start, size = placed.ring
                reader = RingReader(session.region.buffer, start, size - HEADS)
                self._rings.append((name, reader, Records(placed.spec, btf, wanted.get(name, ""))))

    def drain(self, *, all_of_it: bool = False) -> int:
        """Print what has come since; returns the number of records.

        `all_of_it`: as far as it has come by now, however much comes meanwhile.
        """
        total = 0
        for _, reader, records in self._rings:
            end = reader.position + reader.pending()
            while True:
                found = reader.drain(BATCH)
                for payload in found:
                    self._renderer.write(records.event(payload))
                total += len(found)
                if not found or not all_of_it or reader.position >= end:
                    break
        if total:
            self._console.out.flush()
        return total

    def write(self, name: str, payload: bytes) -> None:
        """Print a record that came by another way than its ring."""
        for ring, _, records in self._rings:
            if ring == name:
                self._renderer.write(records.event(payload))
        self._console.out.flush()

    def finish(self) -> None:
        """Tell what was lost."""
        lost = sum(reader.lost for _, reader, _ in self._rings)
        if lost:
            self._renderer.write(Event("lost_events", lost))
        losses.report(self._console, lost, self._region)
        self._renderer.finish()
        self._console.out.flush()
