"""Run-time warnings: what a program tells the tracer when an operation fails.

A place that fails often must not fill the ring: the first few failures of each place are told, the others
counted in a map, whose counts the tracer reports at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang.decode import HEADER, FailureDecoder
from runtime.lang.source import At
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

RING_OUTPUT = 130  # helper
RING, COUNTS = ".events", ".failures"
TOLD = 10  # failures of one place that are told one by one

DIVIDED = (
    "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."
)
FULL = (
    "Map full; can't update element. Try increasing max_map_keys config or manually setting the max entries"
    " in a map declaration e.g. `let @a = hash(5000)`"
)
NOT_DELETED = "Can't delete map element because it does not exist."
NOT_FOUND = "Can't lookup map element because it does not exist."
OUTSIDE = "Array access out of bounds. 0 is being used as the result."
NO_STACK = "Error reading ustack."
NO_CHILD = "No child process: cpid is only available with -c. 0 is being used as the result."


def complain(g: Generator, at: At, text: str, helper: str = "", result: Place | int = 0) -> None:
    """Tell the tracer of a failure here; r0 to r5 are lost.

    `helper`: which one failed, empty for none. `result`: what it gave, or where that is. An empty `text` is
    replaced by the words for the error number.
    """
    number = g.output.event(FailureDecoder(text, helper, g.source.span(at)))
    done = g.code.label()
    with g.storage.scope():
        record = g.storage.take(HEADER + 8)
        if isinstance(result, Place):
            g.code.load(4, result, 8)
            g.code.store(record + HEADER, 4, 8)
        else:
            g.code.store_constant(record + HEADER, result, 8)
        g.code.map_value(1, COUNTS, 8 * g.output.failure(text, g.source.span(at)))
        g.code.load(2, Place(1, 0), 8)
        g.code.set(3, 1)
        g.code.add_atomic(Place(1, 0), 3)
        g.code.jump_if_constant(">=", 2, TOLD, done)
        g.code.store_constant(record, number, 8)
        g.code.map(1, RING)
        g.code.address(2, record)
        g.code.set(3, HEADER + 8)
        g.code.set(4, 0)
        g.code.call(RING_OUTPUT)
        g.code.at(done)


def complain_if_negative(g: Generator, at: At, text: str, helper: str) -> None:
    """Tell of a failure where r0, a helper's result, is negative; r0 is kept."""
    fine = g.code.label()
    with g.storage.scope():
        result = g.storage.take(8)
        g.code.store(result, 0, 8)
        g.code.jump_if_constant("s>=", 0, 0, fine)
        complain(g, at, text, helper, result)
        g.code.load(0, result, 8)
        g.code.at(fine)


def check_read(g: Generator, at: At, helper: str) -> None:
    """With `-k`: tell of a read that failed, r0 being the helper's result; r0 is kept."""
    if g.output.checks:
        complain_if_negative(g, at, "", helper)
