"""Run-time warnings: what a program tells the tracer when an operation fails.

A place that fails often must not fill the ring: the first few failures of each place are told, the others
counted in a map, whose counts the tracer reports at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang.decode import FailureDecoder
from runtime.lang.source import At
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

COMPLAIN = 100031  # helper
RING, COUNTS = ".events", ".failures"
TOLD = 10  # failures of one place that are told one by one; runtime/agent/ring.c has the number too

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
    if g.body.provider.device:  # every thread would tell; full maps count what they lose
        return
    span = g.source.span(at)
    number = g.output.event(FailureDecoder(text, helper, span))
    if isinstance(result, Place):
        g.code.load(4, result, 8)
    else:
        g.code.set(4, result)
    g.code.map(1, RING)
    g.code.map_value(2, COUNTS, 8 * g.output.failure(text, span))
    g.code.set(3, number)
    g.code.call(COMPLAIN)


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
