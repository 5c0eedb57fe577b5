"""From probes to an attach plan: choose sites, lay images and thunks out in an arena, write them.

One probe that cannot be placed never fails the others: it is listed in `refused` with its reason.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from attachers.patch import kept
from attachers.patch.callthrough import NEVER, is_eligible
from attachers.patch.function import Function, inner_padding, may_hold_padding
from attachers.patch.gocheck import choose_behind_check
from attachers.patch.holes import REACH, Holes
from attachers.patch.hooked import is_back, is_hooked
from attachers.patch.kept import Outcome
from attachers.patch.nops import choose_nop
from attachers.patch.plan import DECIDES, EXIT, HOOK_LINK, AttachPlan, Probe, When
from attachers.patch.site import Place, choose_at, choose_entry, choose_exit
from attachers.patch.spot import Spot
from attachers.patch.thunk import KEPT, Moment
from attachers.patch.write import Writer
from attachers.target import Target
from runtime.agent.protocol import SiteKind, SiteState
from runtime.errors import AttachProblem
from runtime.shm.session import Session
from runtime.symbols.functions import bodies_in
from runtime.symbols.gotable import is_go
from runtime.symbols.modules import Module
from runtime.symbols.ranges import FunctionRanges, ranges_of

TAIL = 32  # bytes read behind a function
MANY = 32  # probes from which on a module's code is read at once
BREAKPOINT = 0xCC  # int3
NO_ROOM = 28  # ENOSPC
STARTERS = frozenset(("_start", "__libc_start_main", "__libc_start_call_main"))


@dataclass
class Planner:
    """Plans for one process and one session.

    `swap`: return addresses may be replaced if need be. `tick` is called after each probe that was looked at.
    """

    target: Target
    session: Session
    swap: bool = False
    tick: Callable[[], object] | None = None
    _holes: dict[int, Holes] = field(default_factory=dict)
    _functions: dict[int, Function] = field(default_factory=dict)
    _searched: set[int] = field(default_factory=set)
    _exit_sites: set[int] = field(default_factory=set)
    _entry_sites: set[int] = field(default_factory=set)
    _armed_exits: list[int] = field(default_factory=list)
    _overridden: set[int] = field(default_factory=set)
    _deciding: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        armed = [s for s in self.target.sites if s.state == SiteState.ARMED]
        between = {s.at + n for s in armed if s.kind == SiteKind.NEAR5 for n in range(1, 5)}
        self._exit_sites = between | {s.at for s in armed if s.flags & EXIT}
        self._entry_sites = between | {s.at for s in armed if not s.flags & EXIT}
        self._armed_exits = sorted(self._exit_sites)
        self._deciding = sorted(s.at for s in armed if s.flags & DECIDES)

    def plan(self, probes: Iterable[Probe]) -> AttachPlan:
        """Return the plan for these probes.

        Raises:
            TargetProblem: the process has no room for code.
        """
        probes = list(probes)
        if len(probes) <= MANY:
            return self._plan(probes)
        collecting = gc.isenabled()
        gc.disable()  # thousands of small objects, none of them in cycles: 15 % of the time
        try:
            for module in {p.module.start: p.module for p in probes}.values():
                self.target.keep_text(module)
            return self._plan(probes)
        finally:
            self.target.forget_text()
            if collecting:
                gc.enable()

    def _plan(self, probes: list[Probe]) -> AttachPlan:
        plan = AttachPlan(self.target.pid, tuple(probes))
        spots: list[Spot] = []
        # Entries first: they need the holes more than exits do, and overrides decide how returns are probed.
        ordered = sorted(probes, key=lambda p: p.when is When.RETURN)
        self._overridden = {p.address for p in probes if p.when.decides}
        for module in {p.module.start: p.module for p in ordered}.values():
            group = [p for p in ordered if p.module.start == module.start]
            for probe, outcome in zip(group, self._choose_in(module, group), strict=True):
                if isinstance(outcome, AttachProblem):
                    plan.refused[probe.link] = outcome
                else:
                    spots += outcome
        if spots:
            Writer(self.target, self.session, plan, spots).write()
        return plan

    # --- choosing ---

    def _choose_in(self, module: Module, probes: list[Probe]) -> list[Outcome]:
        """Return the places of the probes of one module: as they were chosen before, or chosen now."""
        sites = [s for s in self.target.sites if s.state != SiteState.FREE and module.contains(s.at)]
        ours = all(p.link >= HOOK_LINK for p in probes)
        in_use = not ours and any(s.link < HOOK_LINK for s in sites)
        # Our own hooks are the same in every process of a program, so choices beside them are kept as well.
        beside = (
            ()
            if ours
            else tuple(sorted((s.at - module.bias, s.hole and s.hole - module.bias) for s in sites))
        )
        key = (
            ""
            if in_use
            else kept.key_of(module, probes, (self.swap, beside, self.target.fresh), self.target.code_at)
        )
        known = kept.load(key, probes, module.bias, self.target.code_at) if key else None
        if known is not None and not self._are_taken(known):
            return known
        outcomes = [self._outcome(probe) for probe in probes]
        if key:
            kept.save(key, outcomes, module.bias, self.target.code_at)
        return outcomes

    def _are_taken(self, outcomes: list[Outcome]) -> bool:
        """Return whether a choice of before needs padding that another site has taken."""
        users = {s.hole: s.at for s in self.target.sites if s.state != SiteState.FREE and s.hole}
        spots = [s for outcome in outcomes if not isinstance(outcome, AttachProblem) for s in outcome]
        return any(users.get(s.place.hole, s.place.address) != s.place.address for s in spots)

    def _outcome(self, probe: Probe) -> Outcome:
        try:
            chosen = self._choose_with_more_holes(probe)
        except AttachProblem as problem:
            return problem
        for spot in chosen:
            sites = self._exit_sites if spot.is_late else self._entry_sites
            sites.add(spot.place.address)
        if self.tick is not None:
            self.tick()
        return chosen

    def _choose_with_more_holes(self, probe: Probe) -> list[Spot]:
        """Choose; where there is no room, look for padding inside the neighbouring functions and retry."""
        try:
            return self._choose(probe)
        except AttachProblem as problem:
            if problem.errno != NO_ROOM:
                raise
            low, high = probe.address - REACH - 16, probe.address + probe.size + REACH
            self._offer_inner(self._holes[probe.module.start], probe.module, low, high)
            return self._choose(probe)

    def _offer_inner(self, holes: Holes, module: Module, low: int, high: int) -> None:
        for start, end in bodies_in(module.elf, low - module.bias, high - module.bias):
            at = start + module.bias
            code = b"" if at in self._searched else self.target.code_at(at, end - start)
            if not may_hold_padding(code[max(low - at, 0) : max(high - at, 0)]):
                continue  # to decode a whole function for nothing takes long
            self._searched.add(at)
            for hole, size in inner_padding(code, start + module.bias):
                holes.add(hole, size)

    def _choose(self, probe: Probe) -> list[Spot]:
        function = self._function(probe)
        holes = self._holes_near(probe.module, function)
        # An exit's thunk has run the displaced instructions before its program, an entry's has not: two of
        # different kinds cannot follow one another at one site.
        holes.barred = self._entry_sites if probe.when is When.RETURN else self._not_entered(function)
        if probe.when is When.ENTRY:
            checked = choose_behind_check(function, holes) if is_go(probe.module.elf) else None
            return [Spot(probe, checked or choose_entry(function, holes), Moment.ENTRY)]
        if probe.when is When.INSIDE:
            moment = Moment.ENTRY if probe.at == probe.address else Moment.INSIDE
            return [Spot(probe, choose_at(function, probe.at, holes), moment)]
        if probe.when is When.MARKER:
            sites = (self._entry_sites, self._exit_sites)
            fresh = self.target.fresh
            place = choose_nop(function, probe, holes, sites, self.target.code_at, fresh=fresh)
            self._close(place)
            return [Spot(probe, place, Moment.INSIDE)]
        if probe.when.decides:
            return [_decision(probe, function, holes)]
        return self._choose_return(probe, function, holes)

    def _close(self, place: Place) -> None:
        """Let no other site be between instructions that are overwritten together."""
        between = {i.address for i in place.displaced[1:] if i.address < place.address + place.width}
        if not place.is_late:
            self._entry_sites |= between
            self._exit_sites |= between

    def _not_entered(self, function: Function) -> set[int]:
        """Return where no entry goes: exits' sites, and what their thunks do in place of the code there."""
        first = bisect_left(self._armed_exits, function.start)
        covered: set[int] = set()
        for at in self._armed_exits[first : bisect_left(self._armed_exits, function.end)]:
            for instruction in function.instructions:
                if instruction.address >= at:
                    covered.add(instruction.address)
                    if instruction.is_return:
                        break
        return self._exit_sites | covered if covered else self._exit_sites

    def _choose_return(self, probe: Probe, function: Function, holes: Holes) -> list[Spot]:
        reason: AttachProblem | None = None
        if any(word.startswith(KEPT) for word in probe.image.words):
            return self._around(probe, function, holes)
        # Around the whole call where a call may be decided before the body: no exit of the body would see it.
        methods = [self._exits] if is_go(probe.module.elf) else [self._exits, self._through]
        for method in reversed(methods) if self._is_overridden(function) else methods:
            try:
                spots = method(probe, function, holes)
            except AttachProblem as problem:
                reason = problem
                continue
            if spots:
                return spots
        if is_go(probe.module.elf):
            raise reason or _returns_of_go(function)
        if self.swap and function.name not in NEVER and (function.returns or function.leaves):
            holes.barred = self._not_entered(function)
            return [Spot(probe, choose_entry(function, holes), Moment.ENTRY, swap=True)]
        if function.is_whole and not function.returns and not function.leaves:
            raise AttachProblem(f"{function.name} never returns", errno=95, hint="probe its entry: uprobe:…")
        raise reason or AttachProblem(
            f"the returns of {function.name} cannot be probed: it jumps away and reads its caller's stack",
            errno=95,
            hint="probe its entry, or add --allow-return-swap",
        )

    def _around(self, probe: Probe, function: Function, holes: Holes) -> list[Spot]:
        """Return the place of a program that wants to know how the call began.

        Raises:
            AttachProblem: no thunk may stand around this function.
        """
        spots = [] if is_go(probe.module.elf) else self._through(probe, function, holes)
        if not spots:
            raise AttachProblem(
                f"how a call of {function.name} began cannot be kept until it returns",
                errno=95,
                hint="keep it in a map by tid: one probe at the entry, one at the return",
            )
        return spots

    def _is_overridden(self, function: Function) -> bool:
        return function.start in self._overridden or any(
            function.start <= at < function.end for at in self._deciding
        )

    def _exits(self, probe: Probe, function: Function, holes: Holes) -> list[Spot]:
        if not function.is_whole or not function.returns or function.leaves:
            return []
        holes.barred = self._entry_sites
        return [Spot(probe, choose_exit(function, r, holes), Moment.EXIT) for r in function.returns]

    def _through(self, probe: Probe, function: Function, holes: Holes) -> list[Spot]:
        if not is_eligible(function):
            return []
        holes.barred = self._not_entered(function)
        return [Spot(probe, choose_entry(function, holes), Moment.ENTRY, through=True)]

    def _function(self, probe: Probe) -> Function:
        if probe.address not in self._functions:
            raw = self.target.code_at(probe.address, probe.size + TAIL)
            if len(raw) < probe.size or not probe.size:
                raise AttachProblem(f"the code of {probe.name} cannot be read", errno=116)
            self._check_breakpoint(probe, raw)
            self._check_hooks(probe)
            tail = raw[probe.size :]
            self._functions[probe.address] = Function(
                probe.name, probe.address, raw[: probe.size], self._padding(probe, tail), probe.others
            )
        return self._functions[probe.address]

    def _check_breakpoint(self, probe: Probe, code: bytes) -> None:
        """Refuse a function in which somebody else has put a breakpoint: the file has another byte there."""
        elf = probe.module.elf
        for at in {0, probe.at - probe.address}:
            offset = elf.to_offset(probe.address + at - probe.module.bias)
            if code[at] == BREAKPOINT and offset >= 0 and elf.data[offset] != BREAKPOINT:
                raise AttachProblem(
                    f"there is a breakpoint in {probe.name}: a kernel uprobe or a debugger",
                    errno=116,
                    hint="end the other tracer first",
                )

    def _check_hooks(self, probe: Probe) -> None:
        """Refuse a function that Frida has hooked: it rewrites its first bytes without asking."""
        for site in self.target.sites:
            inside = probe.address <= site.at < probe.address + probe.size
            if inside and is_hooked(site) and not is_back(self.target, site):
                raise AttachProblem(
                    f"another kind of probe owns a place in {probe.name}",
                    errno=16,
                    hint="use --backend frida",
                )

    def _padding(self, probe: Probe, tail: bytes) -> bytes:
        """Return the bytes behind a function that can only be padding: up to a 16-byte border or function."""
        end = probe.address + probe.size
        room = -end % 16
        following = self._ranges_of(probe.module).next_start(end - probe.module.bias)
        if following:
            room = min(room, following + probe.module.bias - end)
        return tail[:room]

    def _ranges_of(self, module: Module) -> FunctionRanges:
        return ranges_of(module.elf)

    def _holes_near(self, module: Module, function: Function) -> Holes:
        """Return the module's holes with those near a function's ends filled in."""
        if module.start not in self._holes:
            self._holes[module.start] = Holes()
            for site in self.target.sites:
                if site.state == SiteState.FREE:
                    continue
                if site.hole:
                    self._holes[module.start].keep(site.at, site.hole)
                elif module.contains(site.at):
                    self._holes[module.start].bar(site.at)
        holes = self._holes[module.start]
        ranges = self._ranges_of(module)
        low, high = function.start - REACH - 16, function.end + REACH
        for end in ranges.ends_in(low - module.bias, high - module.bias):
            if end + module.bias not in self._searched:
                self._searched.add(end + module.bias)
                self._offer(holes, module, ranges, end + module.bias)
        return holes

    def _offer(self, holes: Holes, module: Module, ranges: FunctionRanges, end: int) -> None:
        room = -end % 16
        following = ranges.next_start(end - module.bias)
        if following:
            room = min(room, following + module.bias - end)
        if room < 5 or ranges.containing(end - module.bias):
            return
        tail = self.target.code_at(end, room)
        padding = Function("", end, b"", tail).padding
        if padding >= 5:
            holes.add(end, padding)


def _returns_of_go(function: Function) -> AttachProblem:
    """Go moves its stacks and reads the return addresses on them: no frame of ours may be among its own."""
    return AttachProblem(
        f"the returns of {function.name} cannot be probed in place, and Go allows no other way",
        errno=95,
        hint="probe its entry, or one of its instructions: FUNCTION+OFFSET",
    )


def _decision(probe: Probe, function: Function, holes: Holes) -> Spot:
    """Return the place of a program that decides whether the function runs.

    Raises:
        AttachProblem: nobody waits for this function's return, or its result is no plain value.
    """
    if function.name in STARTERS or (function.is_whole and not function.returns and not function.leaves):
        raise AttachProblem(f"{function.name} never returns: it cannot be overridden", errno=95)
    return Spot(probe, choose_entry(function, holes), Moment.ENTRY)
