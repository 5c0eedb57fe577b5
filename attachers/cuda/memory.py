"""Device memory of one process: our maps in each of its contexts, the context constants, and their reading.

All maps of a context lie in one allocation, so that one copy reads them all. What is done are calls of a
thread that has the context (`calls.py`); addresses of functions come from `driver.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attachers.cuda.calls import MUST, NOT_MADE, Call, Steps, give_memory, take_memory
from runtime.symbols.maps import Memory

CONSTANT = b"__bpftime_ctx\0"
CONSTANT_BYTES = 256
BASES = 48  # of the maps, in the constant
MAPS = 26
SCRATCH = 1 << 14
NON_BLOCKING, RELAXED, PORTABLE_MAPPED = 1, 2, 3  # of streams, stream capture, host registration (cuda.h)


@dataclass(frozen=True, slots=True)
class Area:
    """A piece of memory for a map: number `index` in the session's order, `size` bytes, what it begins as.

    `shared`: offset in the session's region where it is host memory that the device sees, else -1.
    """

    index: int
    size: int
    initial: bytes = b""
    shared: int = -1


@dataclass(frozen=True, slots=True)
class Plan:
    """What each context gets. `ring`: offset in the region of what the ring's writers need, -1 for none.

    `shared`: the range of the region (offset, bytes) that the device sees; empty for none.
    """

    areas: tuple[Area, ...] = ()
    enabled: int = 0
    slots: int = 1
    threads: int = 1
    ring: int = -1
    shared: tuple[int, int] = (0, 0)

    def places(self) -> dict[int, int]:
        """Return where each area of device memory begins in the allocation."""
        found, at = {}, 0
        for area in self.areas:
            if area.shared < 0:
                found[area.index] = at
                at += (area.size + 255) & -256
        return found

    @property
    def size(self) -> int:
        """Return the size of the allocation."""
        return sum((area.size + 255) & -256 for area in self.areas if area.shared < 0)

    def content(self) -> bytes:
        """Return what the allocation begins as."""
        out, places = bytearray(self.size), self.places()
        for area in self.areas:
            if area.shared < 0:
                out[places[area.index] : places[area.index] + len(area.initial)] = area.initial
        return bytes(out)

    def part(self, copy: bytes, index: int) -> bytes:
        """Return the part of a copy of the allocation that is one area's."""
        at = self.places()[index]
        return copy[at : at + next(a.size for a in self.areas if a.index == index)]


@dataclass(slots=True)
class Context:
    """One context of the process: `base` of our allocation on the device, `staging` in its own memory.

    `copy` is what was read last, which outlives the context. `constants`: by module, where its constant is.
    """

    handle: int
    device: int
    stream: int = 0
    base: int = 0
    staging: int = 0
    mapped: int = 0
    is_alive: bool = True
    copy: bytes = b""
    constants: dict[int, int] = field(default_factory=dict)


class Scratch:
    """Memory of the target for what calls point to, given out from its start."""

    def __init__(self, memory: Memory, at: int) -> None:
        self.memory, self.at, self._used = memory, at, 0

    def put(self, data: bytes) -> int:
        """Write bytes; returns their address."""
        at = self.room(len(data))
        self.memory.write(at, data)
        return at

    def room(self, size: int = 8) -> int:
        """Return the address of so many bytes."""
        at = self.at + self._used
        self._used += (size + 15) & -16
        assert self._used <= SCRATCH
        return at

    def u64(self, at: int) -> int:
        """Return a word."""
        return self.memory.u64(at)

    def u32(self, at: int) -> int:
        """Return half a word."""
        return self.memory.u64(at) & 0xFFFFFFFF


class DeviceMemory:
    """Our memory in all contexts of one process.

    `functions`: addresses by the names of `entries.CALLED`. `region`: where the session is mapped there.
    `facts`: the pid as programs see it, the clock's offset, a seed.
    """

    def __init__(
        self,
        memory: Memory,
        functions: Mapping[str, int],
        plan: Plan,
        region: Callable[[], int],
        facts: tuple[int, int, int],
    ) -> None:
        self.memory, self.functions, self.plan, self.facts = memory, functions, plan, facts
        self._region = region
        self.contexts: list[Context] = []

    def call(self, name: str, *arguments: int, flags: int = 0) -> Call:
        """Return a call of one of the driver's functions."""
        return Call(self.functions[name], arguments, flags)

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
        found = self.known(handle)
        if found is None:
            found = Context(handle, scratch.u32(device) if not done[1] else 0)
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
        stream, base, mapped = scratch.room(), scratch.room(), scratch.room()
        done = yield [
            take_memory(size),
            self.call("stream", stream, NON_BLOCKING, flags=MUST),
            self.call("take", base, size, flags=MUST),
        ]
        if done[0] < 0 or any(done[1:]):
            yield [give_memory(done[0], size)] if done[0] > 0 else []
            return
        context.staging, context.stream, context.base = done[0], scratch.u64(stream), scratch.u64(base)
        start, length = plan.shared
        if length:
            at = self._region() + start
            yield [self.call("register", at, length, PORTABLE_MAPPED)]
            [failed] = yield [self.call("device_address", mapped, at, 0)]
            context.mapped = 0 if failed else scratch.u64(mapped)
        content = plan.content()
        self.memory.write(context.staging, content)
        yield [
            self.call("write", context.base, context.staging, size, context.stream),
            self.call("wait", context.stream),
        ]
        context.copy = content
        self.contexts.append(context)

    def constant(self, context: Context, *, enabled: bool = True) -> bytes:
        """Return the context constant for modules in a context."""
        plan, places = self.plan, self.plan.places()
        bases = [0] * MAPS
        for area in plan.areas:
            if area.index >= MAPS:
                continue
            if area.shared < 0:
                bases[area.index] = context.base + places[area.index]
            elif context.mapped:
                bases[area.index] = context.mapped + area.shared - plan.shared[0]
        ring = context.mapped + plan.ring - plan.shared[0] if plan.ring >= 0 and context.mapped else 0
        pid, clock, seed = self.facts
        mask = plan.enabled if enabled else 0
        head = struct.pack("<QQQqIIQ", mask, ring, pid, clock, plan.slots, plan.threads, seed)
        return head + struct.pack(f"<{MAPS}Q", *bases)

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
        data = scratch.put(self.constant(context))
        address = scratch.u64(at)
        context.constants[module] = address
        fill = [
            self.call("write", address, data, CONSTANT_BYTES, context.stream),
            self.call("wait", context.stream),
        ]
        yield from self._relaxed(scratch, _all(fill))

    def read(self, contexts: list[Context], scratch: Scratch) -> Steps:
        """Read our maps out of some contexts; what cannot be read any more stays as it was read last."""
        for context in contexts:
            if not context.is_alive or not self.plan.size:
                continue
            popped = scratch.at  # a word that is not looked at
            done = yield [
                self.call("push", context.handle, flags=MUST),
                self.call("read", context.staging, context.base, self.plan.size, context.stream),
                self.call("wait", context.stream),
                self.call("pop", popped),
            ]
            if not any(done):
                copy = self.memory.read(context.staging, self.plan.size)
                context.copy = copy if len(copy) == self.plan.size else context.copy
            elif done[0] not in (0, NOT_MADE):
                context.is_alive = False

    def switch_off(self, scratch: Scratch) -> Steps:
        """Let no probe run in launches from now on."""
        zero = scratch.put(bytes(8))
        for context in [c for c in self.contexts if c.is_alive]:
            for address in context.constants.values():
                yield [
                    self.call("push", context.handle, flags=MUST),
                    self.call("write", address, zero, 8, context.stream),
                    self.call("wait", context.stream),
                    self.call("pop", scratch.at),
                ]


def _all(calls: list[Call]) -> Steps:
    yield calls
