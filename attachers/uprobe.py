"""Function probes: entry, return and inside, in one process, for the programs of one session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from attachers.base import UPROBE, URETPROBE, Attacher, FunctionData, PrivateData, unknown_link
from attachers.patch.apply import apply, remove
from attachers.patch.plan import AttachPlan, Probe, When
from attachers.patch.planner import Planner
from attachers.resolve import find_modules, find_points
from attachers.target import Target
from runtime.errors import AttachProblem
from runtime.jit.image import Image
from runtime.shm.session import Session
from runtime.symbols.functions import FunctionPoint
from runtime.symbols.modules import Module


@dataclass(frozen=True, slots=True)
class Hook:
    """One program to hook on: what to run, where as the user wrote it, and the attach cookie.

    `binary` and `function` may hold wildcards; `attach_type` is 6 or 7.
    """

    link: int
    image: Image
    binary: str
    function: str
    attach_type: int
    cookie: int = 0


class FunctionAttacher(Attacher):
    """Function probes of one process."""

    types: ClassVar[tuple[int, ...]] = (UPROBE, URETPROBE)

    def __init__(self, target: Target, session: Session, *, swap: bool = False) -> None:
        super().__init__()
        self.swap = swap
        self.target = target
        self.session = session
        self._links: set[int] = set()

    def resolve(self, hook: Hook) -> list[Probe]:
        """Return the places of one hook in the process: several for a wildcard.

        Raises:
            AttachProblem: nothing matches.
        """
        found: list[Probe] = []
        reason: AttachProblem | None = None
        for module in find_modules(self.target, hook.binary):
            try:
                points = find_points(self.target, module, hook.function)
            except AttachProblem as problem:
                reason = problem
                continue
            found += [self._probe(hook, module, point) for point in points]
        if not found:
            raise reason or AttachProblem(f"No matches for uprobe {hook.binary}:{hook.function}.", errno=2)
        return found

    def _probe(self, hook: Hook, module: Module, point: FunctionPoint) -> Probe:
        address = module.bias + point.address
        returns = hook.attach_type == URETPROBE
        if returns and point.offset:
            raise AttachProblem("Offset not allowed", errno=22, hint="a return probe has no offset")
        when = When.RETURN if returns else When.INSIDE if point.offset else When.ENTRY
        others = tuple((a + module.bias, b + module.bias) for a, b in point.others)
        return Probe(
            point.name,
            module,
            address,
            point.size,
            address + point.offset,
            when,
            hook.image,
            hook.cookie,
            hook.link,
            self.session.region.id,
            others,
        )

    def plan(self, probes: Iterable[Probe]) -> AttachPlan:
        """Return what would be written for these probes; nothing is changed."""
        return Planner(self.target, self.session, self.swap).plan(probes)

    def apply(self, plan: AttachPlan) -> None:
        """Carry a plan out."""
        apply(self.target, plan)
        self._links |= set(plan.sites_of) - set(plan.refused)

    def create_attach(self, program: object, private_data: PrivateData, attach_type: int) -> int:
        """Hook an image on one place and return the id of the link.

        Raises:
            AttachProblem: the private data is no function's, or the place cannot be probed.
        """
        if not isinstance(program, Image) or not isinstance(private_data, FunctionData):
            raise AttachProblem("a function probe takes an image and a function's place", errno=22)
        if attach_type not in self.types:
            raise AttachProblem(f"attach type {attach_type} is no function probe", errno=95)
        self.target.refresh()  # the sites of links made since
        link = self.allocate_id()
        hook = Hook(link, program, *self._text(private_data), attach_type)
        plan = self.plan(self.resolve(hook))
        if plan.refused:
            raise plan.refused[link]
        self.apply(plan)
        return link

    def _text(self, data: FunctionData) -> tuple[str, str]:
        """Return module and function text of private data; a file offset becomes a virtual address."""
        if data.symbol:
            return data.module, data.symbol + (f"+{data.offset}" if data.offset else "")
        if data.module:
            module = find_modules(self.target, data.module)[0]
            return data.module, f"{module.elf.to_address(data.offset):#x}"
        owner = self.target.module_of(data.offset)
        if owner is None:
            raise AttachProblem(f"no code is mapped at {data.offset:#x} in {self.target.pid}", errno=22)
        return owner.path, f"{data.offset - owner.bias:#x}"

    def detach_by_id(self, link: int) -> int:
        """Take a link out.

        Raises:
            AttachProblem: there is no such link (2).
        """
        if link not in self._links:
            raise unknown_link(link)
        remove(self.target, self.session.region.id, frozenset([link]))
        self._links.discard(link)
        return 0

    def detach_all(self, *, wait: bool = True) -> int:
        """Take every probe of this session out of the process; returns how many thunks that were.

        `wait`: also give back padding and code memory; who attaches again soon may leave that for later.
        """
        self._links.clear()
        return remove(self.target, self.session.region.id, wait=wait)
