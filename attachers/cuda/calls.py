"""Calls that a thread of the target makes for us, and the conversation in which it is told of them.

A thread that is inside one of our hooks (`runtime/agent/cuda.c`) waits at the desk with a frame on its stack.
What is to be done is written as a generator: it yields lists of calls, gets back their results and ends when
the thread may go on. Nothing waits here: while one thread is in the driver, others are served.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from runtime.agent import protocol
from runtime.symbols.maps import Memory

MAIN, MUST = protocol.CUDA_MAIN, protocol.CUDA_MUST
SYS_MMAP, SYS_MUNMAP = 9, 11
READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22
PAGE = 4096
NOT_MADE = -(1 << 62)  # result of a call that was not made since one before it failed
FRAME_CALLS = protocol.CUDA_FRAME.fields["calls"].offset


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `function` is an address in the target, 0 for the system call `arguments[0]`.

    `flags`: MAIN is the hooked function itself, MUST ends the list where it fails.
    """

    function: int
    arguments: tuple[int, ...]
    flags: int = 0

    def pack(self) -> bytes:
        """Return the call as the agent reads it."""
        words = b"".join((a & (1 << 64) - 1).to_bytes(8, "little") for a in self.arguments)
        return protocol.CUDA_CALL.pack(function=self.function, flags=self.flags, arguments=words)


Steps = Generator[Sequence[Call], list[int], None]
"""What happens in one conversation: gives lists of calls, takes their results."""


NOTHING = Call(0, (39,))  # getpid(2)


def alone(busy: set[object], key: object, steps: Steps) -> Steps:
    """Do something that no two threads of a process are to do at once; who comes meanwhile waits.

    `busy`: what is being done. `steps` begin when their turn has come: what they ask of is known by then.
    """
    while key in busy:
        yield [NOTHING]
    busy.add(key)
    try:
        yield from steps
    finally:
        busy.discard(key)


def take_memory(size: int) -> Call:
    """Return the call that maps fresh memory of at least `size` bytes."""
    return Call(
        0, (SYS_MMAP, 0, (size + PAGE - 1) & -PAGE, READ_WRITE, PRIVATE_ANONYMOUS, (1 << 64) - 1, 0), MUST
    )


def give_memory(address: int, size: int) -> Call:
    """Return the call that unmaps what `take_memory` has mapped."""
    return Call(0, (SYS_MUNMAP, address, (size + PAGE - 1) & -PAGE))


def write_calls(memory: Memory, frame: int, calls: Sequence[Call]) -> None:
    """Write calls into the frame at an address of the target.

    Raises:
        TargetProblem: the process is gone.
    """
    assert len(calls) <= protocol.CUDA_CALLS
    memory.write(frame + FRAME_CALLS, b"".join(call.pack() for call in calls))
    count = protocol.CUDA_FRAME.fields["count"].offset
    memory.write(frame + count, len(calls).to_bytes(4, "little") + bytes(4))


def read_results(memory: Memory, frame: int, calls: Sequence[Call]) -> list[int]:
    """Return the results of calls that a frame held: a CUresult, or the system's word, or NOT_MADE."""
    raw = memory.read(frame, protocol.CUDA_FRAME.size)
    if len(raw) < protocol.CUDA_FRAME.size:
        return [NOT_MADE] * len(calls)
    done = protocol.CUDA_FRAME.get(raw, "done")
    size = protocol.CUDA_CALL.size
    return [
        protocol.CUDA_CALL.get(raw, "result", FRAME_CALLS + i * size) if i < done else NOT_MADE
        for i in range(len(calls))
    ]


@dataclass(slots=True)
class Entered:
    """A thread in a hook: which one, its argument registers, its stack pointer at the entry."""

    memory: Memory
    frame: int
    which: int
    arguments: tuple[int, ...]
    stack: int
    function: int
    value: int = 0

    @classmethod
    def read(cls, memory: Memory, frame: int) -> Entered | None:
        """Read what a thread has said; None where it is no frame (any more)."""
        raw = memory.read(frame, 32)
        if len(raw) < 32:
            return None
        at, words, which = (protocol.CUDA_FRAME.get(raw, name) for name in ("arguments", "words", "which"))
        registers, own = memory.read(at, 48), memory.read(words, 32)
        if len(registers) < 48 or len(own) < 32:
            return None
        given = tuple(int.from_bytes(registers[i : i + 8], "little") for i in range(0, 48, 8))
        value, stack, function = (int.from_bytes(own[i : i + 8], "little") for i in (8, 16, 24))
        return cls(memory, frame, which & ~protocol.CUDA_ANY, given, stack, function, value)

    def all_arguments(self, count: int) -> tuple[int, ...]:
        """Return `count` arguments: those behind the sixth lie above the return address."""
        more = range(self.stack + 8, self.stack + 8 * (1 + max(0, count - 6)), 8)
        return (self.arguments + tuple(self.memory.u64(at) for at in more))[:count]


class Conversations:
    """The conversations of one process that are under way, by their places at the desk.

    `waits`: whether the thread at a place waits still. Its frame is not written to once it has gone on.
    """

    def __init__(self, memory: Memory, waits: Callable[[int], bool]) -> None:
        self.memory, self._waits = memory, waits
        self._open: dict[int, tuple[int, Steps, Sequence[Call]]] = {}

    def is_known(self, place: int, frame: int) -> bool:
        """Return whether the thread at a place goes on with a conversation."""
        return place in self._open and self._open[place][0] == frame

    def begin(self, place: int, frame: int, steps: Steps) -> None:
        """Begin one; its first calls are written."""
        self._open.pop(place, None)
        self._step(place, frame, steps, None)

    def go_on(self, place: int) -> None:
        """Hand the results of the calls over that were asked for last."""
        frame, steps, calls = self._open.pop(place)
        self._step(place, frame, steps, read_results(self.memory, frame, calls))

    def _step(self, place: int, frame: int, steps: Steps, results: list[int] | None) -> None:
        try:
            calls = next(steps) if results is None else steps.send(results)
        except StopIteration:
            return
        if not self._waits(place):
            steps.close()
            return
        write_calls(self.memory, frame, calls)
        self._open[place] = (frame, steps, calls)
