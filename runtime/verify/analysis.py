"""What all steps of one verification share: the program, its maps, the facts so far, and how to refuse."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from runtime.ebpf.context import LAYOUTS, Layout
from runtime.ebpf.object import Program
from runtime.errors import Refused, Span, Unsupported
from runtime.helpers.device import helpers_in, reason_on_device
from runtime.helpers.table import HELPERS, Helper, reason_of
from runtime.maps.spec import MapSpec
from runtime.types import DEVICE_KINDS
from runtime.verify.facts import Facts
from runtime.verify.flow import Flow
from runtime.verify.number import const
from runtime.verify.state import State
from runtime.verify.value import (
    MAP,
    MAYBE_MAP,
    MEMORY,
    NULL,
    STACK,
    Region,
    RegionKind,
    Value,
)

READ_ONLY = 0x80  # BPF_F_RDONLY_PROG
TRAIL = 24  # branches of the path that a refusal tells


@dataclass(slots=True)
class Analysis:
    """One verification. `counters`: additions inside loops whose range is wanted.

    `helpers`: what may be called, by number.
    """

    program: Program
    flow: Flow
    maps: dict[str, MapSpec]
    facts: Facts = field(default_factory=Facts)
    counters: set[int] = field(default_factory=set)
    layout: Layout | None = None
    helpers: Mapping[int, Helper] = field(default_factory=lambda: HELPERS)
    idents: int = 1 << 20  # fresh idents for copies; joined states use small ones
    line_starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, program: Program, flow: Flow, maps: Mapping[str, MapSpec]) -> Analysis:
        """Set up for one program; inner map templates are found by their names."""
        specs = dict(maps)
        for spec in maps.values():
            if spec.inner is not None:
                specs[spec.inner.name] = spec.inner
        lines = sorted(program.lines)
        helpers = HELPERS if program.context not in DEVICE_KINDS else helpers_in(program.context)
        layout = LAYOUTS.get(program.context)
        return cls(program, flow, specs, layout=layout, line_starts=lines, helpers=helpers)

    def fresh(self) -> int:
        """An ident that no other scalar has."""
        self.idents += 1
        return self.idents

    def span(self, pc: int) -> Span | None:
        """Source of an instruction, None without line information."""
        index = bisect_right(self.line_starts, pc) - 1
        return self.program.lines[self.line_starts[index]] if index >= 0 else None

    def place(self, pc: int) -> str:
        """An instruction in words: its line when known."""
        span = self.span(pc)
        return f"line {span.line}" if span else f"insn {pc}"

    def refuse(self, state: State, pc: int, text: str, hint: str = "") -> NoReturn:
        """Raise `Refused` for an instruction."""
        raise self.problem(Refused, state, pc, text, hint)

    def unsupported(self, state: State, pc: int, text: str, hint: str = "") -> NoReturn:
        """Raise `Unsupported` for an instruction."""
        raise self.problem(Unsupported, state, pc, text, hint)

    def problem(self, kind: type[Refused], state: State, pc: int, text: str, hint: str) -> Refused:
        """The exception for an instruction, with its line and the path that led there."""
        span = self.span(pc)
        pcs = state.trail.pcs(TRAIL) if state.trail else []
        trace = tuple(f"branch at {self.place(at)}" for at in pcs)
        where = "" if span else f"insn {pc}: "
        return kind(f"{where}{text}", span=span, hint=hint, trace=trace)

    def register(self, state: State, pc: int, number: int) -> Value:
        """The value of a register that an instruction reads."""
        value = state.regs[number]
        if value is None:
            self.refuse(state, pc, f"r{number} is used before it is set")
        return value

    def reason(self, number: int) -> str:
        """Why a helper cannot be called."""
        return reason_on_device(number) if self.program.context in DEVICE_KINDS else reason_of(number)

    def spec(self, name: str) -> MapSpec:
        """The map of that name, or the template of an outer map's elements."""
        return self.maps[name]

    def value_region(self, spec: MapSpec, origin: tuple[tuple[int, ...], int] | None) -> Region:
        """Memory of one value of a map."""
        return Region(RegionKind.VALUE, spec.name, spec.value_size, not spec.flags & READ_ONLY, origin)


def forget_results(a: Analysis, state: State, pc: int) -> None:
    """Before the call at `pc` runs again: pointers from its last run lose their base.

    Raises:
        Refused: a ring record of that run is still open.
    """
    depth = state.depth
    if any(path[0] == pc and at == depth for path, at in state.refs):
        a.refuse(
            state, pc, "a ring-buffer record of an earlier iteration was neither submitted nor discarded"
        )

    def change(value: Value) -> Value | None:
        region = value[1]
        if not isinstance(region, Region) or region.origin is None:
            return value
        if region.origin[0][0] != pc or region.origin[1] != depth:
            return value
        if value[0] == MEMORY and region.kind is not RegionKind.RECORD:
            return (MEMORY, region._replace(origin=None), value[2])
        return None

    state.rewrite(change)


def leave(state: State, call: int, depth: int) -> None:
    """After the function at `depth` returned to the call: its stack is gone, its pointers are the call's."""

    def change(value: Value) -> Value | None:
        ident = value[1]
        if value[0] == STACK:
            return None if ident == depth else value
        if isinstance(ident, Region) and ident.origin is not None and ident.origin[1] == depth:
            return (value[0], ident._replace(origin=((call, *ident.origin[0]), depth - 1)), value[2])
        return value

    state.rewrite(change)
    state.refs = frozenset(((call, *path), at - 1) if at == depth else (path, at) for path, at in state.refs)


def learn_null(state: State, value: Value, null: bool) -> None:
    """All copies of a maybe-null pointer become 0 or a pointer; a record that was not given is not open."""
    tag, ident, _ = value
    certain = (MEMORY, ident, const(0))
    if tag == MAYBE_MAP and isinstance(ident, Region):
        certain = (MAP, ident.map, const(0))

    def change(held: Value) -> Value:
        if held[0] == tag and held[1] == ident:
            return NULL if null else certain
        return held

    state.rewrite(change)
    if null and isinstance(ident, Region) and ident.origin is not None:
        state.refs -= {ident.origin}


def release(state: State, region: Region) -> None:
    """A ring record was handed over: no copy of its pointer may be used any more."""

    def change(held: Value) -> Value | None:
        return None if held[1] == region else held

    state.rewrite(change)
    state.refs -= {region.origin} if region.origin else frozenset()
