"""One process that uses CUDA: its driver hooked, its images swapped, our maps in its contexts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from attachers.cuda import loads
from attachers.cuda.calls import (
    MAIN,
    MUST,
    Call,
    Conversations,
    Entered,
    Steps,
    alone,
    give_memory,
    take_memory,
)
from attachers.cuda.contexts import SCRATCH, Context, Scratch
from attachers.cuda.entries import (
    CALLED,
    ENTRIES,
    EXIT_NUMBER,
    EXITS,
    MAJOR,
    MINOR,
    PER_THREAD,
    PROCESSORS,
    VERSIONS,
    Act,
    Entry,
)
from attachers.cuda.hooks import Wanted, driver_of, exported, image_of, place, size_of
from attachers.cuda.late import Late
from attachers.cuda.launches import Launches
from attachers.cuda.memory import MASK, DeviceMemory
from attachers.cuda.registration import END, IMAGE, KERNEL, Registration
from attachers.cuda.service import Service
from attachers.cuda.timing import Timing
from attachers.cuda.types import Device, Image, Loaded, Offer, Swapped, Weaver
from attachers.hooks import is_placed
from attachers.inject.visit import Visitor
from attachers.target import Target
from runtime.agent import protocol
from runtime.agent.protocol import KnockState
from runtime.jit.image import Image as RunImage
from runtime.shm.desk import Knock
from runtime.shm.session import Session
from runtime.symbols.modules import Module

BY_NUMBER = dict(enumerate(ENTRIES))
LIBCS = ("libc.so", "libc-", "ld-musl", "libpthread")
BATCH = 16


class CudaProcess:
    """The CUDA side of one traced process."""

    def __init__(self, target: Target, session: Session, weaver: Weaver) -> None:
        self.target, self.session, self.weaver = target, session, weaver
        self._late: Late | None = None
        self._was_there = not target.fresh
        self.device: Device | None = None
        self.functions: dict[str, int] = {}
        self.memory: DeviceMemory | None = None
        self.service = Service(target, session)
        self.launches = Launches(target, self.functions)
        self.timing = Timing(self.launches)
        self.registration = Registration(target, weaver)
        self.refused: dict[str, str] = {}
        self.loaded: dict[int, Loaded] = {}
        self._talks = Conversations(target.memory, self._waits)
        self._scratches: list[int] = []
        self._busy: set[object] = set()
        self._is_swept = False
        self.enabled = MASK
        self.start_result = 0  # of cuInit
        self.missed = 0  # calls of the driver that could not wait for us

    # --- hooks ---

    def arm(self) -> int:
        """Hook the driver where the process has loaded it; returns how many functions are hooked.

        Raises:
            TargetProblem: the process cannot be reached.
            AttachProblem: it cannot be patched.
        """
        above, module = self._arm_runtime(), driver_of(self.target)
        if module is None or self.functions:
            self._was_there = self._was_there and module is not None
            return above
        symbols = exported(module)
        for name, choices in CALLED.items():
            self.functions[name] = next((module.bias + symbols[c].value for c in choices if c in symbols), 0)
        found = [
            (name, module.bias + symbols[name].value, symbols[name].size, number, entry)
            for number, entry in BY_NUMBER.items()
            for name in entry.names
            if name in symbols
        ]
        owner = self.session.region.id
        self._was_there = self._was_there and not is_placed(self.target, owner, *found[0][1:3])
        wanted = [
            Wanted(name, at, size, _hook_of(number, entry))
            for name, at, size, number, entry in found
            if self._is_hooked(entry)
        ]
        self.quiet()
        self.launches.instead = self._instead if self._was_there else None
        wanted += [*self._exits(), *self.launches.wanted(redirect=self._was_there)]
        self.refused = place(self.target, self.session, wanted)
        self.target.refresh()
        return above + len(wanted) - len(self.refused)

    def _arm_runtime(self) -> int:
        """Hook what programs register with, where it has a name; the driver's level does without."""
        wanted = list(self.registration.wanted())
        if not wanted:
            return 0
        refused = place(self.target, self.session, wanted)
        self.target.refresh()
        return len(wanted) - len(refused)

    def _is_hooked(self, entry: Entry) -> bool:
        """Return whether a function is hooked: those of graphs only where kernels may be there already."""
        return entry.act is not Act.NODE or self._was_there

    def _time(self, entered: Entered, scratch: Scratch) -> Steps:
        """Launch a kernel whose end is wanted."""
        yield from self.know_device(scratch)
        if self.memory is not None:
            yield from self.timing.launch(entered, self.memory, scratch)
            yield from self.serve_later(scratch)

    def ended(self) -> list[tuple[int, bytes]]:
        """Return launches that have ended: number of the program that wants it, and its context."""
        if self.memory is not None and self.timing.pending and self.service.runs:
            self.service.run(self.timing.ask(self.memory, self.service.scratch()))
        return self.timing.take()

    def _instead(self, name: str, handle: int, scratch: Scratch, result: list[int]) -> Steps:
        """Find the woven form of a kernel that was loaded before we came."""
        yield from self.know_device(scratch)
        if self.device is None or self.memory is None:
            return
        if self._late is None:
            own = self.weaver
            self._late = Late(self.target, self.memory, self.device, own.swap, own.is_wanted, own.on_refused)
        yield from self._late.instead(name, handle, scratch, result)
        yield from self.serve_later(scratch)

    def _exits(self) -> Iterator[Wanted]:
        for module in self._libcs():
            found = exported(module)
            for name in EXITS:
                if name in found:
                    symbol = found[name]
                    at = module.bias + symbol.value
                    yield Wanted(name, at, symbol.size, image_of(EXIT_NUMBER), decides=False)

    def _libcs(self) -> list[Module]:
        return [m for m in self.target.modules if m.path.rpartition("/")[2].startswith(LIBCS)]

    def _in_libc(self, name: str) -> int:
        for module in self._libcs():
            symbol = exported(module).get(name)
            if symbol is not None:
                return module.bias + symbol.value
        return 0

    # --- knocks ---

    def _waits(self, place: int) -> bool:
        """Return whether a thread waits at the desk: one that we have seen, and have not answered."""
        at = protocol.REGION_DESK + place * protocol.KNOCK.size
        return protocol.KNOCK.get(self.session.region.buffer, "state", at) == KnockState.SEEN

    def serve(self, knock: Knock, tid: int) -> None:
        """Take a conversation one step on; afterwards the thread is to be answered.

        Raises:
            Problem: the process cannot be reached; the thread runs on by itself.
        """
        if self._talks.is_known(knock.place, knock.argument):
            self._talks.go_on(knock.place)
            return
        if not self._waits(knock.place):  # it came while we were busy, and has gone on
            self.missed += 1
            return
        entered = Entered.read(self.target.memory, knock.argument)
        if entered is not None:
            self._talks.begin(knock.place, knock.argument, self._steps(entered, tid))

    def _steps(self, entered: Entered, tid: int) -> Steps:
        entry = BY_NUMBER.get(entered.which)
        if entered.which in (IMAGE, KERNEL, END):
            yield from self.registration.steps(entered, tid)
            return
        [at] = [self._scratches.pop()] if self._scratches else (yield [take_memory(SCRATCH)])
        if at < 0:
            return
        scratch = Scratch(self.target.memory, at)
        try:
            if entered.which & protocol.CUDA_FRESH:
                yield from self.launches.meet(entered, scratch)
                return
            if entered.which & protocol.CUDA_TIMED:
                yield from self._time(entered, scratch)
                return
            if entry is None:
                yield from self._end(None, entered, scratch)
                return
            if entry.act is Act.START:
                yield from self._start(entered, scratch, tid)
                return
            if entry.act not in (Act.END, Act.UNLOAD) or self.memory is not None:
                yield from ACTS[entry.act](self, entry, entered, scratch)
        finally:
            self._scratches.append(at)

    # --- start ---

    def _start(self, entered: Entered, scratch: Scratch, tid: int) -> Steps:
        [failed] = yield [Call(entered.function, entered.all_arguments(1), MAIN)]
        self.start_result = failed
        if not failed and not self._is_swept:
            self._is_swept = True
            yield from self._sweep(scratch, tid)
            self.registration.settle(tid)
            if self.registration.is_waiting:
                yield from self.know_device(scratch)

    def _sweep(self, scratch: Scratch, tid: int) -> Steps:
        """Hook what the driver hands out under our names beside what it exports."""
        get = self.functions.get("get_proc", 0)
        if not get:
            return
        found: dict[int, Wanted] = {}
        cells = [scratch.room() for _ in range(BATCH)]
        status = scratch.room()
        for number, entry in BY_NUMBER.items():
            if not self._is_hooked(entry):
                continue
            name = scratch.memory, scratch.put(entry.name.encode() + b"\0")
            asked = [(v, flags) for v in VERSIONS for flags in (0, PER_THREAD)]
            results = yield [
                Call(get, (name[1], cell, version, flags, status))
                for cell, (version, flags) in zip(cells, asked, strict=False)
            ]
            for cell, failed in zip(cells, results, strict=False):
                at = scratch.u64(cell)
                module = self.target.module_of(at) if at and not failed else None
                if module is not None:
                    size = size_of(module, at)
                    found.setdefault(at, Wanted(entry.name, at, size, _hook_of(number, entry)))
        self._hook_more(list(found.values()), tid)

    def _hook_more(self, wanted: list[Wanted], tid: int) -> None:
        owner = self.session.region.id
        fresh = [w for w in wanted if not is_placed(self.target, owner, w.address, max(w.size, 1))]
        if not fresh:
            return
        before = self.target.channel
        self.target.channel = Visitor(self.target.pid, tid)
        try:
            self.target.refresh()
            self.refused |= place(self.target, self.session, fresh)
            self.target.refresh()
        finally:
            self.target.channel.close()
            self.target.channel = before

    def know_device(self, scratch: Scratch) -> Steps:
        """Ask the driver what it is and what devices there are."""
        if self.device is None:
            yield from alone(self._busy, "device", self._ask_device(scratch))

    def _ask_device(self, scratch: Scratch) -> Steps:
        if self.device is not None:
            return
        call, cells = self._call, [scratch.room() for _ in range(2)]
        done = yield [call("version", cells[0], flags=MUST), call("devices", cells[1], flags=MUST)]
        if any(done):
            return
        kinds, numbers = [], range(min(scratch.u32(cells[1]), 16))
        processors, major, minor = (scratch.room() for _ in range(3))
        for device in numbers:
            yield [
                call("attribute", major, MAJOR, device),
                call("attribute", minor, MINOR, device),
                call("attribute", processors, PROCESSORS, device),
            ]
            kinds.append((10 * scratch.u32(major) + scratch.u32(minor), scratch.u32(processors)))
        if kinds:
            version = scratch.u32(cells[0])
            alike = len({arch for arch, _ in kinds}) == 1
            self.device = Device(min(a for a, _ in kinds), version, max(p for _, p in kinds), alike)
            plan = self.weaver.plan(self.device)
            self.memory = DeviceMemory(self.target, self.session, self.functions, plan, self.enabled)

    def _call(self, name: str, *arguments: int, flags: int = 0) -> Call:
        return Call(self.functions[name], arguments, flags)

    # --- images ---

    def told(self, entry: Entry, offer: Offer, swapped: Swapped, result: int) -> None:
        """Tell whoever looks on what became of an image."""
        arch = self.device.arch if self.device is not None else 0
        self.weaver.on_image(Image(entry.name, len(offer.image), arch, swapped, result))

    def take_up(self, one: Loaded, scratch: Scratch) -> Steps:
        """Take up a woven module or library that has been loaded."""
        self.loaded[one.handle] = one
        if self.memory is not None:
            yield from self.memory.bind(scratch, one.handle, is_library=one.is_library)
        self.quiet()
        yield from self.serve_later(scratch)

    def text(self, address: int) -> str:
        """Return a string of the process."""
        return self.target.memory.read(address, 4096).split(b"\0", 1)[0].decode(errors="surrogateescape")

    def serve_later(self, scratch: Scratch) -> Steps:
        """Start our thread, where it does not run yet."""
        functions = self._in_libc("pthread_create"), self._in_libc("pthread_detach")
        yield from self.service.start(scratch, functions)

    # --- contexts and ends ---

    def _enter(self, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
        """Fill the constants of libraries that come into a context with this call."""
        libraries = self._libraries()
        if self.memory is None or not libraries:
            return
        [failed] = yield [Call(entered.function, entered.all_arguments(entry.count), MAIN)]
        if failed:
            return
        for handle in libraries:
            yield from self.memory.bind(scratch, handle, is_library=True)
        self.quiet()
        yield from self.serve_later(scratch)

    def _libraries(self) -> list[int]:
        return [one.handle for one in self.loaded.values() if one.is_library]

    def quiet(self) -> None:
        """Let threads enter contexts without asking us that have all libraries, or where there are none."""
        libraries = self._libraries()
        contexts = self.memory.contexts if self.memory else []
        seen = [c.handle for c in contexts if c.is_alive and all(one in c.constants for one in libraries)]
        room = protocol.CUDA_STATE.fields["seen"].count
        words = [MASK] if not libraries else seen[:room]
        data = struct.pack(f"<{len(words)}Q", *words).ljust(8 * room, b"\0")
        self.target.memory.write(self.target.state + protocol.STATE_CUDA, data)

    def _unload(self, entry: Entry, entered: Entered, scratch: Scratch) -> Steps:
        """Forget a module that goes."""
        del entry, scratch
        self.launches.forget()
        one = self.loaded.pop(entered.arguments[0], None)
        if one is None or self.memory is None:
            return
        for context in self.memory.contexts:
            context.constants.pop(one.handle, None)
        self.quiet()
        if one.memory[1]:
            yield [Call(entered.function, entered.all_arguments(1), MAIN), give_memory(*one.memory)]

    def _end(self, entry: Entry | None, entered: Entered, scratch: Scratch) -> Steps:
        """Read our maps for the last time: the context, or the whole process, is about to end."""
        if self.memory is None:
            return
        contexts = self.memory.contexts
        if entry is not None:
            given = entered.arguments[0]
            contexts = [c for c in contexts if given == (c.handle if entry.name[2:5] == "Ctx" else c.device)]
        yield from self.memory.read(contexts, scratch)
        for _ in range(len(self.timing.pending)):
            yield from self.timing.ask(self.memory, Scratch(self.target.memory, scratch.at))
        if entry is not None and not entry.name.endswith("Release"):
            _bury(contexts)

    # --- from outside ---

    def weave_ahead(self) -> None:
        """Weave an image that will be loaded, while nobody waits for it."""
        if self.device is not None:
            self.registration.weave_one(self.device)

    def enable(self, mask: int) -> None:
        """Let these probes run from now on, bit by bit, and no others."""
        self.enabled = mask
        if self.memory is not None:
            self.memory.enabled = mask
            if self.service.runs:
                self.service.run(self.memory.enable(self.service.scratch(), mask))

    def read(self) -> None:
        """Read our maps in all contexts that live."""
        if self.memory is not None and self.service.runs:
            self.service.run(self.memory.read(self.memory.contexts, self.service.scratch()))

    def copies(self) -> list[bytes]:
        """Return what was read last of each context there has been."""
        return [c.copy for c in self.memory.contexts] if self.memory else []

    def detach(self) -> None:
        """Switch our probes off, read the maps once more and end our thread; hooks go with the others."""
        if self.memory is None or not self.service.runs:
            return
        try:
            self.service.run(self.memory.enable(self.service.scratch(), 0))
            self.read()
        finally:
            self.service.stop()


def _hook_of(number: int, entry: Entry) -> RunImage:
    """Return the program of a hook; where a context is entered it asks only of those it does not know."""
    return image_of(number | (protocol.CUDA_ANY if entry.act is Act.ENTER else 0))


def _bury(contexts: list[Context]) -> None:
    for context in contexts:
        context.is_alive = False


ACTS: dict[Act, Callable[[CudaProcess, Entry, Entered, Scratch], Steps]] = {
    Act.IMAGE: loads.from_memory,
    Act.FILE: loads.from_file,
    Act.LINK_DATA: loads.linked,
    Act.LINK_FILE: loads.linked,
    Act.ENTER: CudaProcess._enter,
    Act.UNLOAD: CudaProcess._unload,
    Act.END: CudaProcess._end,
    Act.NODE: loads.node,
}
