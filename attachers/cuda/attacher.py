"""Kernel probes of one process, attach types 8 (entry, memory operations) and 9 (return)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from attachers.base import Attacher, PrivateData, unknown_link
from attachers.cuda.data import DIRECT, KERNEL, KERNEL_RETURN, KernelData
from attachers.cuda.driver import CudaProcess
from attachers.cuda.files import images_in
from attachers.cuda.incoming import read_file
from attachers.cuda.names import any_matches, near
from attachers.cuda.plan import LOST, Plan
from attachers.cuda.ptx.probe import EVERY_OP, USUAL_SPACES, KernelProbe, Op, Place, Space
from attachers.cuda.swapping import swap
from attachers.cuda.types import Device, Image, Offer, Swapped, Weaver
from attachers.target import Target
from runtime.errors import AttachProblem
from runtime.maps.spec import MapSpec
from runtime.nvptx.body import Body
from runtime.nvptx.maps import Facts, Placed, Where, place
from runtime.nvptx.reader import DeviceRing
from runtime.shm.session import Session

MOST = 64  # probes of a session: bits of a mask
OPS = {"ld": (Op.LOAD,), "st": (Op.STORE,), "atom": (Op.ATOMIC, Op.REDUCE), "red": (Op.REDUCE,)}
SPACES = {
    "global": (Space.GLOBAL, Space.GENERIC),
    "shared": (Space.SHARED,),
    "local": (Space.LOCAL,),
    "const": (Space.CONST,),
    "generic": (Space.GENERIC,),
}
CLOCK = "%globaltimer"
THREADS = 1 << 16  # that maps with a value for each thread have room for


def kernel_probe(
    body: Body, data: KernelData, attach_type: int, number: int, number_of: Callable[[str], int]
) -> KernelProbe:
    """Say where a body goes, by the private data of its link; `number_of`: kernel → its number."""
    where = Place.MEMORY if data.ops else Place.RETURN if attach_type == KERNEL_RETURN else Place.ENTRY
    ops = frozenset(op for name in data.ops for op in OPS[name]) or EVERY_OP
    spaces = frozenset(space for name in data.spaces for space in SPACES[name]) or USUAL_SPACES
    return KernelProbe(body, where, data.names, number, number_of, ops, spaces)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who looks on. `number_of`: gives the number by which programs know a kernel, None: from 1 as they come.

    `on_image` is told of every image, `on_refused` of a kernel that cannot be probed, with the reason,
    `on_ahead` of what was woven before it is loaded.
    """

    number_of: Callable[[str], int] | None = None
    on_image: Callable[[Image], None] = lambda _image: None
    on_refused: Callable[[str, str], None] = lambda _kernel, _reason: None
    on_ahead: Callable[[Swapped], None] = lambda _swapped: None


@dataclass
class CudaLink:
    """One attached program. `kernels`: those it was woven into."""

    probe: KernelProbe
    data: KernelData
    kernels: set[str] = field(default_factory=set)


class CudaAttacher(Attacher):
    """Kernel probes of one process.

    `maps`: of the session, that programs of devices use, in their order. `how`: the assembler, and a folder
    where images are kept. `shared`: names of maps that programs of the host use as well.
    """

    types: ClassVar[tuple[int, ...]] = (KERNEL, KERNEL_RETURN)

    def __init__(
        self,
        target: Target,
        session: Session,
        maps: Sequence[MapSpec] = (),
        *,
        listener: Listener = Listener(),
        how: tuple[str, str] = ("auto", ""),
        shared: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.session, self.shared = session, shared
        self.maps, self.how = tuple(maps), how
        self._number_of = listener.number_of or self._number
        self._numbers: dict[str, int] = {}
        self.links: dict[int, CudaLink] = {}
        self.placed: tuple[Placed, ...] = ()
        self.seen: set[str] = set()
        self._rings: dict[tuple[int, int], DeviceRing] = {}
        told = listener.on_image, self._is_wanted, listener.on_refused
        self._ready: dict[bytes, Swapped] = {}
        self._on_ahead = listener.on_ahead
        weaver = Weaver(self._swap, self._plan, *told, self._asks_owner, self._ahead)
        self.process = CudaProcess(target, session, weaver)
        self.process.enabled = 0

    # --- attaching ---

    def create_attach(self, program: object, private_data: PrivateData, attach_type: int) -> int:
        """Attach a body to kernels of images that are loaded from now on; returns the id of the link.

        Kernels that no image has yet are waited for.

        Raises:
            AttachProblem: it is no body, the private data names no kernels, or there are too many links.
        """
        if not isinstance(program, Body) or not isinstance(private_data, KernelData):
            raise AttachProblem("a kernel probe takes a body and names of kernels", errno=22)
        if attach_type not in self.types:
            raise AttachProblem(f"attach type {attach_type} is no kernel probe", errno=95)
        if DIRECT in private_data.names:
            raise AttachProblem(f"programs that run by themselves ({DIRECT}) are not served", errno=95)
        used = {link.probe.number for link in self.links.values()}
        number = next((n for n in range(MOST) if n not in used), -1)
        if number < 0:
            raise AttachProblem(f"a session has at most {MOST} kernel probes", errno=28)
        link = self.allocate_id()
        probe = kernel_probe(program, private_data, attach_type, number, self._number_of)
        self.links[link] = CudaLink(probe, private_data)
        self._ready.clear()
        self._enable(self.process.enabled | 1 << number)
        self.process.arm()
        return link

    def _number(self, kernel: str) -> int:
        return self._numbers.setdefault(kernel, len(self._numbers) + 1)

    def detach_by_id(self, link: int) -> int:
        """Let a program run in no launch from now on; kernels keep it, switched off.

        Raises:
            AttachProblem: there is no such link (2).
        """
        gone = self.links.pop(link, None)
        if gone is None:
            raise unknown_link(link)
        self._enable(self.process.enabled & ~(1 << gone.probe.number))
        return 0

    def _enable(self, mask: int) -> None:
        self.process.enable(mask)

    def detach_all(self) -> None:
        """Switch every program off, read the maps and end our thread in the process."""
        self.process.detach()

    # --- images ---

    def _swap(self, offer: Offer, device: Device) -> Swapped:
        meant = self._meant(offer)
        swapped = self._ready.get(self._key(offer, meant)) or self._make(offer, device, meant)
        self.seen |= swapped.seen
        for link in meant:
            link.kernels |= {name for name in swapped.kernels if any_matches(link.data.names, name)}
        return swapped

    def _meant(self, offer: Offer) -> list[CudaLink]:
        return [link for link in self.links.values() if _is_of(link.data.module, offer.owner)]

    def _make(self, offer: Offer, device: Device, meant: Sequence[CudaLink]) -> Swapped:
        probes, pid = [link.probe for link in meant], self.process.target.pid
        parts = lambda: images_in(read_file(pid, offer.owner))  # noqa: E731 # read only if it is asked for
        return swap(offer.image, offer.form, device, probes, self.how, parts)

    def _ahead(self, offer: Offer, device: Device) -> None:
        """Weave an image that will be loaded; what the driver gets later is known by its content."""
        meant = self._meant(offer)
        key = self._key(offer, meant)
        if meant and key not in self._ready:
            self._ready[key] = self._make(offer, device, meant)
            self._on_ahead(self._ready[key])

    def _key(self, offer: Offer, meant: Sequence[CudaLink]) -> bytes:
        links = f"{offer.form.value} {[link.probe.number for link in meant]}"
        return hashlib.sha256(links.encode() + offer.image).digest()

    def _plan(self, device: Device) -> Plan:
        self.placed = place(self.maps, device.processors, THREADS, self.shared)
        # The device's clock is taken to be the host's real time; how far that is from `nsecs` is known.
        offset = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_REALTIME)
        facts = Facts(
            *(device.processors, THREADS, self.process.enabled, self.process.target.pid),
            *(offset, secrets.randbits(64)),
        )
        homes = {one.index: self._home(one.name) for one in self.placed if one.where is Where.SESSION}
        clocked = any(CLOCK in link.probe.body.text for link in self.links.values())
        return Plan(self.placed, facts, homes, clocked)

    def _home(self, name: str) -> int:
        """Return where in the region the first value of a map is."""
        own = self.session.maps[name]
        return own.offset + own.layout.data

    def _asks_owner(self) -> bool:
        return any(link.data.module for link in self.links.values())

    def _is_wanted(self, kernel: str) -> bool:
        return any(any_matches(link.data.names, kernel) for link in self.links.values())

    def waiting(self) -> list[CudaLink]:
        """Return the links that no kernel had."""
        return [link for link in self.links.values() if not link.kernels]

    def near(self, link: CudaLink) -> list[str]:
        """Return kernels that were seen and are called nearly what a link names."""
        found = [name for pattern in link.data.names for name in near(pattern, self.seen)]
        return list(dict.fromkeys(found))

    # --- what devices have written ---

    def copies(self, index: int) -> list[bytes]:
        """Return what each context's copy of a map was when it was read last."""
        memory = self.process.memory
        return [memory.copy_of(context, index) for context in memory.contexts] if memory else []

    def lost(self) -> int:
        """Return how many records found no room in their ring, by what was read last."""
        rings = [one.index for one in self.placed if one.ring >= 0]
        copies = [copy for index in rings for copy in self.copies(index)]
        return sum(int.from_bytes(copy[LOST : LOST + 8], "little") for copy in copies)

    def records(self) -> list[tuple[str, bytes]]:
        """Take the records of all rings, each with its ring's name."""
        memory = self.process.memory
        if memory is None:
            return []
        found: list[tuple[str, bytes]] = []
        for context in memory.contexts:
            for index, ring in memory.rings_of(context).items():
                key = (id(context), index)
                if key not in self._rings:
                    self._rings[key] = DeviceRing(ring)
                name = self.placed[index].name
                found += [(name, payload) for payload in self._rings[key].payloads()]
        return found


def _is_of(module: str, owner: str) -> bool:
    """Return whether an image's file is the one that a probe names: by its path, or its name alone."""
    return not module or module in (owner, Path(owner).name) or fnmatchcase(owner, module)
