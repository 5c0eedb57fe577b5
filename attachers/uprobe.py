"""Function probes: entry, return and inside, in one process, for the programs of one session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

from attachers.base import (
    UPROBE,
    UPROBE_OVERRIDE,
    UREPLACE,
    URETPROBE,
    FunctionData,
    PrivateData,
)
from attachers.patch.apply import FramesRefused, apply, remove
from attachers.patch.plan import AttachPlan, Probe, When
from attachers.patch.planner import Planner
from attachers.patch.thunk import OVERRIDE_FLAG
from attachers.patched import PatchedAttacher
from attachers.resolve import find_modules, find_points
from attachers.target import Target
from runtime.errors import AttachProblem
from runtime.helpers.custom import CustomHelper, MachineCode
from runtime.jit.disasm import vector_use
from runtime.jit.image import Image
from runtime.shm.session import Session
from runtime.symbols.functions import FunctionPoint
from runtime.symbols.modules import Module

WHEN = {
    UPROBE: When.ENTRY,
    URETPROBE: When.RETURN,
    UPROBE_OVERRIDE: When.OVERRIDE,
    UREPLACE: When.REPLACE,
}
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Hook:
    """One program to hook on: what to run, where as the user wrote it, and the attach cookie.

    `binary` and `function` may hold wildcards; `attach_type` is a key of `WHEN`.
    """

    link: int
    image: Image
    binary: str
    function: str
    attach_type: int
    cookie: int = 0


class FunctionAttacher(PatchedAttacher):
    """Function probes of one process."""

    types: ClassVar[tuple[int, ...]] = (UPROBE, URETPROBE, UPROBE_OVERRIDE, UREPLACE)

    def __init__(self, target: Target, session: Session, *, swap: bool = False) -> None:
        super().__init__(target, session)
        self.swap = swap
        self.tick: Callable[[], object] | None = None  # called after each probe that was looked at

    def resolve(self, hook: Hook, seen: Collection[int] = ()) -> list[Probe]:
        """Return the places of one hook in the process: several for a wildcard.

        `seen`: starts of modules that are left out, for probes that were placed there before.

        Raises:
            AttachProblem: nothing matches. NotMapped: no file of that name is mapped.
        """
        found: list[Probe] = []
        reason: AttachProblem | None = None
        modules = [m for m in find_modules(self.target, hook.binary) if m.start not in seen]
        if not modules:
            return []
        for module in modules:
            try:
                points = find_points(self.target, module, hook.function)
            except AttachProblem as problem:
                reason = problem
                continue
            found += [self._probe(hook, module, point) for point in points]
        later = self.target.postponed | self.target.late
        if not found and any(m.start in later for m in modules):
            return []
        if not found:
            raise reason or AttachProblem(f"No matches for uprobe {hook.binary}:{hook.function}.", errno=2)
        return found

    def _probe(self, hook: Hook, module: Module, point: FunctionPoint) -> Probe:
        address = module.bias + point.address
        when = _when(hook, point.offset)
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
            exact=not _WILDCARDS & set(hook.function),
        )

    def accept_helpers(self, helpers: Iterable[CustomHelper]) -> None:
        """Bring the helpers that are machine code into the process; programs there cannot call any other.

        Raises:
            AttachProblem: one uses vector registers, which are the program's (22).
            TargetProblem: the process cannot be reached.
        """
        for helper in helpers:
            if isinstance(helper.function, MachineCode):
                used = vector_use(helper.function.code)
                if used:
                    raise AttachProblem(f"helper {helper.name} uses vector registers at {used}", errno=22)
                self.target.place_helper(helper.number, helper.function.code)

    def plan(self, probes: Iterable[Probe]) -> AttachPlan:
        """Return what would be written for these probes; nothing is changed."""
        return Planner(self.target, self.session, self.swap, self.tick).plan(probes)

    def apply(self, plan: AttachPlan) -> None:
        """Carry a plan out; what turns out to be impossible moves to `plan.refused`."""
        self._carry_out(plan)

    def _carry_out(self, plan: AttachPlan) -> AttachPlan:
        """Carry a plan out; returns the one that could be, with the same refusals.

        The session's memory is mapped even where no program uses it: by it others see whose the probes are,
        and whether their session is over.
        """
        self.target.map_session(self.session)
        rest = plan
        while True:
            try:
                apply(self.target, rest)
                break
            except FramesRefused as refused:
                plan.refused.update(dict.fromkeys(refused.links, refused.reason))
                rest = self.plan(p for p in rest.probes if p.link not in plan.refused)
        plan.refused.update(rest.refused)
        self._links |= set(rest.sites_of) - set(plan.refused)
        return rest

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

    def detach_all(self, *, wait: bool = True) -> int:
        """Take every probe of this session out of the process; returns how many thunks that were.

        `wait`: also give back padding and code memory; who attaches again soon may leave that for later.
        """
        self._links.clear()
        return remove(self.target, self.session.region.id, wait=wait)


def _when(hook: Hook, offset: int) -> When:
    """Return when a hook's program runs.

    Raises:
        AttachProblem: this attach type has no offset, or does not offer what the program does.
    """
    if offset and hook.attach_type != UPROBE:
        what = "a return probe" if hook.attach_type == URETPROBE else "an override"
        raise AttachProblem("Offset not allowed", errno=22, hint=f"{what} has no offset")
    if hook.attach_type == UPROBE and OVERRIDE_FLAG in hook.image.words:
        raise AttachProblem(
            f"program '{hook.image.name}' sets a return value, which an entry probe has not",
            errno=95,
            hint="attach it as an override (1008) or at the return (7)",
        )
    if hook.attach_type == UREPLACE and not hook.image.returns:
        raise AttachProblem("a replacing program is compiled with its result", errno=22)
    return When.INSIDE if offset else WHEN[hook.attach_type]
