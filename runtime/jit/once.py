"""Run programs on given memory: one, or thousands, in child processes that may crash.

Each worker verifies, compiles and calls programs one after the other. A program that kills or blocks its
worker costs that worker; the programs behind it go to a new one. Results come in the order of the programs.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import queue
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import Bug, Problem
from runtime.jit import local
from runtime.jit.compile import compile_program
from runtime.jit.unit import Build
from runtime.maps.layout import possible_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection

    from runtime.ebpf.object import Program
    from runtime.jit.image import Image
    from runtime.jit.sandbox import Sandbox
    from runtime.maps.spec import MapSpec

WINDOW = 16  # programs sent to a worker ahead of its answers
TIMEOUT = 10.0  # seconds for one program, verification included
MAX_WORKERS = 8
POLL = 0.5  # seconds between looks at deadlines


@dataclass(frozen=True, slots=True)
class Run:
    """One program to run: `memory` is what r1 points to (r1 is 0 where it is empty), r2 is its length."""

    name: str
    program: Program
    memory: bytes = b""
    maps: tuple[MapSpec, ...] = ()
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """`r0` after the last call, `ns` a call, or why there is none in `error`. `memory` as it was left."""

    name: str
    r0: int = 0
    ns: float = 0.0
    error: str = ""
    memory: bytes = b""


def run_once(run: Run, *, timeout: float = TIMEOUT) -> Outcome:
    """Run one program in a child process.

    Raises:
        Problem: the program was refused, crashed, or did not end in time.
    """
    outcome = next(iter(run_batch([run], workers=1, timeout=timeout)))
    if outcome.error:
        raise Problem(outcome.error)
    return outcome


def run_batch(
    runs: Iterable[Run | Outcome], *, workers: int = 0, timeout: float = TIMEOUT
) -> Iterator[Outcome]:
    """Run programs in a pool of child processes; give their outcomes in order, each as soon as it may be.

    An `Outcome` among the runs is handed on in its place (a line that could not be parsed).
    """
    count = workers or min(len(os.sched_getaffinity(0)), MAX_WORKERS)
    pool = _Pool(count, timeout)
    try:
        yield from pool.run(runs)
    finally:
        pool.close()


def execute(run: Run) -> Outcome:
    """Verify, compile and call a program in this process.

    Raises:
        Problem: it is refused.
    """
    from runtime.verify.check import verify  # lazy: only workers need it

    specs = {spec.name: spec for spec in run.maps}
    verified = verify(run.program, specs)
    agent = local.agent()
    build = Build(agent.build_kind, possible_cpus(), "vdso", cheap=run.repeat < 1000)
    image = compile_program(verified, specs, build, returns=True)
    return _call(run, image)


def _call(run: Run, image: Image) -> Outcome:
    program, sandbox = _linked(run, image)
    memory = ctypes.create_string_buffer(run.memory, len(run.memory)) if run.memory else None
    arguments = (ctypes.addressof(memory), len(run.memory)) if memory is not None else (0, 0)
    if run.repeat > 1:
        r0, ns = program.repeat(run.repeat, *arguments)
    else:
        start = time.perf_counter_ns()
        r0 = program(*arguments)
        ns = float(time.perf_counter_ns() - start)
    if sandbox and sandbox.region.get("cut_runs"):
        raise Problem(f"a loop ran more than {Build().fuel} times and was ended")
    return Outcome(run.name, r0, ns, memory=memory.raw if memory is not None else b"")


def _linked(run: Run, image: Image) -> tuple[local.LocalProgram, Sandbox | None]:
    """Return the linked program, and what must live as long as it runs: the memory of its maps."""
    if not run.maps and not any(r.symbol == "region" for r in image.relocations):
        return local.LocalProgram(image, {}), None
    from runtime.jit import sandbox  # lazy: most programs of a batch have no maps

    held = sandbox.Sandbox(run.maps, possible_cpus())
    return held.program(image), held


def _serve(connection: Connection) -> None:
    """Answer runs until the parent closes its end."""
    local.agent().refresh()
    while True:
        try:
            number, run = connection.recv()
        except (EOFError, OSError):
            return
        try:
            outcome = execute(run)
        except (Problem, Bug) as problem:
            outcome = Outcome(run.name, error=str(problem))
        except MemoryError:
            outcome = Outcome(run.name, error="not enough memory")
        except RecursionError:
            outcome = Outcome(run.name, error="program is nested too deeply")
        connection.send((number, outcome))


@dataclass(slots=True)
class _Worker:
    pid: int
    connection: Connection
    waiting: deque[tuple[int, Run]] = field(default_factory=deque)
    since: float = 0.0


def _start() -> _Worker:
    import multiprocessing  # lazy: 15 ms
    import resource

    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid:
        theirs.close()
        return _Worker(pid, ours)
    try:
        ours.close()
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _serve(theirs)
    finally:
        os._exit(0)


class _Pool:
    def __init__(self, count: int, timeout: float) -> None:
        local.agent()
        self.timeout = timeout
        self.workers = [_start() for _ in range(count)]
        self.done: dict[int, Outcome] = {}
        self.input: queue.Queue[Run | Outcome | None] = queue.Queue(WINDOW * count)
        self.wake_read, self.wake_write = os.pipe()
        self.next, self.ended = 0, False

    def _feed(self, runs: Iterable[Run | Outcome]) -> None:
        """Read the input in a thread: it may wait for somebody who waits for our answers."""
        try:
            for run in runs:
                self.input.put(run)
                os.write(self.wake_write, b"x")
        except Problem as problem:
            self.input.put(Outcome("", error=str(problem)))
        finally:
            self.input.put(None)
            os.write(self.wake_write, b"x")

    def run(self, runs: Iterable[Run | Outcome]) -> Iterator[Outcome]:
        from multiprocessing.connection import wait  # lazy: 15 ms

        threading.Thread(target=self._feed, args=(runs,), daemon=True).start()
        shown = 0
        while not self.ended or shown < self.next:
            self._submit()
            while shown in self.done:
                yield self.done.pop(shown)
                shown += 1
            if self.ended and shown == self.next:
                return
            readable = wait([self.wake_read, *(worker.connection for worker in self.workers)], POLL)
            if self.wake_read in readable:
                os.read(self.wake_read, 4096)
            for worker in [worker for worker in self.workers if worker.connection in readable]:
                self._receive(worker)
            self._expire()

    def _submit(self) -> None:
        while not self.ended:
            worker = min(self.workers, key=lambda w: len(w.waiting))
            if len(worker.waiting) >= WINDOW:
                return
            try:
                run = self.input.get_nowait()
            except queue.Empty:
                return
            if run is None:
                self.ended = True
            elif isinstance(run, Outcome):
                self.done[self.next] = run
                self.next += 1
            else:
                self._send(worker, self.next, run)
                self.next += 1

    def _send(self, worker: _Worker, number: int, run: Run) -> None:
        if not worker.waiting:
            worker.since = time.monotonic()
        worker.waiting.append((number, run))
        try:
            worker.connection.send((number, run))
        except OSError:
            return  # it has died: what it was given is sorted out when its end is noticed

    def _receive(self, worker: _Worker) -> None:
        try:
            number, outcome = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker, "")
            return
        worker.waiting.popleft()
        worker.since = time.monotonic()
        self.done[number] = outcome

    def _expire(self) -> None:
        for worker in list(self.workers):
            if worker.waiting and time.monotonic() - worker.since > self.timeout:
                os.kill(worker.pid, signal.SIGKILL)
                self._bury(worker, f"did not end within {self.timeout:g} s")

    def _bury(self, worker: _Worker, reason: str) -> None:
        """Replace a worker that has died; the first program it had not answered is the one that did it."""
        _, status = os.waitpid(worker.pid, 0)
        worker.connection.close()
        self.workers.remove(worker)
        fresh = _start()
        self.workers.append(fresh)
        if worker.waiting:
            number, run = worker.waiting.popleft()
            died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            name = signal.Signals(died).name if died else f"status {os.waitstatus_to_exitcode(status)}"
            self.done[number] = Outcome(run.name, error=reason or f"the program crashed ({name})")
        for number, run in worker.waiting:
            self._send(fresh, number, run)

    def close(self) -> None:
        for worker in self.workers:
            worker.connection.close()
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
        os.close(self.wake_read)
