"""Device memory of one process: our maps in each of its contexts, the context constants, and their reading.

All maps of a context lie in one allocation, so that one copy reads them all. What is done are calls of a
thread that has the context (`calls.py`); addresses of functions come from `driver.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attachers.cuda.calls import MUST, NOT_MADE, NOTHING, Call, Steps, alone, give_memory, take_memory
from attachers.cuda.clock import ROOM as CLOCK_ROOM
from attachers.cuda.clock import calibrate
from attachers.cuda.contexts import Context, Scratch
from attachers.cuda.plan import PAGE, Plan, up
from attachers.target import Target
from runtime.errors import Problem
from runtime.nvptx.maps import Where
from runtime.shm.session import Session

CONSTANT = b"__bpftime_ctx\0"
CONSTANT_BYTES = 256
NON_BLOCKING, RELAXED, PORTABLE_MAPPED = 1, 2, 3  # of streams, stream capture, host registration (cuda.h)
MASK = (1 << 64) - 1


class DeviceMemory:
    """Our memory in all contexts of one process. `functions`: addresses by the names of `entries.CALLED`."""

    def __init__(
        self, target: Target, session: Session, functions: Mapping[str, int], plan: Plan, enabled: int
    ) -> None:
        self.memory, self.functions, self.plan, self.enabled = target.memory, functions, plan, enabled
        self._target, self._session = target, session
        self.contexts: list[Context] = []
        self._busy: set[object] = set()

    def call(self, name: str, *arguments: int, flags: int = 0) -> Call:
        """Return a call of one of the driver's functions; where it has none, one that fails."""
        at = self.functions[name]
        return Call(at, arguments, flags) if at else NOTHING

    def known(self, handle: int) -> Context | None:
        """Return the live context of a handle."""
        return next((c for c in self.contexts if c.handle == handle and c.is_alive), None)

    def enter(self, scratch: Scratch, result: list[Context]) -> Steps:
        """Find the thread's current context and give it its memory; it is put into `result`."""
        cell, device = scratch.room(), scratch.room()
        done = yield [self.call("context", cell, flags=MUST), self.call("context_device", device)]
        handle = scratch.u64(cell)
        if done[0] or not handle:
            return
        number = scratch.u32(device) if not done[1] else 0
        yield from alone(self._busy, handle, self._furnished(scratch, handle, number, result))

    def _furnished(self, scratch: Scratch, handle: int, device: int, result: list[Context]) -> Steps:
        found = self.known(handle)
        if found is None:
            found = Context(handle, device)
            yield from self._relaxed(scratch, self._furnish(scratch, found))
        if found.base or not self.plan.size:
            result.append(found)

    def _relaxed(self, scratch: Scratch, steps: Steps) -> Steps:
        """Do something that a thread may not do while it captures a graph."""
        mode = scratch.put(RELAXED.to_bytes(4, "little"))
        yield [self.call("capture", mode)]
        yield from steps
        yield [self.call("capture", mode)]

    def _furnish(self, scratch: Scratch, context: Context) -> Steps:
        plan, size = self.plan, max(self.plan.size, 1)
        stream, base = scratch.room(), scratch.room()
        done = yield [
            take_memory(size),
            self.call("stream", stream, NON_BLOCKING, flags=MUST),
            self.call("take", base, up(size) + CLOCK_ROOM, flags=MUST),
        ]
        if done[0] < 0 or any(done[1:]):
            yield [give_memory(done[0], size)] if done[0] > 0 else []
            return
        context.staging, context.stream, context.base = done[0], scratch.u64(stream), scratch.u64(base)
        yield from self._share(scratch, context)
        yield from self._show(scratch, context)
        if plan.clocked:
            yield from calibrate(self, context, scratch, context.base + up(size))
        content = plan.content()
        self.memory.write(context.staging, content)
        yield [
            self.call("write", context.base, context.staging, size, context.stream),
            self.call("wait", context.stream),
        ]
        context.copy = content
        self.contexts.append(context)

    def _share(self, scratch: Scratch, context: Context) -> Steps:
        """Let the device see a part of the session's region; without it there are no rings."""
        size = self.plan.shared
        if not size:
            return
        try:
            context.shared = self._session.region.allocate(size, PAGE)
        except Problem:
            return  # it is full: the records of this context are lost, and counted there
        for one in self.plan.placed:
            if one.initial and one.where is Where.PINNED:
                at = context.shared + self.plan.hosts()[one.index]
                self._session.region.buffer[at : at + len(one.initial)] = one.initial
        mapped, at = scratch.room(), self._target.map_session(self._session) + context.shared
        done = yield [
            self.call("register", at, size, PORTABLE_MAPPED, flags=MUST),
            self.call("device_address", mapped, at, 0),
        ]
        context.mapped = 0 if any(done) else scratch.u64(mapped)

    def _show(self, scratch: Scratch, context: Context) -> Steps:
        """Let the device see those of the session's maps that it shares; another context may have done so."""
        start, size = self.plan.own
        if not size:
            return
        address, at = scratch.room(), self._target.map_session(self._session) + start
        done = yield [
            self.call("register", at, size, PORTABLE_MAPPED),
            self.call("device_address", address, at, 0),
        ]
        context.own = 0 if done[1] else scratch.u64(address)

    def bind(self, scratch: Scratch, module: int, *, is_library: bool) -> Steps:
        """Fill the constant of a woven module, or of a library in the current context, once."""
        found: list[Context] = []
        yield from self.enter(scratch, found)
        if not found or module in found[0].constants:
            return
        context = found[0]
        at, size, name = scratch.room(), scratch.room(), scratch.put(CONSTANT)
        of = "library_global" if is_library else "module_global"
        [failed] = yield [self.call(of, at, size, module, name)]
        if failed:
            return
        data = scratch.put(self.plan.constant(context, enabled=self.enabled))
        address = scratch.u64(at)
        context.constants[module] = address
        fill = [
            self.call("write", address, data, CONSTANT_BYTES, context.stream),
            self.call("wait", context.stream),
        ]
        yield from self._relaxed(scratch, _all(fill))

    def copy_of(self, context: Context, index: int) -> bytes:
        """Return what a map was in a context when it was read last; one in the region, as it is now."""
        one = self.plan.placed[index]
        if one.where is Where.DEVICE:
            return self.plan.part(index, context.copy)
        if context.shared < 0:
            return bytes(one.size)
        at = context.shared + self.plan.hosts()[index]
        return bytes(self._session.region.buffer[at : at + one.size])

    def rings_of(self, context: Context) -> dict[int, memoryview]:
        """Return the memory of each ring of a context, by the map's index."""
        if not context.mapped:
            return {}
        buffer, base = self._session.region.buffer, context.shared
        rings = [(one.index, base + one.ring, one.ring_size) for one in self.plan.placed if one.ring >= 0]
        return {index: buffer[at : at + size] for index, at, size in rings}

    def read(self, contexts: list[Context], scratch: Scratch) -> Steps:
        """Read our maps out of some contexts; what cannot be read any more stays as it was read last."""
        for context in contexts:
            if not context.is_alive or not self.plan.size:
                continue
            done = yield [
                self.call("push", context.handle, flags=MUST),
                self.call("read", context.staging, context.base, self.plan.size, context.stream),
                self.call("wait", context.stream),
                self.call("pop", scratch.at),
            ]
            if not any(done):
                copy = self.memory.read(context.staging, self.plan.size)
                context.copy = copy if len(copy) == self.plan.size else context.copy
            elif done[0] not in (0, NOT_MADE):
                context.is_alive = False

    def enable(self, scratch: Scratch, mask: int) -> Steps:
        """Let these probes run, bit by bit, in launches from now on, and no others."""
        self.enabled = mask & MASK
        word = scratch.put(self.enabled.to_bytes(8, "little"))
        for context in [c for c in self.contexts if c.is_alive]:
            for address in context.constants.values():
                yield [
                    self.call("push", context.handle, flags=MUST),
                    self.call("write", address, word, 8, context.stream),
                    self.call("wait", context.stream),
                    self.call("pop", scratch.at),
                ]


def _all(calls: list[Call]) -> Steps:
    yield calls
