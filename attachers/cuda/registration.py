"""What a program registers with the CUDA runtime before anything is loaded: images, and kernels by name.

Code from nvcc does so before `main`: `__cudaRegisterFatBinary` for each image, `__cudaRegisterFunction` for
each kernel in it, `__cudaRegisterFatBinaryEnd`. These can be hooked where they have a symbol: in a shared
libcudart, or in a program with the runtime inside that is not stripped. So we know kernels that the program
has and does not launch, and images that some first launch will load: those with kernels that have probes
are woven ahead, while nobody waits.

An image stays where the program has it, and its wrapper as it is: whether the woven one is good is known only
when the driver takes it, and if it does not, the original must still be there. The load of the same bytes is
recognised by their content, and takes what is ready.

Launches by the runtime (`cudaLaunchKernel`, `__cudaLaunchKernel`, `cudaLaunchKernelExC`) are not hooked: each
comes by the driver's `cuLaunchKernel` or `cuLaunchKernelEx`, with sizes, a stream and a handle that has a
name, and those of a stripped runtime do too. A hook above would tell the same twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from attachers.cuda.calls import Entered, Steps, alone, take_memory
from attachers.cuda.hooks import Wanted, image_of
from attachers.cuda.incoming import owner_of, read_image
from attachers.cuda.types import Device, Offer, Weaver
from attachers.target import Target
from runtime.agent import protocol
from runtime.errors import ObjectProblem
from runtime.symbols.elf import FUNC, ElfFile, Symbol

IMAGE, KERNEL, END = 101, 102, 103  # numbers of the hooks
FUNCTIONS = {
    "__cudaRegisterFatBinary": (IMAGE, "on_cuda"),
    "__cudaRegisterFunction": (KERNEL, "on_cuda_name"),
    "__cudaRegisterFatBinaryEnd": (END, "on_cuda"),
}
RUNTIME = "libcudart"
OF_NVCC = (".nvFatBinSegment", ".nv_fatbin")  # sections of programs that register images
TABLES = (2, 11)  # SHT_SYMTAB, SHT_DYNSYM
SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
ROOM = 4096  # kernels in the table
NAMES_AT = protocol.CUDA_STATE.fields["names"].offset
LONGEST = 4096  # bytes of a name


@dataclass(slots=True)
class Registered:
    """An image that a program has registered: the address of its wrapper, and its kernels."""

    address: int
    kernels: set[str] = field(default_factory=set)


@dataclass
class Registration:
    """What one process has registered. `kernels`: the function of the host that stands for each, by name."""

    target: Target
    weaver: Weaver
    kernels: dict[str, int] = field(default_factory=dict)
    _begun: dict[int, Registered] = field(default_factory=dict)
    _ready: list[Registered] = field(default_factory=list)
    _table: int = 0
    _busy: set[object] = field(default_factory=set)

    def wanted(self) -> Iterator[Wanted]:
        """Return the functions to hook that the process has now."""
        for module in self.target.modules:
            for symbol in _registering(module.elf, module.path.rpartition("/")[2]):
                number, function = FUNCTIONS[symbol.name]
                hook = image_of(number, function)
                yield Wanted(symbol.name, module.bias + symbol.value, symbol.size, hook, decides=False)

    def steps(self, entered: Entered, tid: int) -> Steps:
        """Take up what a thread registers."""
        if not self._table:
            yield from alone(self._busy, "table", self._make_table())
        if not self._table:
            return
        if entered.which == KERNEL:
            self._take_names(tid)
        elif entered.which == IMAGE:
            self.settle(tid)
            self._begun[tid] = Registered(entered.arguments[0])
        elif entered.which == END:
            self.settle(tid)

    def _make_table(self) -> Steps:
        size = protocol.CUDA_NAMES.size + ROOM * protocol.CUDA_NAME.size
        [at] = [0] if self._table else (yield [take_memory(size)])
        if at <= 0:
            return
        self._table = at
        self.target.memory.write(at, protocol.CUDA_NAMES.pack(used=0, room=ROOM))
        state = self.target.state + protocol.STATE_CUDA
        self.target.memory.write(state + NAMES_AT, at.to_bytes(8, "little"))

    def settle(self, tid: int) -> None:
        """Take up what a thread has registered so far: by its end, or when it goes on."""
        if self._table:
            self._take_names(tid)
            if tid in self._begun:
                self._ready.append(self._begun.pop(tid))

    def _take_names(self, tid: int) -> None:
        """Empty the table: what is in it belongs to the image whose registration this thread has begun."""
        memory, head = self.target.memory, protocol.CUDA_NAMES.size
        used = min(memory.u64(self._table), ROOM)
        size = protocol.CUDA_NAME.size
        rows = memory.read(self._table + head, used * size)
        for at in range(0, len(rows), size):
            address = protocol.CUDA_NAME.get(rows, "name", at)
            name = memory.read(address, LONGEST).split(b"\0", 1)[0].decode(errors="replace")
            if name and protocol.CUDA_NAME.get(rows, "handle", at):
                self.kernels[name] = protocol.CUDA_NAME.get(rows, "host", at)
                if tid in self._begun:
                    self._begun[tid].kernels.add(name)
        if used:
            memory.write(self._table, bytes(head - 8) + ROOM.to_bytes(8, "little") + bytes(used * size))

    @property
    def is_waiting(self) -> bool:
        """Return whether there are images with kernels that have probes, which nobody has woven."""
        self._ready = [one for one in self._ready if any(map(self.weaver.is_wanted, one.kernels))]
        return bool(self._ready)

    def weave_one(self, device: Device) -> None:
        """Weave an image that was registered, before the driver sees it."""
        if self.is_waiting:
            one = self._ready.pop(0)
            image = read_image(self.target.memory, one.address)  # empty where its library has gone
            owner = owner_of(self.target.pid, one.address) if self.weaver.asks_owner() else ""
            if image:
                self.weaver.ahead(Offer(image, owner=owner), device)


@lru_cache(maxsize=256)
def _registering(elf: ElfFile, name: str) -> tuple[Symbol, ...]:
    """Return the functions of a runtime in a file, of those only that may have one."""
    try:
        if not name.startswith(RUNTIME) and not any(s.name in OF_NVCC for s in elf.sections):
            return ()
        found = {s.value: s for function in FUNCTIONS for s in _named(elf, function)}
    except ObjectProblem:
        return ()
    return tuple(found.values())


def _named(elf: ElfFile, name: str) -> Iterator[Symbol]:
    """Find a function in the tables of a file, which has 100,000 others, without reading them all."""
    for section in elf.sections:
        if section.kind not in TABLES or section.link >= len(elf.sections):
            continue
        start = elf.content(elf.sections[section.link]).find(b"\0" + name.encode() + b"\0") + 1
        table, key = elf.content(section), start.to_bytes(4, "little")
        at = table.find(key) if start else -1
        while at >= 0:
            if at % SYMBOL.size == 0 and at + SYMBOL.size <= len(table):
                _, info, _, home, value, size = SYMBOL.unpack_from(table, at)
                if home and value and info & 15 == FUNC:
                    yield Symbol(name, value, size, FUNC)
            at = table.find(key, at + 4)
