"""Plans for probes of system calls: as for functions, but the place is before or behind a `syscall`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from attachers.patch.function import Function
from attachers.patch.holes import REACH, Holes
from attachers.patch.kept import Outcome
from attachers.patch.plan import Probe
from attachers.patch.planner import NO_ROOM, Planner
from attachers.patch.site import Place
from attachers.patch.spot import Spot
from attachers.patch.thunk import Moment
from attachers.syscalls.probes import CallProbe
from attachers.syscalls.sites import CallSite
from attachers.syscalls.thunk import CallThunk, kind_of
from attachers.syscalls.ways import Way, other_way
from attachers.syscalls.windows import choose_enter, choose_exit, covered, pushed_between
from runtime.agent.protocol import ThunkKind
from runtime.errors import AttachProblem
from runtime.symbols.modules import Module

Choose = Callable[..., Place]


class WantsHole(Exception):
    """A place needs padding near by: it has to be looked for."""


class NoHoles(Holes):
    """Padding that was not looked for yet: most places need none."""

    def take(self, site: int) -> int:
        """Ask for padding."""
        del site
        raise WantsHole

    def claim(self, start: int, size: int) -> bool:
        """Ask for padding."""
        del start, size
        raise WantsHole


@dataclass
class CallPlanner(Planner):
    """Plans of system call probes for one process and one session.

    `way`: what to do where there is no room for a jump.
    """

    way: Way = Way.JUMP

    def _choose_in(self, module: Module, probes: list[Probe]) -> list[Outcome]:
        del module
        return [self._chosen(probe) for probe in probes if isinstance(probe, CallProbe)]

    def _chosen(self, probe: CallProbe) -> Outcome:
        """Return where a probe's thunks go; one more before the call where its end has to know the number."""
        site = probe.site
        assert site is not None
        try:
            self._check(site)
            place = self._place(probe)
            found = [self._spot(probe, place)]
            if probe.leaves and site.trail.number < 0:
                pushed_between(site.trail, place)
                noted = replace(probe, leaves=False)
                found.insert(0, self._spot(noted, self._place(noted), is_note=True))
        except AttachProblem as problem:
            return problem
        finally:
            if self.tick is not None:
                self.tick()
        return found

    def _spot(self, probe: CallProbe, place: Place, *, is_note: bool = False) -> Spot:
        thunk = CallThunk(probe, place, self.target, self.session, is_note)
        kind = ThunkKind.CALL if is_note else kind_of(probe, place)
        return Spot(probe, place, Moment.INSIDE, emit=thunk.emit, takes=kind)

    def _check(self, site: CallSite) -> None:
        """Make sure that the process has there what its file has.

        Raises:
            AttachProblem: somebody has changed the code (116).
        """
        if any(self.target.code_at(at, len(code)) != code for at, code in covered(site.trail)):
            raise AttachProblem(
                f"the code around the system call in {site.name} is not what its file says",
                errno=116,
                hint="end the other tracer first",
            )

    def _place(self, probe: CallProbe) -> Place:
        """Choose; where there is no room for a jump, by another way if one is wanted."""
        site = probe.site
        assert site is not None
        if self.way is Way.PAGE_ALWAYS:
            return other_way(self.target.pid, site, self.way, leaves=probe.leaves)
        try:
            return self._by_jump(site, probe.module, choose_exit if probe.leaves else choose_enter)
        except AttachProblem as problem:
            if problem.errno != NO_ROOM or self.way in (Way.JUMP, Way.DISPATCH):
                raise
            return other_way(self.target.pid, site, self.way, leaves=probe.leaves)

    def _by_jump(self, site: CallSite, module: Module, choose: Choose) -> Place:
        """Choose; where there is no room, look for padding inside the neighbouring functions and retry."""
        try:
            return choose(site, NoHoles())
        except WantsHole:
            holes = self._near(site, module)
        try:
            return choose(site, holes)
        except AttachProblem as problem:
            if problem.errno != NO_ROOM:
                raise
            self._offer_inner(holes, module, site.start - REACH - 16, site.end + REACH)
            return choose(site, holes)

    def _near(self, site: CallSite, module: Module) -> Holes:
        function = Function(site.name, site.start, bytes(site.end - site.start))
        holes = self._holes_near(module, function)
        holes.barred = set()
        return holes
