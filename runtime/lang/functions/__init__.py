"""The functions of the language: one row each, one file a topic.

A new function is a row in its topic's file: `check` types the call, `lower` computes a word in r0 or has an
effect, `fill` writes a value that is no word to memory.
"""

from __future__ import annotations

from runtime.lang.functions import aggregates, control, data, maps, output, result, stacks
from runtime.lang.functions.row import Aggregation, Function

_TOPICS = (output, control, maps, data, result, stacks)
FUNCTIONS: dict[str, Function] = {row.name: row for topic in _TOPICS for row in topic.ROWS}
# Names of the language that have no row: what a message says instead of "unknown".
NOT_SERVED = frozenset(
    ("assert", "cat", "cgroup_path", "cgroupid", "container_of", "debugf", "dw_ustack", "find",
    "join", "kaddr", "kfunc_allowed", "kfunc_exist", "kstack", "ksym", "len", "macaddr",
    "memcmp", "path", "percpu_kaddr", "pton", "signal", "signal_name", "signal_thread",
    "skboutput", "socket_cookie", "strcap", "str_concat", "strcontains", "strerror", "strstr",
    "syscall_name", "system", "uaddr", "unwatch", "write_user")
)  # fmt: skip
AGGREGATES: dict[str, Aggregation] = {row.name: row for row in aggregates.ROWS}
