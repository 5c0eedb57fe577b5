"""Chosen places become code: images linked into an arena, thunks that call them, sites that lead there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from attachers.patch.assemble import JUMP, Code, relative
from attachers.patch.chain import DECIDING, Entered, Node, chain, place_of
from attachers.patch.grace import settle
from attachers.patch.guard import GUARD_ROOM, emit_guard
from attachers.patch.hooked import is_hooked
from attachers.patch.marker import MarkerWords, reads_memory
from attachers.patch.override import emit_override, emit_replace
from attachers.patch.plan import DECIDES, EXIT, AttachPlan, Probe, Site, When
from attachers.patch.site import Place
from attachers.patch.spot import Spot
from attachers.patch.thunk import (
    KEPT,
    Moment,
    Run,
    emit_call_through,
    emit_displaced,
    emit_onward,
    emit_runs,
    emit_swap,
    frame_of,
)
from attachers.patch.unwind import unwind_entries
from attachers.target import SiteEntry, Target
from runtime.agent import protocol
from runtime.agent.protocol import SiteState, ThunkKind
from runtime.errors import AttachProblem, TargetProblem
from runtime.jit.link import link, link_size
from runtime.shm.session import Session
from runtime.symbols.modules import Module

LINE = 64  # bytes of a cache line: a thunk begins one, its head fills the one before
THUNK_ROOM = 576  # more than any thunk needs without its programs' words
RETS = (b"\xc3", b"\xc2", b"\xf3\xc3", b"\xf2\xc3")


@dataclass
class Writer:
    """Writes the code of one plan. `slots`: indices of the agent's site table by address."""

    target: Target
    session: Session
    plan: AttachPlan
    spots: list[Spot]
    _armed: dict[int, SiteEntry] = field(default_factory=dict)
    _slots: dict[int, int] = field(default_factory=dict)
    _free_slots: Iterator[int] = field(default_factory=lambda: iter(()))
    _entries: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sites = self.target.sites
        self._armed = {s.at: s for s in sites if s.state == SiteState.ARMED and not is_hooked(s)}
        self._slots = {s.at: s.index for s in sites if s.state != SiteState.FREE and not is_hooked(s)}
        unused = [s.index for s in sites if s.state == SiteState.FREE]
        self._free_slots = itertools.chain(unused, range(len(sites), protocol.MAX_SITES))

    def write(self) -> None:
        """Put code, sites and unwind entries into the plan; what cannot be done there is refused in it.

        Raises:
            TargetProblem: the process has no room for code.
        """
        groups: dict[int, tuple[Module, list[Spot]]] = {}
        for spot in self.spots:
            groups.setdefault(spot.probe.module.start, (spot.probe.module, []))[1].append(spot)
        rooms = [(module, _room(members)) for module, members in groups.values()]
        # Waiting gives arenas back only where nothing is armed; and not what this very plan is to fill.
        if not self._armed and not all(self.target.has_room(m.start, m.end, room) for m, room in rooms):
            settle(self.target)
        for module, members in groups.values():
            self._write_group(module, members)

    def _write_group(self, module: Module, spots: list[Spot]) -> None:
        plan = self.plan
        plan.reads_memory = plan.reads_memory or any(
            s.probe.image.uses_faults or reads_memory(s.probe.image.words, s.probe.marker) for s in spots
        )
        images = {s.probe.image.sha256: s.probe.image for s in spots}
        arena = self.target.arena(module.start, module.end, _room(spots))
        start = (arena.base + arena.used + 63) & -64
        code = Code(start)
        self._entries = {}
        for sha, image in images.items():
            guarded = emit_guard(code, self.target, image)
            code.raw(b"\xcc" * (-code.here % image.align))
            self._entries[sha] = guarded or code.here
            code.raw(link(image, code.here, lambda symbol: self.target.resolve(self.session, symbol)))
        by_place: dict[int, list[Spot]] = {}
        for spot in spots:
            by_place.setdefault(spot.place.address, []).append(spot)
        for members in by_place.values():
            self._write_chain(code, members)
        through = {s.probe.link for s in spots if s.through}
        if through:
            size = code.here - start
            code.raw(bytes(-code.here % 8))
            plan.frames.append((code.here, frozenset(through)))
            code.raw(unwind_entries(start, size, self._large_frames(start, size)))
        plan.chunks.append((start, bytes(code.bytes), code.here - arena.base))
        arena.used = code.here - arena.base
        arena.is_kept = arena.is_kept or any(s.through or s.swap for s in spots)

    def _large_frames(self, start: int, size: int) -> dict[tuple[int, int], int]:
        """Return the thunks of a range that keep words of the call's beginning, and their frames' bytes."""
        found = {}
        for spot, at, length in self.plan.thunks:
            kept = [w for w in spot.probe.image.words if w.startswith(KEPT)] if spot.through else []
            if kept and start <= at < start + size:
                found[at, length] = frame_of(kept)
        return found

    # --- one site ---

    def _write_chain(self, code: Code, spots: list[Spot]) -> None:
        """Write the new thunks of one site between those that stand there, the last one first."""
        old = self._armed.get(spots[0].place.address)
        order: list[Node | Spot] = list(chain(self.target, old)) if old else []
        for spot in spots:
            try:
                self._enter(order, spot, old)
            except AttachProblem as problem:
                self.plan.refused[spot.probe.link] = problem
        following: Entered | None = None
        written: list[Spot] = []
        relinks, heads = list(self.plan.relinks), list(self.plan.heads)
        for one in reversed(order):
            before = len(code.bytes)
            try:
                following = self._follow(code, one, following)
                written += [one] if isinstance(one, Spot) else []
            except AttachProblem as problem:
                if isinstance(one, Spot):
                    del code.bytes[before:]
                    self.plan.refused[one.probe.link] = problem
                    continue
                self.plan.relinks, self.plan.heads = relinks, heads
                self.plan.refused.update({s.probe.link: problem for s in spots})
                return
        if written and following:
            self._enter_site(written[::-1], following.thunk, old)

    def _enter(self, order: list[Node | Spot], spot: Spot, old: SiteEntry | None) -> None:
        """Put a spot at its place among a site's thunks.

        Raises:
            AttachProblem: it does not go with what is there.
        """
        if old and (old.hole, old.kind) != (spot.place.hole, spot.place.kind):
            raise AttachProblem(f"another probe owns the place {spot.place.address:#x}", errno=16)
        kinds = [int(one.kind) for one in order]
        if spot.kind in DECIDING and spot.kind in kinds:
            raise AttachProblem(
                f"another program decides already whether {spot.probe.name} runs",
                errno=17,
                hint="detach that one first: bpftime list shows it",
            )
        order.insert(place_of(spot.kind, kinds), spot)

    def _follow(self, code: Code, one: Node | Spot, following: Entered | None) -> Entered:
        """Let one thunk, new or there, be followed by another; returns where it starts and is entered."""
        onward = following.entered_from(one.level) if following else 0
        then = following.thunk if following else 0
        if isinstance(one, Spot):
            start, inner = self._thunk(code, one, then, onward)
            return Entered(start, inner, one.level)
        self._lead_on(one, then, onward)
        return Entered(one.thunk, one.inner, one.level)

    def _lead_on(self, node: Node, following: int, inner: int) -> None:
        """Let a thunk that is there lead to another one than now."""
        if node.next != following:
            onward = inner or node.base
            relative(onward, node.jump + JUMP)  # raises where it is out of reach
            self.plan.relinks.append((node.jump, onward))
            self.plan.heads.append((node.thunk, following))

    def _enter_site(self, written: list[Spot], thunk: int, old: SiteEntry | None) -> None:
        spot = written[0]
        flags = (EXIT if spot.is_late else 0) | (old.flags if old else 0)
        if any(s.kind is ThunkKind.OVERRIDE for s in written):
            flags |= DECIDES
        address = spot.place.address
        live = self.target.code_at(address, 8)
        site = Site(self._index(address), spot.place, live, thunk, spot.probe.link, spot.probe.name, flags)
        try:
            site.jump()
        except AttachProblem as problem:
            self.plan.refused.update({s.probe.link: problem for s in written})
            return
        self.plan.by_address[address] = site
        for one in written:
            self.plan.sites_of.setdefault(one.probe.link, []).append(address)
            if one.probe.semaphore:
                self.plan.counters.setdefault((one.probe.link, one.probe.semaphore), set()).add(address)

    def _thunk(self, code: Code, spot: Spot, following: int, onward: int) -> tuple[int, int]:
        """Append one thunk with its head; returns where it starts and where one before it enters it."""
        code.raw(b"\xcc" * (-code.here % LINE))
        head = len(code.bytes)
        code.raw(bytes(protocol.THUNK.size))
        start = code.here
        inner, jump, base = self._emit(code, spot, onward)
        code.bytes[head : head + protocol.THUNK.size] = protocol.THUNK.pack(
            session=spot.probe.session,
            link=spot.probe.link,
            kind=int(spot.kind),
            next=following,
            inner=inner - start,
            base=base,
            jump=jump,
            bytes=code.here - start,
            semaphore=spot.probe.semaphore,
        )
        self.plan.thunks.append((spot, start, code.here - start))
        return start, inner

    def _emit(self, code: Code, spot: Spot, onward: int) -> tuple[int, int, int]:
        """Append a thunk's code; returns where it is entered by another one, its last jump, its way back."""
        place, probe, inner = spot.place, spot.probe, code.here
        entry = self._entries[probe.image.sha256]
        run = Run(probe.image, entry, probe.cookie, probe.at, self._arguments(probe, place))
        if spot.emit is not None:
            return spot.emit(code, run, onward)
        if spot.swap:
            names = ("agent:swap_enter", "agent:swap_leave")
            enter, leave = (self.target.resolve(self.session, name) for name in names)
            return inner, *emit_swap(code, place, run, (enter, leave), onward)
        if spot.through:
            clock = self.target.resolve(self.session, "agent:clock_read")
            return inner, *emit_call_through(code, place, [run], onward, clock)
        if probe.when is When.REPLACE:
            return inner, *emit_replace(code, place, run, self._landing(spot))
        if probe.when is When.OVERRIDE:
            return inner, *emit_override(code, place, run, self._landing(spot), onward)
        if spot.is_late:
            inner = emit_displaced(code, place)
        emit_runs(code, place, spot.moment, [run])
        return inner, *emit_onward(code, place, onward)

    def _arguments(self, probe: Probe, place: Place) -> MarkerWords | None:
        """Return what computes the arguments of a marker."""
        if probe.marker is None:
            return None
        lost = place.stale & set(probe.image.words)
        if lost:
            raise AttachProblem(
                f"register {min(lost)} is lost where {probe.marker.full_name} has room for a jump",
                errno=95,
                hint="its arguments can be used: arg0, arg1, …",
            )
        return MarkerWords(
            probe.marker, probe.module, lambda size: self.target.resolve(self.session, f"agent:load_{size}")
        )

    def _landing(self, spot: Spot) -> int:
        """Return a probed `ret` of the function by which an overridden call can leave, 0 if none is probed.

        Raises:
            AttachProblem: its returns are probed where such a call does not come by.
        """
        start, end = spot.probe.address, spot.probe.address + spot.probe.size
        bare = {
            s.place.address: not s.place.displaced
            for s in self.spots
            if s.moment is Moment.EXIT and s.probe.address == start
        }
        for site in self._armed.values():
            if start <= site.at < end and site.flags & EXIT:
                bare[site.at] = self.target.code_at(site.at, 2).startswith(RETS)
        if bare and not any(bare.values()):
            raise AttachProblem(
                f"return probes of {spot.probe.name} would miss the calls that do not run",
                errno=16,
                hint="attach the override first, then the return probe",
            )
        return next((at for at, is_ret in bare.items() if is_ret), 0)

    def _index(self, address: int) -> int:
        """Return the slot of the site table for an address: its old one, else a free one."""
        if address in self._slots:
            return self._slots[address]
        slot = next(self._free_slots, None)
        if slot is None:
            raise TargetProblem(f"the process has more than {protocol.MAX_SITES} sites")
        self._slots[address] = slot
        return slot


def _room(spots: list[Spot]) -> int:
    """Return the bytes of an arena that the images and thunks of some spots take at most."""
    images = {s.probe.image.sha256: s.probe.image for s in spots}
    room = sum(link_size(i) + i.align + GUARD_ROOM for i in images.values())
    return room + sum(THUNK_ROOM + 32 * len(s.probe.image.words) for s in spots)
