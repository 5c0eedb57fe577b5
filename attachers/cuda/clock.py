"""How far a device's clock is from the host's: a small kernel writes it down, between two looks at ours.

`%globaltimer` counts nanoseconds since a time of the device's own choice, in steps of up to a microsecond. Of
several tries the one counts in which least time passed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from attachers.cuda.calls import MUST, Call, Steps
from attachers.cuda.contexts import Context, Scratch

if TYPE_CHECKING:
    from attachers.cuda.memory import DeviceMemory

NAME = b"bpftime_clock\0"
TEXT = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry bpftime_clock(.param .u64 where)
{
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [where];
    mov.u64 %rd2, %globaltimer;
    st.global.u64 [%rd1], %rd2;
    ret;
}
\0"""
TRIES = 8
ROOM = 256  # bytes of a context's memory
SYS_CLOCK_GETTIME, BOOTTIME = 228, 7  # what `nsecs` is on the host


def calibrate(memory: DeviceMemory, context: Context, scratch: Scratch, cell: int) -> Steps:
    """Set the offset of a context's clock, which else stays 0; `cell`: 8 bytes of its memory."""
    call = memory.call
    at, function = scratch.room(), scratch.room()
    load = Call(memory.functions["cuModuleLoadData"], (at, scratch.put(TEXT)), MUST)
    if any((yield [load])):
        return
    module = scratch.u64(at)
    if any((yield [call("function", function, module, scratch.put(NAME))])):
        return
    where = scratch.put(struct.pack("<Q", cell))
    times, found = [scratch.room(16), scratch.room(16)], scratch.room()
    launch = (
        scratch.u64(function),
        1,
        1,
        1,
        1,
        1,
        1,
        0,
        context.stream,
        scratch.put(struct.pack("<Q", where)),
        0,
    )
    best = 1 << 62
    for _ in range(TRIES):
        done = yield [
            Call(0, (SYS_CLOCK_GETTIME, BOOTTIME, times[0])),
            call("launch", *launch, flags=MUST),
            call("wait", context.stream, flags=MUST),
            Call(0, (SYS_CLOCK_GETTIME, BOOTTIME, times[1])),
            call("read", found, cell, 8, context.stream),
            call("wait", context.stream),
        ]
        if any(done):
            break
        before, after = (_nanoseconds(memory, time) for time in times)
        if after - before < best:
            best, context.clock = after - before, (before + after) // 2 - scratch.u64(found)
    yield [call("unload", module)]


def _nanoseconds(memory: DeviceMemory, at: int) -> int:
    seconds, rest = struct.unpack("<QQ", memory.memory.read(at, 16))
    return int(seconds * 10**9 + rest)
