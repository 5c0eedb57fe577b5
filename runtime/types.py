"""Names for the bare integers and the few enumerations that cross rooms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

Address = NewType("Address", int)  # virtual address in one process
FileOffset = NewType("FileOffset", int)  # bytes from the start of a file


class ContextKind(Enum):
    """What a program's first argument points to; layouts are in `runtime/ebpf/context.py`."""

    UPROBE = "uprobe"
    URETPROBE = "uretprobe"
    USDT = "usdt"
    SYS_ENTER = "sys_enter"
    SYS_EXIT = "sys_exit"
    RAW_SYS_ENTER = "raw_sys_enter"
    RAW_SYS_EXIT = "raw_sys_exit"
    KSYSCALL = "ksyscall"
    PERF_EVENT = "perf_event"
    TIMER = "timer"  # BEGIN, END, interval: no context, runs in the tracer
    MEMORY = "memory"  # `run`: r1 = address, r2 = length
    CUDA = "cuda"  # each thread of a kernel when it starts
    CUDA_RETURN = "cudaret"
    CUDA_MEMORY = "cudamem"


DEVICE_KINDS = frozenset((ContextKind.CUDA, ContextKind.CUDA_RETURN, ContextKind.CUDA_MEMORY))


@dataclass(frozen=True, slots=True)
class Location:
    """What lies at an address of a process: function (maybe none), offset in it, file and place in that."""

    name: str
    offset: int
    path: str
    build_id: str = ""
    file_offset: int = 0


RECORD_HEAD = 8  # bytes in a ring before the payload of a record


@dataclass(frozen=True, slots=True)
class Run:
    """Ring records that look alike: `count` in `data`, the first at `start`, each `stride` bytes with head.

    `size`: bytes of a payload, which begins `RECORD_HEAD` bytes behind its record's start.
    """

    data: bytes
    start: int
    count: int
    stride: int
    size: int

    def payloads(self) -> list[bytes]:
        """Give the payloads one by one."""
        first = self.start + RECORD_HEAD
        places = range(first, first + self.count * self.stride, self.stride)
        return [self.data[at : at + self.size] for at in places]
