"""What was asked of the view: which calls, how they are shown; and the renderer that shows them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bpftime_cli.callview.call import Call, read_call
from bpftime_cli.callview.copies import Limits
from bpftime_cli.callview.field import Looks
from bpftime_cli.callview.files import Files
from bpftime_cli.callview.lines import Style, json_of, line_of
from bpftime_cli.callview.script import entries_of, script_of
from bpftime_cli.callview.shapes import BECOME, Shape, shapes_of
from bpftime_cli.callview.signals import signal_name
from bpftime_cli.render import FORMATS, Renderer
from bpftime_cli.render.base import Sink
from bpftime_cli.render.base import Style as Colours
from runtime.errors import Problem
from runtime.events import Event
from runtime.syscalls.table import by_name, name_of

CLOSE = by_name()["close"].number
LEAST_COPIED = 252  # bytes of a path or buffer that are copied


@dataclass(frozen=True, slots=True)
class View:
    """The view of one trace. `numbers`: the calls. `counts`: a table at the end; `lists`: a line a call.

    `results`: both, ok or failed. `slow`: ns that a call must have taken. `paths`: descriptors are named.
    """

    numbers: frozenset[int]
    lists: bool = True
    counts: bool = False
    results: str = "both"
    slow: int = 0
    most: int = 32
    times: str = "rel"
    durations: bool = True
    paths: bool = False
    sort: str = "time"
    shapes: list[Shape] = field(init=False)
    groups: list[frozenset[int]] = field(init=False)
    """The calls of each program that lists, in the order of the script."""

    def __post_init__(self) -> None:
        grouped = shapes_of(self.numbers) if self.lists else {}
        object.__setattr__(self, "shapes", list(grouped))
        object.__setattr__(self, "groups", _groups(grouped))

    @property
    def program(self) -> str:
        """Return the script that does it."""
        limits = Limits(max(LEAST_COPIED, self.most), self.most, self.slow)
        return script_of(self.shapes, limits, counts=self.counts)


def _groups(shapes: Mapping[Shape, frozenset[int]]) -> list[frozenset[int]]:
    begin = [
        frozenset[int]().union(*(numbers for shape, numbers in shapes.items() if shape.entry == entry))
        for entry in entries_of(list(shapes))
    ]
    return begin + [numbers for shape, numbers in shapes.items() if shape.ends]


class Lines(Renderer):
    """Shows calls, a line each; all else as the format does."""

    def __init__(self, view: View, form: str, sink: Sink, talk: Sink, colours: Colours) -> None:
        super().__init__(sink, talk, colours)
        self.view = view
        self._other = FORMATS[form](sink, talk, colours)
        self._is_json = form == "json"
        self._files = Files()
        self._looks = Looks(view.most, self._files.path_of if view.paths else Looks().path_of)
        marks = ("\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m") if colours.reset else ("",) * 4
        self._style = Style(self._looks, view.times, view.durations, False, 0, *marks)
        self._begun: dict[int, Call] = {}
        self._thread = 0

    def write(self, event: Event) -> None:
        """Write one event."""
        if event.type != "value":
            self._other.write(event)
            return
        call = read_call(event.data, self.view.shapes)  # type: ignore[arg-type] # maps are never printed
        is_begun = not call.has_ended and name_of(call.number) in BECOME
        before = self._begun.pop(call.tid, None)
        if before is not None and (is_begun or before.number != call.number):
            self._show(_became(before))
        if is_begun:
            self._begun[call.tid] = call
            return
        if call.number == CLOSE:
            self._show(call)
            self._files.note(call)
            return
        self._files.note(call)  # what it has made is named in its own line
        self._show(call)

    def finish(self) -> None:
        """Write what comes at the end: programs that were started and made no call since."""
        for call in self._begun.values():
            self._show(_became(call))
        self._begun.clear()
        self._other.finish()

    def start(self) -> None:
        """Count times from now on: the programs are let go."""
        self._style.begin = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def ended(self, status: int) -> None:
        """Write how the launched program ended, as waitpid says it: negative is a signal."""
        self.finish()
        how = f"killed by {signal_name(-status)}" if status < 0 else f"exited with {status}"
        if not self._is_json and self.view.lists:
            self.sink(f"+++ {how} +++\n".encode())

    def _show(self, call: Call) -> None:
        if self.view.results != "both" and call.has_failed != (self.view.results == "failed"):
            return
        if self._is_json:
            self.sink(json_of(call, self._looks).encode("utf-8", "surrogateescape"))
            return
        self._style.thread |= bool(self._thread) and self._thread != call.tid
        self._thread = call.tid
        self.sink(line_of(call, self._style).encode("utf-8", "surrogateescape"))


def _became(call: Call) -> Call:
    """Return a call that made its process another program: it returned nothing, which is success."""
    return replace(call, duration=0, result=0, has_ended=True)


def check_results(*, only_good: bool, only_failed: bool) -> str:
    """Return which results are shown.

    Raises:
        Problem: both were asked for alone.
    """
    if only_good and only_failed:
        raise Problem("-z and -Z exclude one another")
    return "ok" if only_good else "failed" if only_failed else "both"
