"""The front door: verify one program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runtime.ebpf.object import Program
from runtime.helpers.table import HELPERS, MAP_ITERATE, Helper
from runtime.maps.spec import MapSpec
from runtime.types import DEVICE_KINDS
from runtime.verify import loops
from runtime.verify.analysis import Analysis
from runtime.verify.calls import LOOP
from runtime.verify.engine import Engine
from runtime.verify.flow import Flow, scan
from runtime.verify.result import Verified

if TYPE_CHECKING:
    from runtime.btf import Btf

FEW_LOOPS = 1 << 16  # runs of a callback that need no fuel
HEAD = 8  # instructions from the head of a loop over a map to its step


def verify(
    program: Program,
    maps: Mapping[str, MapSpec],
    btf: Btf | None = None,
    helpers: Mapping[int, Helper] | None = None,
) -> Verified:
    """Prove that a program cannot harm its target, and what the compiler may rely on.

    `maps`: all maps that the program refers to, by name. `btf`: types for messages.
    `helpers`: what may be called besides our own, by number (see `runtime.helpers.custom`).

    Raises:
        Refused: the program is not safe; `span` and `trace` say where.
        Unsupported: it asks for something that user space cannot serve.
    """
    del btf
    flow = scan(program.insns)
    a = Analysis.of(program, flow, maps)
    a.counters = loops.counters(flow)
    if helpers and program.context not in DEVICE_KINDS:
        a.helpers = {**helpers, **HELPERS}
    Engine(a).run()
    return _result(a, helpers or {})


def _walks_map(a: Analysis, pc: int) -> bool:
    """Tell whether a loop that goes back at `pc` begins with a step over a map, which has an end."""
    start = min(a.flow.next[pc])
    steps = (at for at, call in a.facts.calls.items() if call.helper == MAP_ITERATE)
    return any(0 <= at - start <= HEAD for at in steps)


def _result(a: Analysis, helpers: Mapping[int, Helper]) -> Verified:
    facts = a.facts
    fuel = loops.unproven(_reached(a), facts.ranges) & facts.visited
    rounds = loops.DEVICE_ROUNDS if a.program.context in DEVICE_KINDS else loops.MAX_ROUNDS
    unbounded = [
        f"{a.span(pc) or f'insn {pc}'}: loop bound not known; limited to {rounds} iterations per run"
        for pc in sorted(fuel)
        if not _walks_map(a, pc)
    ]
    loop_calls = {pc: call for pc, call in facts.calls.items() if call.helper == LOOP}
    fuel |= {pc for pc, call in loop_calls.items() if _runs_often(call.constants.get(1))}
    result = next(iter(facts.results)) if len(facts.results) == 1 else None
    stack = {start: 0 for start in a.flow.starts if start in facts.visited}
    stack |= {start: -lowest for start, lowest in facts.stack.items()}
    called = {call.helper for call in facts.calls.values()}
    return Verified(
        program=a.program,
        accesses=facts.final(),
        calls=facts.calls,
        reachable=frozenset(facts.visited),
        needs=frozenset(facts.needs),
        decided={pc: seen == 2 for pc, seen in facts.outcomes.items() if seen in (1, 2)},
        fuel=bool(fuel),
        fuel_edges=frozenset(fuel),
        stack=stack,
        warnings=tuple(facts.warnings[pc] for pc in sorted(facts.warnings)),
        unbounded=tuple(unbounded),
        r0_constant=result,
        custom={number: len(helper.args) for number, helper in helpers.items() if number in called},
    )


def _runs_often(count: int | None) -> bool:
    return count is None or count > FEW_LOOPS


def _reached(a: Analysis) -> Flow:
    """The control flow without what interpretation never took."""
    taken: dict[int, tuple[int, ...]] = {}
    for pc, targets in a.flow.next.items():
        if pc not in a.facts.visited:
            continue
        seen = a.facts.outcomes.get(pc, 3) if len(targets) == 2 else 3
        kept = targets if seen == 3 else targets[:1] if seen == 1 else targets[1:]
        taken[pc] = tuple(to for to in kept if to in a.facts.visited)
    return Flow(a.flow.insns, taken, a.flow.starts)
