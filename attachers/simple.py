"""Simple attach: an event source of one's own as one callback and a string of configuration.

The callback gets the string that the program was attached with, the string of the event, and what runs the
program; its result is the trigger's. One type number, one live attach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attachers.base import FIRST_CUSTOM, Attacher, Callback, PrivateData, TextData
from attachers.context import AttachContext
from runtime.errors import AttachProblem

# (text of the attach, text of the event, what runs the program on memory) → result of the trigger
Event = Callable[[str, str, Callback], int]
Trigger = Callable[[str], int]
NOT_ATTACHED = 1  # a trigger's result while no program is attached
REFUSED = 1  # EPERM: the model's −1


class SimpleAttacher(Attacher):
    """One event source. Methods raise; their names in the model return −1 instead."""

    types: ClassVar[tuple[int, ...]] = ()

    def __init__(self, attach_type: int, event: Event) -> None:
        """Take the number of the type, 2000 or above, and the callback."""
        super().__init__()
        if attach_type < FIRST_CUSTOM:
            raise AttachProblem(f"{attach_type} is no type of one's own", errno=22, hint="2000 and above are")
        self.attach_type = attach_type
        self._event = event
        self._live: tuple[int, str, Callback] | None = None

    def create_attach(self, program: object, private_data: PrivateData, attach_type: int) -> int:
        """Attach the program; returns the link's id.

        Raises:
            AttachProblem: another one is attached, or the type is not this one (1).
        """
        if attach_type != self.attach_type:
            raise AttachProblem(f"attach type {attach_type} is not {self.attach_type}", errno=REFUSED)
        if self._live is not None:
            raise AttachProblem(f"a program is attached to {attach_type} already", errno=REFUSED)
        if not isinstance(private_data, TextData) or not callable(program):
            raise AttachProblem("a simple attach takes a program that runs here, and a text", errno=22)
        link = self.allocate_id()
        self._live = link, private_data.text, program
        return link

    def detach_by_id(self, link: int) -> int:
        """Detach the program.

        Raises:
            AttachProblem: none is attached, or not by that id (1).
        """
        if self._live is None or self._live[0] != link:
            raise AttachProblem(f"no link {link} of type {self.attach_type}", errno=REFUSED)
        self._live = None
        return 0

    def trigger(self, text: str) -> int:
        """Let the event happen: the callback's result, or 1 while no program is attached."""
        if self._live is None:
            return NOT_ATTACHED
        _, configuration, program = self._live
        return self._event(configuration, text, program)


def add_simple_attach(context: AttachContext, attach_type: int, event: Event) -> Trigger:
    """Register an event source in a context; returns what to call when its event happens."""
    attacher = SimpleAttacher(attach_type, event)
    context.register_attach_impl((attach_type,), attacher, TextData.from_string)
    return attacher.trigger
