"""Kernels that were loaded before we came: loaded once more, woven, and launched in the place of the first.

Their images are read from the files that the process has mapped; those that a program made in memory are
lost. A second module has variables of its own: kernels whose module has any keep running as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from attachers.cuda import fatbin
from attachers.cuda.calls import MUST, Call, Steps, alone, give_memory, take_memory
from attachers.cuda.choosing import best_ptx
from attachers.cuda.contexts import Scratch
from attachers.cuda.memory import CONSTANT, DeviceMemory
from attachers.cuda.ptx.reader import parse
from attachers.cuda.swapping import kernels_of
from attachers.cuda.types import Device, Offer, Swapped
from attachers.target import Target
from runtime.errors import Problem

SECTIONS = (".nv_fatbin", "__nv_relfatbin")
STRINGS = "$str"  # how the compiler calls texts of printf: nobody writes to them
ATTRIBUTES = (8, 9)  # most dynamic shared memory, share of it in the cache (CUfunction_attribute)
MADE_IN_MEMORY = "it was made in memory before bpftime came: attach at the program's start"
VARIABLES = "its module has variables, which a second copy would not share: attach at the program's start"


@dataclass
class Late:
    """The kernels of one process that were loaded before. `on_refused`: told of a kernel and the reason."""

    target: Target
    memory: DeviceMemory
    device: Device
    swap: Callable[[Offer, Device], Swapped]
    is_wanted: Callable[[str], bool]
    on_refused: Callable[[str, str], None]
    _images: list[Offer] | None = None
    _modules: dict[tuple[int, int], int] = field(default_factory=dict)
    _busy: set[object] = field(default_factory=set)

    def instead(self, name: str, handle: int, scratch: Scratch, result: list[int]) -> Steps:
        """Find the woven form of a kernel; it is put into `result`, where that stays 0 there is none."""
        if not self.is_wanted(name):
            return
        call, cells = self.memory.call, [scratch.room() for _ in range(3)]
        [failed] = yield [call("function_module", cells[0], handle)]
        if failed:
            return
        mark = scratch.put(CONSTANT)
        [unwoven] = yield [call("module_global", cells[1], cells[2], scratch.u64(cells[0]), mark)]
        if not unwoven:
            return
        number = next((n for n, image in enumerate(self.images()) if self._holds(image.image, name)), -1)
        reason = MADE_IN_MEMORY if number < 0 else self._reason(self.images()[number].image)
        if reason:
            self.on_refused(name, reason)
            return
        module = [0]
        yield from self._module(number, scratch, module)
        if not module[0]:
            return
        [failed] = yield [call("function", cells[0], module[0], scratch.put(name.encode() + b"\0"))]
        if failed:
            return
        result[0] = scratch.u64(cells[0])
        yield from self._attributes(handle, result[0], scratch)

    def _holds(self, image: bytes, name: str) -> bool:
        return name in kernels_of(image, self.device.arch)

    def images(self) -> list[Offer]:
        """Return the images in the files that the process has mapped."""
        if self._images is None:
            self._images = list(self._found())
        return self._images

    def _found(self) -> Iterator[Offer]:
        for module in self.target.modules:
            for section in module.elf.sections:
                if section.name in SECTIONS:
                    data = bytes(module.elf.data[section.offset : section.offset + section.size])
                    for at, one in fatbin.containers(data):
                        yield Offer(data[at : at + one.size], owner=module.path)

    def _reason(self, image: bytes) -> str:
        """Say why an image cannot be loaded twice, empty where it can."""
        try:
            best = best_ptx(fatbin.parse(image).entries, self.device.arch)
            text = best.image().rstrip(b"\0").decode("latin-1") if best else ""
            variables = parse(text).variables if text else ()
        except Problem as problem:
            return str(problem)
        own = [v for v in variables if v.space in ("global", "const") and not v.name.startswith(STRINGS)]
        return VARIABLES if own else ""

    def _module(self, number: int, scratch: Scratch, result: list[int]) -> Steps:
        """Load the woven form of an image into the current context, once."""
        found: list[int] = []
        yield from self._context(scratch, found)
        key = (number, found[0] if found else 0)
        yield from alone(self._busy, key, self._load(key, scratch))
        result[0] = self._modules[key]

    def _load(self, key: tuple[int, int], scratch: Scratch) -> Steps:
        if key in self._modules:
            return
        self._modules[key] = 0
        swapped = self.swap(self.images()[key[0]], self.device)
        if swapped.image is None:
            return
        cell, size = scratch.room(), len(swapped.image)
        [at] = yield [take_memory(size)]
        self.target.memory.write(at, swapped.image)
        load = Call(self.memory.functions["cuModuleLoadData"], (cell, at), MUST)
        [failed] = yield [load]
        yield [give_memory(at, size)]
        if failed:
            return
        self._modules[key] = scratch.u64(cell)
        yield from self.memory.bind(scratch, self._modules[key], is_library=False)

    def _context(self, scratch: Scratch, result: list[int]) -> Steps:
        cell = scratch.room()
        [failed] = yield [self.memory.call("context", cell)]
        if not failed:
            result.append(scratch.u64(cell))

    def _attributes(self, old: int, new: int, scratch: Scratch) -> Steps:
        """Give the woven kernel what the program has set for the first."""
        call, cells = self.memory.call, [scratch.room() for _ in ATTRIBUTES]
        done = yield [
            call("attribute_of", cell, attribute, old)
            for cell, attribute in zip(cells, ATTRIBUTES, strict=True)
        ]
        for cell, attribute, failed in zip(cells, ATTRIBUTES, done, strict=True):
            if not failed:
                yield [call("set_attribute", new, attribute, scratch.u32(cell))]
