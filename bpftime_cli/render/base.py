"""What every output format has in common: events in, bytes out, no clock and no file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from runtime.events import Event

Sink = Callable[[bytes], object]
BAR = 52  # columns of a full histogram bar


@dataclass(frozen=True, slots=True)
class Style:
    r"""How text looks. The SGR sequences are empty without colour; `bar` is the width of a histogram bar.

    `sanitise`: control bytes of traced strings are shown as `\xNN` (the output is a terminal).
    """

    name: bytes = b""
    key: bytes = b""
    bars: bytes = b""
    reset: bytes = b""
    bar: int = BAR
    sanitise: bool = False


PLAIN = Style()


def bar_width(columns: int) -> int:
    """Width of a full bar on a terminal of so many columns."""
    return BAR if columns >= 79 else max(10, columns - 27)


class Renderer(ABC):
    """Writes events to a sink; `talk` gets what belongs to stderr in formats that tell the two apart.

    `joins`: lines of printf may come several in one event.
    """

    joins: ClassVar[bool] = False

    def __init__(self, sink: Sink, talk: Sink | None = None, style: Style = PLAIN) -> None:
        self.sink = sink
        self.talk = talk or sink
        self.style = style

    @abstractmethod
    def write(self, event: Event) -> None:
        """Write one event."""

    def start(self) -> None:  # noqa: B027  # most formats do not count time
        """All probes are armed: what happens from now on is recorded."""

    def finish(self) -> None:  # noqa: B027  # stream formats have nothing to finish
        """Write what comes at the end."""
