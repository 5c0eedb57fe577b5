"""A visit: one thread of the target is borrowed, serves our frames, and goes on; only mappings stay."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from attachers.inject import handover, loader
from attachers.inject.borrow import Borrowed, borrow
from attachers.inject.frames import Hello, Reply, Request, batches, decode, encode
from attachers.inject.ptrace import Tracee
from runtime.agent import build, protocol
from runtime.errors import TargetProblem
from runtime.shm.region import process_start
from runtime.symbols.maps import Memory, find_mapping, read_maps

MADVISE, MADV_DONTNEED = 28, 4
KEPT_INBOX = 16 << 10  # bytes of frames whose memory may stay in the target between visits


def find_state(pid: int) -> int:
    """Return the address of the agent's state in a process, 0 when it carries none."""
    return find_mapping(pid, f"memfd:{protocol.STATE_NAME}")


class Visitor:
    """The channel to a running process by ptrace. Each exchange is one visit of about half a millisecond.

    `tid`: the thread that waits for us, to be borrowed; 0 for any. `held`: one that we have stopped already
    and that stays so until `let_go`.
    """

    def __init__(self, pid: int, tid: int = 0, held: Tracee | None = None) -> None:
        self.pid = pid
        self.tid = tid
        self.start = process_start(pid)
        self._memory: Memory | None = None
        self._held = Borrowed(held, self.memory) if held else None

    @property
    def memory(self) -> Memory:
        """Return the process's memory, opened at first use."""
        if self._memory is None:
            self._memory = Memory(self.pid)
        return self._memory

    def exchange(self, requests: list[Request], *, lockless: bool = False) -> list[Reply]:
        """Send requests in order, return a reply for each.

        `lockless`: they call functions that take locks, so the thread must hold none: one that waits in a
        system call, but for no other thread.

        Raises:
            TargetProblem: the process cannot be stopped, has ended, or answers nonsense.
        """
        if process_start(self.pid) != self.start:
            raise TargetProblem(f"process {self.pid} ended while attaching")
        with _Lock(self.pid):
            thread = self._borrow(lockless=lockless)
            try:
                return self._serve(thread, requests)
            finally:
                self._give_back(thread)

    def _borrow(self, *, lockless: bool = False) -> Borrowed:
        if self._held:
            return self._held
        self._hand_over(on=False)
        return borrow(self.pid, self.memory, lockless=lockless, tid=self.tid)

    def _give_back(self, thread: Borrowed) -> None:
        if thread is not self._held:
            _release(thread)
            self._hand_over(on=True)

    def _hand_over(self, *, on: bool) -> None:
        """Have system calls handed over or not, where they are at all: those of a visit must not be."""
        state = find_state(self.pid)
        at = state + protocol.STATE_HOOKS
        hooks = self.memory.read(at, protocol.HOOKS.size) if state else b""
        if not hooks or not protocol.HOOKS.get(hooks, "dispatches"):
            return
        self.memory.write(at + protocol.HOOKS.fields["paused"].offset, int(not on).to_bytes(4, "little"))
        rows, row = protocol.HOOKS.get(hooks, "rows"), protocol.DISPATCH_ROW
        table = self.memory.read(rows, protocol.DISPATCH_ROWS * row.size)
        for place in range(0, len(table), row.size):
            if row.get(table, "thread", place):
                self.memory.write(rows + place + row.fields["selector"].offset, bytes([on]))

    @property
    def is_holding(self) -> bool:
        """Return whether a thread is held."""
        return self._held is not None

    @property
    def stands_at(self) -> int:
        """Return where the thread that is held goes on; the next instruction of it, as it was found."""
        return self._held.saved["rip"] if self._held is not None else 0

    @property
    def held_tid(self) -> int:
        """Return the thread that is held, 0 for none."""
        return self._held.tracee.tid if self._held is not None else 0

    def hold(self) -> None:
        """Stop the thread that is to be borrowed, for several exchanges, until `let_go`.

        Raises:
            TargetProblem: it cannot be stopped.
        """
        if self._held is None:
            self._held = self._borrow()

    def let_go(self) -> None:
        """Let a thread that was held run on; from now on any thread is borrowed."""
        held, self._held, self.tid = self._held, None, 0
        if held is not None:
            _release(held)
            self._hand_over(on=True)

    def exchange_with(self, fd: int, requests: Callable[[int], list[Request]]) -> list[Reply]:
        """Hand a descriptor of ours to the process for the time of one visit.

        `requests` makes the frames from its number there. For what the process may not open by itself: the
        memory of another user's session, or one in another mount namespace.

        Raises:
            TargetProblem: the process cannot be stopped or takes no descriptor.
        """
        with _Lock(self.pid):
            thread = self._borrow()
            try:
                _, landing = self._arrive(thread)
                number = handover.give(thread, self.memory, landing.inbox, fd)
                try:
                    return self._serve(thread, requests(number))
                finally:
                    thread.syscall(handover.CLOSE, number)
            finally:
                self._give_back(thread)

    def _serve(self, thread: Borrowed, requests: list[Request]) -> list[Reply]:
        serve, landing = self._arrive(thread)
        replies: list[Reply] = []
        most = 0
        for batch in batches(requests):
            data = encode(batch)
            self.memory.write(landing.inbox, data)
            size = thread.call(serve, landing.inbox, len(data))
            if size < 0:
                raise TargetProblem(f"the agent could not start in {self.pid} (errno {-size})")
            answer = self.memory.read(landing.inbox + protocol.INBOX_BYTES // 2, size)
            replies += decode(answer, batch)
            most = max(most, len(data), size)
        if most > KEPT_INBOX:
            thread.syscall(MADVISE, landing.inbox, protocol.INBOX_BYTES, MADV_DONTNEED)
        return replies

    def _arrive(self, thread: Borrowed) -> tuple[int, loader.Landing]:
        """Return the address of the agent's visit function and the landing, made where they are missing."""
        state = find_state(self.pid)
        head = self.memory.read(state, protocol.STATE.size) if state else b""
        known = loader.find_landing(head) if head else None
        if known:
            thread.use_landing(known.at, known.stack)
            return protocol.STATE.get(head, "serve"), known
        landing = loader.make_landing(thread, self.memory, read_maps(self.pid))
        serve = protocol.STATE.get(head, "serve") if head else 0
        if not serve:
            serve = loader.load_agent(thread, self.memory) + build.symbols()["agent_visit"]
        self._introduce(thread, landing, serve)
        return serve, landing

    def _introduce(self, thread: Borrowed, landing: loader.Landing, serve: int) -> None:
        facts = target_facts(self.pid, self.memory, self.start)
        greeting = replace(facts, landing=landing.at, inbox=landing.inbox)
        data = encode([greeting.request()])
        self.memory.write(landing.inbox, data)
        status = thread.call(serve, landing.inbox, len(data))
        if status < 0:
            raise TargetProblem(f"the agent could not start in {self.pid} (errno {-status})")

    def close(self) -> None:
        """Close the memory descriptor; nothing of the channel stays in the target."""
        self.let_go()
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _release(thread: Borrowed) -> None:
    """Let the thread go; it may have ended while we held it."""
    try:
        thread.release()
    except (OSError, TargetProblem):
        return


class _Lock:
    """One tracer at a time uses a process's landing: a lock on its /proc folder, freed when a tracer dies."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = -1

    def __enter__(self) -> None:
        try:
            self.fd = os.open(f"/proc/{self.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except OSError:
            raise TargetProblem(
                f"no process {self.pid}", hint="bpftime list --processes shows yours"
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def target_facts(pid: int, memory: Memory, start: int) -> Hello:
    """Return what only the tracer can find out: where struct rseq lies from fs base, the vDSO, the start.

    glibc exports `__rseq_offset` and `__rseq_size` from its loader (glibc manual, Restartable Sequences).
    """
    from runtime.symbols.elf import ElfFile
    from runtime.symbols.modules import modules_of

    rseq = vdso = 0
    for mapping in read_maps(pid):
        if mapping.path == "[vdso]":
            vdso = mapping.start
    for module in modules_of(pid):
        if not module.path.rpartition("/")[2].startswith("ld-linux"):
            continue
        symbols = {
            s.name: s.value for s in ElfFile(module.readable).symbols() if s.name.startswith("__rseq_")
        }
        if (
            "__rseq_offset" in symbols
            and memory.u64(module.bias + symbols.get("__rseq_size", 0)) & 0xFFFFFFFF
        ):
            raw = memory.read(module.bias + symbols["__rseq_offset"], 8)
            rseq = int.from_bytes(raw, "little", signed=True)
    return Hello(start=start, rseq_offset=rseq, vdso=vdso)
