"""When the device is done with launches, and how long it took: two events around each, asked for later.

Such a launch costs a conversation with the tracer, some tenth of a millisecond: it is for kernels that a
pattern names. In a stream that is captured into a graph nothing is timed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from attachers.cuda.calls import MAIN, MUST, Call, Entered, Steps
from attachers.cuda.contexts import Scratch
from attachers.cuda.launches import Launches
from attachers.cuda.memory import DeviceMemory
from attachers.cuda.names import any_matches
from runtime.agent import protocol

ARGUMENTS = 11  # of cuLaunchKernel; other launches have fewer
STREAM, CONFIG_STREAM, PER_THREAD = 8, 32, 2  # argument, offset in a CUlaunchConfig, CU_STREAM_PER_THREAD
BATCH = 6  # launches that are asked for at once
DURATION = protocol.CUDA_LAUNCH.fields["duration"].offset


@dataclass(frozen=True, slots=True)
class Timed:
    """A launch under way: its context, its two events, the programs that want its end, what they get."""

    context: int
    events: tuple[int, int]
    probes: tuple[int, ...]
    launch: bytes


@dataclass
class Timing:
    """The launches of one process whose ends are wanted."""

    launches: Launches
    pending: list[Timed] = field(default_factory=list)
    done: list[tuple[int, bytes]] = field(default_factory=list)

    def launch(self, entered: Entered, memory: DeviceMemory, scratch: Scratch) -> Steps:
        """Launch between two events."""
        given = entered.all_arguments(ARGUMENTS)
        is_config = bool(entered.which & protocol.CUDA_HANDLE)
        stream = memory.memory.u64(given[0] + CONFIG_STREAM) if is_config else given[STREAM]
        if not stream and self.launches.names.get(entered.function, "").endswith("_ptsz"):
            stream = PER_THREAD
        cells, call = [scratch.room() for _ in range(4)], memory.call
        done = yield [
            call("capturing", stream, cells[0]),
            call("context", cells[1], flags=MUST),
            call("event", cells[2], 0, flags=MUST),
            call("event", cells[3], 0, flags=MUST),
        ]
        if any(done) or scratch.u32(cells[0]):
            return
        events = scratch.u64(cells[2]), scratch.u64(cells[3])
        done = yield [
            call("record", events[0], stream, flags=MUST),
            Call(entered.function, given, MAIN | MUST),
            call("record", events[1], stream),
        ]
        if any(done):
            yield [call("destroy_event", event) for event in events]
            return
        name = self.launches.name_of(given[1 if is_config else 0])
        wanted = tuple(
            bit
            for bit, probe in enumerate(self.launches.probes)
            if probe.image is None and any_matches(probe.kernels, name)
        )
        numbers = stream, self.launches.number_of(name), entered.value
        launch = _described(given, memory, is_config=is_config) + struct.pack("<4Q", *numbers, 0)
        self.pending.append(Timed(scratch.u64(cells[1]), events, wanted, launch))

    def ask(self, memory: DeviceMemory, scratch: Scratch) -> Steps:
        """Find out which launches are done; they are put into `done` with the programs that want them."""
        batch, call = self.pending[:BATCH], memory.call
        cell = scratch.room()
        for one in batch:
            done = yield [
                call("push", one.context, flags=MUST),
                call("query", one.events[1]),
                call("elapsed", cell, *one.events),
                call("pop", scratch.at),
            ]
            if done[0] == 0 and done[1] != 0:
                continue  # it is not done yet
            self.pending.remove(one)
            if any(done):
                continue
            raw = memory.memory.read(cell, 4)
            taken = int(struct.unpack("<f", raw)[0] * 1e6) if len(raw) == 4 else 0
            yield [call("destroy_event", event) for event in one.events]
            context = one.launch[:DURATION] + struct.pack("<Q", max(0, taken))
            self.done += [(bit, context) for bit in one.probes]

    def take(self) -> list[tuple[int, bytes]]:
        """Return launches that are done since: number of the program, and its context."""
        found, self.done = self.done, []
        return found


def _described(given: tuple[int, ...], memory: DeviceMemory, *, is_config: bool) -> bytes:
    """Return the sizes of what is launched, as `struct cuda_launch` begins."""
    if is_config:
        sizes = struct.unpack("<7I", memory.memory.read(given[0], 28).ljust(28, b"\0"))
    else:
        sizes = tuple(value & 0xFFFFFFFF for value in given[1:8])
    return struct.pack("<7Q", *sizes)
