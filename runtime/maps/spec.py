"""What a map is, before it has an address: the shape that objects, scripts and the compiler agree on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class MapKind(IntEnum):
    """Map types by their kernel numbers (linux/bpf.h `enum bpf_map_type`)."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    RINGBUF = 27


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map: sizes in bytes, `kind` a kernel map type number.

    `added_only`: values are only ever added to with atomic adds (script aggregations), so the map has
    one block of values a CPU and one shared block ("cells"), summed when read.
    `thread_keyed`: a HASH whose every key in every program is the thread's id, so it has one entry a thread.
    `initial`: bytes of entry 0 (data sections); None is all zero. `key_type`/`value_type`: BTF ids, 0 none.
    """

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    extra: int = 0
    key_type: int = 0
    value_type: int = 0
    pin: bool = False
    initial: bytes | None = None
    inner: MapSpec | None = None
    added_only: bool = False
    thread_keyed: bool = False
