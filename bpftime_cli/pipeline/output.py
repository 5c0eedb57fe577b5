"""From the ring and the maps to the renderer: decodes records in order and carries out their actions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bpftime_cli.console import Console, standard_output, wants_colour
from bpftime_cli.pipeline import losses
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.resolver import Names
from bpftime_cli.render import FORMATS, PLAIN, Renderer, Style, bar_width
from runtime.errors import Problem, UsageProblem
from runtime.events import Action, Event, MapData
from runtime.lang.builtins import CHILD
from runtime.lang.complaints import COUNTS, TOLD
from runtime.lang.probenames import MOST, NAMES
from runtime.lang.script import Script
from runtime.shm.ring import RingReader
from runtime.shm.session import Session
from runtime.types import Run

RING = ".events"
TALK = ("warnf", "runtime_error", "helper_error", "debugf")
PATIENCE = 10_000  # naps, two seconds, that a call waits for us rather than being lost from the view
DRAIN = 20_000  # records decoded between two looks at signals and timers


def open_output(config: Config) -> BinaryIO:
    """Return where data goes.

    Raises:
        Problem: the file cannot be written.
    """
    if not config.output:
        return sys.stderr.buffer if config.to_stderr and sys.stderr is not None else standard_output()
    try:
        return Path(config.output).open("wb")
    except OSError as error:
        raise Problem(
            f"failed to open file '{config.output}': {error.strerror}", hint="choose another -o FILE"
        ) from None


def _style(config: Config, out: BinaryIO) -> Style:
    terminal = out.isatty()
    columns = os.get_terminal_size(out.fileno()).columns if terminal else 80
    if not wants_colour(config.colour, is_terminal=terminal):
        return Style(bar=bar_width(columns), sanitise=terminal) if terminal else PLAIN
    return Style(b"\x1b[36m", b"\x1b[36m", b"\x1b[32m", b"\x1b[0m", bar_width(columns), sanitise=terminal)


@dataclass(slots=True)
class Watched:
    """What a part of a script has printed: texts, the number of errors, and the status it exited with."""

    texts: list[bytes] = field(default_factory=list)
    errors: int = 0
    exit_code: int | None = None

    def note(self, event: Event) -> None:
        """Remember one event."""
        self.errors += event.type == "errorf"
        if isinstance(event.data, bytes):
            self.texts.append(event.data)


class Output:
    """Prints one script's events. `exit_code` is set once the script asked to exit."""

    def __init__(
        self, config: Config, console: Console, script: Script, session: Session, names: Names
    ) -> None:
        if config.format not in FORMATS:
            raise UsageProblem(
                f'Invalid output format "{config.format}"', hint=f"formats: {', '.join(FORMATS)}"
            )
        self.config = config
        self._console = console
        self.script = script
        self.session = session
        self.names = names
        self.exit_code: int | None = None
        self.on_unwatch: Callable[[int], None] = lambda _address: None
        self.more_records: Callable[[], list[bytes]] = list  # that do not come by the ring
        self.before_maps: Callable[[], None] = lambda: None  # brings them up to date
        names.on_probe = self._name_probe
        self.printed = 0
        self._lost_before = 0
        self._printed_items: dict[str, list[tuple[bytes, bytes]]] = {}  # of the events just before
        self._is_stopped = False
        self._watched: Watched | None = None
        self._parts: list[bytes] = []
        self.renderer = self._make_renderer()
        self._reader = self._open_ring()

    def _make_renderer(self) -> Renderer:
        style = _style(self.config, self._console.out)
        if self.config.view is None:
            return FORMATS[self.config.format](self._parts.append, self._console.talk, style)
        from bpftime_cli.callview.view import Lines  # lazy: only for the view

        form = self.config.format
        return Lines(self.config.view, form, self._parts.append, self._console.talk, style)

    def report_view(self, status: int | None) -> None:
        """Print how the launched program ended, None for none, and the table of calls if one is wanted."""
        from bpftime_cli.callview.view import Lines  # lazy: only for the view

        view = self.config.view
        if status is not None and isinstance(self.renderer, Lines):
            self.renderer.ended(status)
        if view is None or not view.counts:
            self.flush()
            return
        from bpftime_cli.callview.summary import rows_of, table  # lazy: only for the view

        self.renderer.finish()
        events = [(name, self._decoded(name)) for name in self.script.maps if not name.startswith("@call0")]
        maps = {name: event.data for name, event in events if event and isinstance(event.data, MapData)}
        self._parts.append(table(rows_of(maps, view.numbers, view.sort)).encode())
        self.flush()

    def _decoded(self, name: str) -> Event | None:
        return self.script.maps[name].decode(self.session.view(name).items(), self.names, 0, 0, at_exit=True)

    def _open_ring(self) -> RingReader | None:
        placed = self.session.maps.get(RING)
        if placed is None:
            return None
        start, size = placed.ring
        patience = PATIENCE if self.config.view is not None else 0
        return RingReader(self.session.region.buffer, start, size - 2 * 4096, patience=patience)

    def attached(self, count: int) -> None:
        """Say how many probes are armed."""
        self.renderer.start()
        if not self.config.quiet or self.config.format != "text":
            self.renderer.write(Event("attached_probes", count))
            self.flush()

    def drain(self, *, all_of_it: bool = False) -> int:
        """Print what has been recorded since; returns the number of records.

        `all_of_it`: as far as it has been recorded by now, however much comes meanwhile.
        """
        if self._reader is None:
            return 0
        total, end = 0, self._reader.position + self._reader.pending()
        while True:
            items = [*self._reader.take(DRAIN), *self.more_records()]
            total += sum(item.count if isinstance(item, Run) else 1 for item in items)
            self._take(items)
            if items:
                self._tell_losses()
                self.flush()
            if not all_of_it or not items or self._is_enough or self._reader.position >= end:
                return total

    def release(self) -> None:
        """End the recording: what a program cannot record from now on came too late, and it waits no more."""
        if self._reader is not None:
            self._reader.release()

    def _take(self, items: list[bytes | Run]) -> None:
        """Handle records in order."""
        self._printed_items.clear()
        joined = self.renderer.joins and not self.config.max_events
        for event, count in self.script.decode(items, self.names, joined=joined):
            self._handle(event, count)
            if self._is_enough:
                break

    @property
    def _is_enough(self) -> bool:
        return self._is_stopped or (bool(self.config.max_events) and self.printed >= self.config.max_events)

    @contextmanager
    def watch(self) -> Iterator[Watched]:
        """Note what is printed meanwhile; an exit ends nothing."""
        before, self._watched = self._watched, Watched()
        yield self._watched
        self._watched.exit_code, self.exit_code = self.exit_code, None
        self._watched = before

    def show(self, event: Event) -> None:
        """Print one event of the tracer's own."""
        self.renderer.write(event)
        self.flush()

    def stop(self) -> None:
        """Print nothing more; safe in a signal handler."""
        self._is_stopped = True

    def abandon(self) -> None:
        """Forget what could not be written, so that nothing tries to write it again at exit."""
        self._parts.clear()
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._console.out.fileno())

    @property
    def is_over(self) -> bool:
        """Return whether the script asked to exit, or enough events were printed."""
        return self.exit_code is not None or self._is_enough

    def _handle(self, item: Event | Action, count: int = 1) -> None:
        """Print an event of so many records, or carry out an action."""
        if not isinstance(item, Event):
            ACTIONS[item.what](self, item)
        elif item.type in TALK:
            self._tell(item)
        elif not self._is_enough:
            self.renderer.write(item)
            self.printed += count
            if self._watched is not None:
                self._watched.note(item)

    def _tell(self, event: Event) -> None:
        """Pass on what is no data: warnings unless they are silenced, and the log with -v."""
        if self.config.verbose if event.type == "debugf" else self.config.warnings:
            self.renderer.write(event)

    def _exit(self, action: Action) -> None:
        self.exit_code = action.code & 255 if self.exit_code is None else self.exit_code

    def _print(self, action: Action) -> None:
        self.print_map(action.map, action.top, action.div)

    def _clear(self, action: Action) -> None:
        printed = self._printed_items.pop(action.map, None)
        self.script.maps[action.map].clear(self.session.view(action.map), printed)

    def _zero(self, action: Action) -> None:
        self.script.maps[action.map].zero(self.session.view(action.map))

    def _cat(self, action: Action) -> None:
        name = os.fsdecode(action.text)
        try:
            with Path(name).open("rb") as file:
                text = file.read(self.script.config.number("max_cat_bytes"))
        except OSError as error:
            self._console.problem(Problem(f"failed to open file '{name}' ({error.strerror})"))
            return
        self._handle(Event("cat", text))

    def _system(self, action: Action) -> None:
        """Run a command to its end; what it prints is data, its other streams are ours."""
        import subprocess  # lazy: rarely used

        self.flush()
        done = subprocess.run(["/bin/sh", "-c", action.text], stdout=subprocess.PIPE, check=False)
        self._handle(Event("syscall", done.stdout))

    def _name_probe(self, cookie: int, name: str) -> None:
        """Tell the programs which of the texts that they compare with is the name of a probe."""
        for row, text in enumerate(self.script.probe_names):
            if text == name and cookie < MOST:
                self.session.view(NAMES).poke(row * MOST + cookie, b"\1")

    def set_child(self, pid: int) -> None:
        """Tell the programs the id of the launched program, where they ask."""
        if CHILD in self.session.maps:
            self.session.view(CHILD).set(bytes(4), pid.to_bytes(8, "little"))

    def print_map(self, name: str, top: int = 0, div: int = 0, *, at_exit: bool = False) -> None:
        """Print one map as it is now."""
        if not at_exit:
            self.before_maps()
        items = self.session.view(name).items()
        self._printed_items[name] = items
        event = self.script.maps[name].decode(items, self.names, top, div, at_exit=at_exit)
        if event is not None:
            self.renderer.write(event)

    def print_maps(self) -> None:
        """Print every map that is not empty, sorted by name."""
        self.before_maps()
        for name in sorted(self.script.maps):
            self.print_map(name, at_exit=True)
        self.flush()

    def clear_maps(self) -> None:
        """Empty every map."""
        for name, decoder in self.script.maps.items():
            decoder.clear(self.session.view(name), self._printed_items.pop(name, None))

    @property
    def lost(self) -> int:
        """Return how many records did not fit into the ring."""
        return self._reader.lost if self._reader else 0

    def _tell_losses(self) -> None:
        """Say how many events were lost since it was last said."""
        lost = self.lost
        if lost > self._lost_before:
            self.renderer.write(Event("lost_events", lost - self._lost_before))
            self._lost_before = lost

    def report_lost(self) -> None:
        """Say how many events were lost, if any; updates that did not fit into a map likewise."""
        self._tell_losses()
        losses.report(self._console, self.lost, self.session.region)
        self._report_failures()
        self.flush()

    def _report_failures(self) -> None:
        """Say how many failures of each place were counted and not told."""
        if not self.script.failures:
            return
        counts = memoryview(self.session.view(COUNTS).items()[0][1]).cast("Q")
        for place, count in zip(self.script.failures, counts, strict=True):
            if count > TOLD:
                self._console.warn([Problem(f"{count - TOLD} more of: {place.text}", span=place.span)])

    def flush(self) -> None:
        """Write what was rendered."""
        if self._parts:
            self._console.out.write(b"".join(self._parts))
            self._parts.clear()
            if self.config.buffering != "full":
                self._console.out.flush()

    def close(self) -> None:
        """Finish the format and the file."""
        self.renderer.finish()
        self.flush()
        self._console.out.flush()
        if self.config.output:
            self._console.out.close()


ACTIONS: dict[str, Callable[[Output, Action], None]] = {
    "exit": Output._exit,
    "print": Output._print,
    "clear": Output._clear,
    "zero": Output._zero,
    "cat": Output._cat,
    "system": Output._system,
    "unwatch": lambda output, action: output.on_unwatch(action.address),
}
