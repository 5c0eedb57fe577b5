"""The functions of the language: one row each, one file a topic.

A new function is a row in its topic's file: `check` types the call, `lower` computes a word in r0 or has an
effect, `fill` writes a value that is no word to memory.
"""

from __future__ import annotations

from runtime.lang.functions import (
    actions,
    addresses,
    aggregates,
    control,
    kernels,
    machine,
    maps,
    names,
    network,
    output,
    result,
    stacks,
    strings,
    target,
    text,
    times,
)
from runtime.lang.functions.row import Aggregation, Function

_TOPICS = (
    *(
        addresses,
        output,
        actions,
        control,
        kernels,
        maps,
        text,
        strings,
        names,
        network,
        times,
        machine,
        result,
        target,
        stacks,
    ),
)
FUNCTIONS: dict[str, Function] = {row.name: row for topic in _TOPICS for row in topic.ROWS}
_KERNEL = "it works on the kernel's own data"
# Names of the language that have no row, each with what to use instead.
NOT_SERVED = {
    "skboutput": f"{_KERNEL}: trace send(), write() or SSL_write() and print buf()",
    "socket_cookie": f"{_KERNEL}: use the descriptor as the key",
    "path": f"{_KERNEL}: use the path that the call was given: str(arg0)",
    "kaddr": f"{_KERNEL}: uaddr() gives addresses of the traced program",
    "percpu_kaddr": f"{_KERNEL}: uaddr() gives addresses of the traced program",
}
AGGREGATES: dict[str, Aggregation] = {row.name: row for row in aggregates.ROWS}
