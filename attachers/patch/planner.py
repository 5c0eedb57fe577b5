"""From probes to an attach plan: choose sites, lay images and thunks out in an arena, write them.

One probe that cannot be placed never fails the others: it is listed in `refused` with its reason.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass, field

from attachers.patch import kept
from attachers.patch.assemble import Code
from attachers.patch.callthrough import NEVER, is_eligible
from attachers.patch.function import Function, inner_padding
from attachers.patch.grace import settle
from attachers.patch.holes import REACH, Holes
from attachers.patch.kept import Outcome
from attachers.patch.plan import EXIT, AttachPlan, Probe, Site, When
from attachers.patch.site import choose_at, choose_entry, choose_exit
from attachers.patch.spot import Spot
from attachers.patch.thunk import (
    Moment,
    Run,
    emit_call_through,
    emit_displaced,
    emit_runs,
    emit_swap,
    emit_way_back,
)
from attachers.patch.unwind import unwind_entries
from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState
from runtime.errors import AttachProblem, TargetProblem
from runtime.jit.link import link, link_size
from runtime.shm.session import Session
from runtime.symbols.functions import bodies_in, ranges_of
from runtime.symbols.modules import Module
from runtime.symbols.ranges import FunctionRanges

TAIL = 32  # bytes read behind a function
MANY = 32  # probes from which on a module's code is read at once
BREAKPOINT = 0xCC  # int3
NO_ROOM = 28  # ENOSPC
THUNK_ROOM = 512  # more than any thunk needs without its programs' words


@dataclass
class Planner:
    """Plans for one process and one session. `swap`: return addresses may be replaced if need be."""

    target: Target
    session: Session
    swap: bool = False
    _holes: dict[int, Holes] = field(default_factory=dict)
    _functions: dict[int, Function] = field(default_factory=dict)
    _searched: set[int] = field(default_factory=set)
    _exit_sites: set[int] = field(default_factory=set)
    _entry_sites: set[int] = field(default_factory=set)
    _slots: dict[int, int] = field(default_factory=dict)
    _free_slots: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        sites = self.target.sites
        armed = [s for s in sites if s.state == SiteState.ARMED]
        self._exit_sites = {s.at for s in armed if s.flags & EXIT}
        self._entry_sites = {s.at for s in armed if not s.flags & EXIT}
        self._slots = {s.at: s.index for s in sites if s.state != SiteState.FREE}
        unused = [s.index for s in sites if s.state == SiteState.FREE]
        self._free_slots = list(range(protocol.MAX_SITES - 1, len(sites) - 1, -1)) + unused[::-1]

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
        plan = AttachPlan(self.target.pid)
        spots: list[Spot] = []
        # Entries first: they need the holes more than exits do.
        ordered = sorted(probes, key=lambda p: p.when is When.RETURN)
        for module in {p.module.start: p.module for p in ordered}.values():
            group = [p for p in ordered if p.module.start == module.start]
            for probe, outcome in zip(group, self._choose_in(module, group), strict=True):
                if isinstance(outcome, AttachProblem):
                    plan.refused[probe.link] = outcome
                else:
                    spots += outcome
        if spots:
            self._write(plan, spots)
        return plan

    # --- choosing ---

    def _choose_in(self, module: Module, probes: list[Probe]) -> list[Outcome]:
        """Return the places of the probes of one module: as they were chosen before, or chosen now."""
        in_use = any(s.state != SiteState.FREE and module.contains(s.at) for s in self.target.sites)
        key = "" if in_use else kept.key_of(module, probes, self.swap, self.target.code_at)
        known = kept.load(key, probes, module.bias, self.target.code_at) if key else None
        if known is not None:
            return known
        outcomes = [self._outcome(probe) for probe in probes]
        if key:
            kept.save(key, outcomes, module.bias, self.target.code_at)
        return outcomes

    def _outcome(self, probe: Probe) -> Outcome:
        try:
            chosen = self._choose_with_more_holes(probe)
        except AttachProblem as problem:
            return problem
        for spot in chosen:
            sites = self._exit_sites if spot.moment is Moment.EXIT else self._entry_sites
            sites.add(spot.place.address)
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
            if start + module.bias in self._searched:
                continue
            self._searched.add(start + module.bias)
            code = self.target.code_at(start + module.bias, end - start)
            for hole, size in inner_padding(code, start + module.bias):
                holes.add(hole, size)

    def _choose(self, probe: Probe) -> list[Spot]:
        function = self._function(probe)
        holes = self._holes_near(probe.module, function)
        # An exit's thunk has run the displaced instructions before its program, an entry's has not: two of
        # different kinds cannot follow one another at one site.
        holes.barred = self._entry_sites if probe.when is When.RETURN else self._exit_sites
        if probe.when is When.ENTRY:
            return [Spot(probe, choose_entry(function, holes), Moment.ENTRY)]
        if probe.when is When.INSIDE:
            moment = Moment.ENTRY if probe.at == probe.address else Moment.INSIDE
            return [Spot(probe, choose_at(function, probe.at, holes), moment)]
        return self._choose_return(probe, function, holes)

    def _choose_return(self, probe: Probe, function: Function, holes: Holes) -> list[Spot]:
        reason: AttachProblem | None = None
        if function.is_whole and function.returns and not function.leaves:
            try:
                return [Spot(probe, choose_exit(function, r, holes), Moment.EXIT) for r in function.returns]
            except AttachProblem as problem:
                reason = problem
        if is_eligible(function):
            holes.barred = self._exit_sites
            return [Spot(probe, choose_entry(function, holes), Moment.ENTRY, through=True)]
        if self.swap and function.name not in NEVER and (function.returns or function.leaves):
            holes.barred = self._exit_sites
            return [Spot(probe, choose_entry(function, holes), Moment.ENTRY, swap=True)]
        if function.is_whole and not function.returns and not function.leaves:
            raise AttachProblem(f"{function.name} never returns", errno=95, hint="probe its entry: uprobe:…")
        raise reason or AttachProblem(
            f"the returns of {function.name} cannot be probed: it jumps away and reads its caller's stack",
            errno=95,
            hint="probe its entry, or add --allow-return-swap",
        )

    def _function(self, probe: Probe) -> Function:
        if probe.address not in self._functions:
            raw = self.target.code_at(probe.address, probe.size + TAIL)
            if len(raw) < probe.size or not probe.size:
                raise AttachProblem(f"the code of {probe.name} cannot be read", errno=116)
            self._check_breakpoint(probe, raw)
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

    # --- writing ---

    def _write(self, plan: AttachPlan, spots: list[Spot]) -> None:
        for module, members in self._by_module(spots):
            self._write_group(plan, module, members)

    def _by_module(self, spots: list[Spot]) -> list[tuple[Module, list[Spot]]]:
        groups: dict[int, tuple[Module, list[Spot]]] = {}
        for spot in spots:
            groups.setdefault(spot.probe.module.start, (spot.probe.module, []))[1].append(spot)
        return list(groups.values())

    def _write_group(self, plan: AttachPlan, module: Module, spots: list[Spot]) -> None:
        plan.reads_memory = plan.reads_memory or any(s.probe.image.uses_faults for s in spots)
        images = {s.probe.image.sha256: s.probe.image for s in spots}
        room = sum(link_size(i) + i.align for i in images.values())
        room += sum(THUNK_ROOM + 32 * len(s.probe.image.words) for s in spots)
        if not self.target.has_room(module.start, module.end, room):
            settle(self.target)
        arena = self.target.arena(module.start, module.end, room)
        start = (arena.base + arena.used + 63) & -64
        code = Code(start)
        entries = {}
        for sha, image in images.items():
            code.raw(b"\xcc" * (-code.here % image.align))
            entries[sha] = code.here
            code.raw(link(image, code.here, lambda symbol: self.target.resolve(self.session, symbol)))
        taken = {s.at: s for s in self.target.sites if s.state == SiteState.ARMED}
        for spot in spots:
            self._write_spot(plan, code, spot, entries[spot.probe.image.sha256], taken)
        through = {s.probe.link for s in spots if s.through}
        if through:
            size = code.here - start
            code.raw(bytes(-code.here % 8))
            plan.frames.append((code.here, frozenset(through)))
            code.raw(unwind_entries(start, size))
        plan.chunks.append((start, bytes(code.bytes), code.here - arena.base))
        arena.used = code.here - arena.base
        arena.is_kept = arena.is_kept or any(s.through or s.swap for s in spots)

    def _write_spot(
        self, plan: AttachPlan, code: Code, spot: Spot, entry: int, taken: dict[int, SiteEntry]
    ) -> None:
        before = len(code.bytes)
        try:
            thunk = self._thunk(code, spot, entry, plan, taken)
            site = Site(
                self._index(spot.place.address),
                spot.place,
                self.target.code_at(spot.place.address, 8),
                thunk,
                spot.probe.link,
                spot.probe.name,
                spot.moment is Moment.EXIT,
            )
            site.jump()
        except AttachProblem as problem:
            del code.bytes[before:]
            plan.refused[spot.probe.link] = problem
            return
        plan.by_address[site.place.address] = site
        plan.sites_of.setdefault(spot.probe.link, []).append(site.place.address)

    def _thunk(
        self, code: Code, spot: Spot, entry: int, plan: AttachPlan, taken: dict[int, SiteEntry]
    ) -> int:
        """Append one thunk with its head; returns where it starts. One that is there already follows."""
        following = self._following(plan, spot, taken)
        onward = following + self._inner(plan, code, following) if following else 0
        code.raw(b"\xcc" * (-code.here % 16))
        head = len(code.bytes)
        code.raw(bytes(protocol.THUNK.size))
        start = code.here
        probe = spot.probe
        run = Run(probe.image, entry, probe.cookie, probe.at)
        jump = 0
        if spot.swap:
            inner = start
            names = ("agent:swap_enter", "agent:swap_leave")
            enter, leave = (self.target.resolve(self.session, name) for name in names)
            jump, base = emit_swap(code, spot.place, run, (enter, leave), onward)
        elif spot.through:
            inner = start
            jump, base = emit_call_through(code, spot.place, [], [run], onward)
        else:
            inner = emit_displaced(code, spot.place) if spot.moment is Moment.EXIT else start
            emit_runs(code, spot.place, spot.moment, [run])
            base = code.here
            if onward:
                jump = code.jump_aligned(onward)
            else:
                emit_way_back(code, spot.place)
        code.bytes[head : head + protocol.THUNK.size] = protocol.THUNK.pack(
            session=probe.session,
            link=probe.link,
            kind=2 if spot.through else 1,
            next=following,
            inner=inner - start,
            base=base,
            jump=jump,
            bytes=code.here - start,
        )
        return start

    def _following(self, plan: AttachPlan, spot: Spot, taken: dict[int, SiteEntry]) -> int:
        """Return the thunk that stands at the same site already, 0 none."""
        address = spot.place.address
        if address in plan.by_address:
            return plan.by_address[address].thunk
        old = taken.get(address)
        if old is None:
            return 0
        if old.hole != spot.place.hole or old.kind != spot.place.kind:
            raise AttachProblem(f"another probe owns the place {address:#x}", errno=16)
        return old.thunk

    def _inner(self, plan: AttachPlan, code: Code, thunk: int) -> int:
        """Return where another thunk is entered by one before it: behind displaced instructions."""
        head = thunk - protocol.THUNK.size
        if code.base <= head < code.here:
            return protocol.THUNK.get(code.bytes, "inner", head - code.base)
        for start, chunk, _ in plan.chunks:
            if start <= head < start + len(chunk):
                return protocol.THUNK.get(chunk, "inner", head - start)
        return protocol.THUNK.get(self.target.memory.read(head, protocol.THUNK.size), "inner")

    def _index(self, address: int) -> int:
        """Return the slot of the site table for an address: its old one, else a free one."""
        if address in self._slots:
            return self._slots[address]
        if not self._free_slots:
            raise TargetProblem(f"the process has more than {protocol.MAX_SITES} sites")
        self._slots[address] = self._free_slots.pop()
        return self._slots[address]
