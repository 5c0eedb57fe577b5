"""The thread in the target that makes calls for us while none of the program's own is in a hook.

It comes from the program's own pthread_create, called by a thread inside a hook; it blocks all signals and
waits on a word in the session's region. The calls lie in private memory of the process.
"""

from __future__ import annotations

import ctypes
import struct
import time

from attachers.cuda.calls import MUST, Call, Steps, alone, read_results, take_memory, write_calls
from attachers.cuda.contexts import SCRATCH, Scratch
from attachers.target import Target
from runtime.agent import protocol
from runtime.agent.protocol import CudaTurn
from runtime.errors import TargetProblem
from runtime.shm.session import Session

FUTEX, WAKE = 202, 1
LIMIT = 2.0  # seconds for one list of calls
NAP = 0.0002
ROOM = protocol.CUDA_SERVICE.size + SCRATCH
FRAME = protocol.CUDA_SERVICE.fields["frame"].offset


class Service:
    """One such thread of one process. `word`: the offset in the region of whose turn it is."""

    def __init__(self, target: Target, session: Session) -> None:
        self._target, self._session = target, session
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._at = 0
        self._word = 0
        self._busy: set[object] = set()

    @property
    def runs(self) -> bool:
        """Return whether the thread was started."""
        return self._at != 0

    def start(self, scratch: Scratch, functions: tuple[int, int]) -> Steps:
        """Start it. `functions`: addresses of pthread_create and pthread_detach in the process."""
        if not self.runs:
            yield from alone(self._busy, "start", self._start(scratch, functions))

    def _start(self, scratch: Scratch, functions: tuple[int, int]) -> Steps:
        create, detach = functions
        if self.runs or not create:
            return
        [at] = yield [take_memory(ROOM)]
        if at < 0:
            return
        self._word = self._word or self._session.region.allocate(64)
        self._turn(CudaTurn.IDLE)
        region = self._target.map_session(self._session)
        self._target.memory.write(at, struct.pack("<QQ", region, region + self._word))
        thread = scratch.room()
        entry = self._target.resolve(self._session, "agent:cuda_serve")
        [failed] = yield [Call(create, (thread, 0, entry, at), MUST)]
        if not failed:
            self._at = at
            if detach:
                yield [Call(detach, (scratch.u64(thread),))]

    def run(self, steps: Steps) -> bool:
        """Let the thread make the calls of a conversation; returns whether it did."""
        results: list[int] | None = None
        while True:
            try:
                calls = next(steps) if results is None else steps.send(results)
            except StopIteration:
                return True
            if not self._make(calls):
                steps.close()
                return False
            results = read_results(self._target.memory, self._at + FRAME, calls)

    def scratch(self) -> Scratch:
        """Return memory for what the calls point to."""
        return Scratch(self._target.memory, self._at + protocol.CUDA_SERVICE.size)

    def _make(self, calls: object) -> bool:
        if not self.runs or not isinstance(calls, list | tuple) or self._is_busy():
            return False
        try:
            write_calls(self._target.memory, self._at + FRAME, calls)
        except TargetProblem:
            return False
        self._turn(CudaTurn.CALL)
        return self._wait_for(CudaTurn.DONE, CudaTurn.ENDED) == CudaTurn.DONE

    def _is_busy(self) -> bool:
        """Return whether the thread is still making calls that took longer than we wait."""
        return self._now() == CudaTurn.CALL

    def stop(self) -> None:
        """End the thread; behind this it touches nothing of the session."""
        if self.runs:
            self._turn(CudaTurn.END)
            self._wait_for(CudaTurn.ENDED)
            self._at = 0

    def _wait_for(self, *turns: CudaTurn) -> int:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            now = self._now()
            if now in turns:
                return now
            if not self._target.is_alive:
                break
            time.sleep(NAP)
        return -1

    def _now(self) -> int:
        return int.from_bytes(self._session.region.buffer[self._word : self._word + 4], "little")

    def _turn(self, turn: CudaTurn) -> None:
        buffer = self._session.region.buffer
        buffer[self._word : self._word + 4] = int(turn).to_bytes(4, "little")
        word = ctypes.c_uint32.from_buffer(buffer, self._word)
        self._libc.syscall(FUTEX, ctypes.byref(word), WAKE, 1, None, None, 0)
