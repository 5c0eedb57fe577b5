"""Launches of one process: which kernel a handle stands for, and who wants to know of its launches.

The hook (`on_launch` of `runtime/agent/cuda.c`) looks a handle up in a table of the process's own memory. One
that is not there makes the thread knock once: the driver is asked for its name, and the table has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from attachers.cuda.calls import Call, Entered, Steps, alone, take_memory
from attachers.cuda.contexts import Scratch
from attachers.cuda.entries import LAUNCH_ENDINGS, LAUNCHES
from attachers.cuda.hooks import Wanted, driver_of, exported, image_of, launch_image
from attachers.cuda.names import any_matches
from attachers.target import Target
from runtime.agent import protocol
from runtime.jit.image import Image

ENTRIES = 4096  # of the table, a power of two
TRIES = 64  # that `kernel_of` makes from a handle's own place
PROBES = 63
TIMED_BIT = 63  # of those that want the end of a launch
STATE_KERNELS = protocol.CUDA_STATE.fields["kernels"].offset


@dataclass(frozen=True, slots=True)
class LaunchProbe:
    """A program of the host for launches of some kernels. It is given what is launched.

    `image` is None where it runs in the tracer, when the device is done with the launch.
    """

    image: Image | None
    kernels: tuple[str, ...]


@dataclass
class Launches:
    """The kernels that a process launches. `number_of`: their numbers by name. `instead`: of woven ones."""

    target: Target
    functions: Mapping[str, int]
    number_of: Callable[[str], int] = lambda _name: 0
    instead: Callable[[str, int, Scratch, list[int]], Steps] | None = None
    seen: set[str] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)
    probes: list[LaunchProbe] = field(default_factory=list)
    _table: int = 0
    _busy: set[object] = field(default_factory=set)
    _used: dict[int, int] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _instead: dict[int, int] = field(default_factory=dict)

    # --- hooks ---

    def wanted(self, *, redirect: bool) -> list[Wanted]:
        """Return what to hook: all programs at all launches, and where others may be launched, that too."""
        assert len(self.probes) <= PROBES
        found = [
            Wanted(name, at, size, image, decides=False)
            for name, at, size, form in self._places()
            for image in self._images(form, redirect=redirect)
        ]
        timed = [bit for bit, probe in enumerate(self.probes) if probe.image is None]
        first = 0 if any(probe.image for probe in self.probes) else protocol.CUDA_FIRST
        for name, at, size, form in self._places() if timed else ():
            self.names[at] = name
            found.append(Wanted(name, at, size, image_of(form | TIMED_BIT | first, "on_launch_timed")))
        return found

    def _images(self, form: int, *, redirect: bool) -> Iterator[Image]:
        first = protocol.CUDA_FIRST
        for bit, probe in enumerate(self.probes):
            if probe.image is not None:
                yield launch_image(form | bit | first, probe.image)
                first = 0
        if redirect:
            yield image_of(form, "on_launch_instead")

    def _places(self) -> list[tuple[str, int, int, int]]:
        module = driver_of(self.target)
        symbols = exported(module) if module else {}
        return [
            (name + ending, module.bias + symbols[name + ending].value, symbols[name + ending].size, form)
            for name, form in LAUNCHES.items()
            for ending in LAUNCH_ENDINGS
            if module and name + ending in symbols
        ]

    # --- the table ---

    def meet(self, entered: Entered, scratch: Scratch) -> Steps:
        """Learn what a handle stands for that is launched for the first time."""
        yield from self.learn(entered.arguments[1 if entered.which & protocol.CUDA_HANDLE else 0], scratch)

    def replaced(self, handle: int) -> int:
        """Return what is launched in the place of a handle, 0 for itself."""
        return self._instead.get(handle, 0)

    def name_of(self, handle: int) -> str:
        """Return the name of a kernel that was launched, empty where it is not known."""
        return self._names.get(handle, "")

    def learn(self, handle: int, scratch: Scratch) -> Steps:
        """Put a handle into the table, unless it is there."""
        if handle in self._instead:
            return
        if not self._table:
            yield from alone(self._busy, "table", self._make_table())
        if not self._table:
            return
        name: list[str] = []
        yield from self._name(handle, scratch, name)
        instead = [0]
        if name and self.instead is not None:
            yield from self.instead(name[0], handle, scratch, instead)
        self._instead[handle] = instead[0]
        self._names |= dict.fromkeys((handle, instead[0]), name[0] if name else "")
        self._put(handle, name[0] if name else "", instead[0])
        if instead[0] and name:
            self._put(instead[0], name[0], instead[0])

    def _make_table(self) -> Steps:
        [at] = [0] if self._table else (yield [take_memory(ENTRIES * protocol.CUDA_KERNEL.size)])
        if at <= 0:
            return
        self._table = at
        words = at.to_bytes(8, "little") + (ENTRIES - 1).to_bytes(8, "little")
        self.target.memory.write(self.target.state + protocol.STATE_CUDA + STATE_KERNELS, words)

    def _name(self, handle: int, scratch: Scratch, result: list[str]) -> Steps:
        cell = scratch.room()
        for how in ("function_name", "kernel_name"):
            if not self.functions.get(how):
                continue
            [failed] = yield [Call(self.functions[how], (cell, handle))]
            if not failed:
                text = self.target.memory.read(scratch.u64(cell), 4096).split(b"\0", 1)[0]
                result.append(text.decode(errors="replace"))
                self.seen.add(result[0])
                return

    def _put(self, handle: int, name: str, instead: int) -> None:
        """Write one entry: all but the handle first, which makes it one."""
        wanted = (bit for bit, p in enumerate(self.probes) if name and any_matches(p.kernels, name))
        mask = sum(1 << bit for bit in wanted)
        if any(mask >> bit & 1 and p.image is None for bit, p in enumerate(self.probes)):
            mask |= 1 << TIMED_BIT
        index = next(
            (i for n in range(TRIES) if (i := (handle >> 4) + n & ENTRIES - 1) not in self._used), -1
        )
        if index < 0:
            return  # its launches knock each time
        self._used[index] = handle
        number = self.number_of(name) if name else 0
        entry = protocol.CUDA_KERNEL.pack(instead=instead, number=number, probes=mask)
        at = self._table + index * protocol.CUDA_KERNEL.size
        self.target.memory.write(at, entry)
        self.target.memory.write(at, handle.to_bytes(8, "little"))

    def forget(self) -> None:
        """Forget all handles: those of a module that goes may soon stand for other kernels."""
        if self._table and self._used:
            self.target.memory.write(self._table, bytes(ENTRIES * protocol.CUDA_KERNEL.size))
            self._used.clear()
            self._instead.clear()
