"""The fixpoint: states flow along edges, are joined where edges meet, and widened at loop heads."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappop, heappush

from runtime.ebpf.insn import ALU32, ALU64, JMP, JMP32
from runtime.types import ContextKind
from runtime.verify import compute, jumps, memory
from runtime.verify.analysis import Analysis
from runtime.verify.number import const, unsigned
from runtime.verify.state import Frame, Joiner, State, canonical, same, shape
from runtime.verify.value import CONTEXT, INPUT, STACK, scalar

MAX_WORK = 1_000_000  # visited instructions beyond the program's own length, calls counted several times
MAX_STATES = 300_000
MAX_SHAPES = 16  # different states kept at one place before they are merged
EXACT_JOINS = 3  # joins at a loop head before numbers are widened
LAST_JOINS = 24  # joins after which numbers are widened to anything
_MAX_STEPS = 40
_BASE_STEPS = (0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
_CALL_WORK = 6

Place = tuple[tuple[int, ...], int]  # pcs of open calls, pc


class Kept:
    """A state kept at a join; `waiting` is set while it must still be interpreted."""

    __slots__ = ("joins", "state", "waiting")

    def __init__(self, state: State) -> None:
        self.state = state
        self.joins = 0
        self.waiting = True


class Engine:
    """Interprets one program until nothing new is learnt."""

    def __init__(self, a: Analysis) -> None:
        self.a = a
        self.places: dict[Place, dict[object, Kept]] = {}
        self.queue: list[tuple[tuple[int, ...], int, int, Kept | None, State | None]] = []
        self.order = 0
        self.work = 0
        self.states = 0
        self.steps: dict[int, tuple[int, ...]] = {}

    def run(self) -> None:
        """Interpret from the entry to the fixpoint.

        Raises:
            Refused: the program is not safe, or too complex.
        """
        self.arrive(0, self.entry())
        while self.queue:
            _, _, pc, kept, state = heappop(self.queue)
            if kept is not None:
                kept.waiting = False
                state = kept.state.copy()
            assert state is not None
            self.follow(pc, state)

    def entry(self) -> State:
        """The state at the first instruction."""
        state = State([None] * 11, (Frame(0),))
        state.regs[10] = (STACK, 0, const(0))
        if self.a.program.context is ContextKind.MEMORY:
            state.regs[1] = (INPUT, 0, const(0))
            state.regs[2] = scalar(unsigned(0, (1 << 63) - 1))
        else:
            state.regs[1] = (CONTEXT, 0, const(0))
        return state

    def follow(self, pc: int, state: State) -> None:
        """Interpret straight-line code from `pc` to the next places where states are kept."""
        a, flow = self.a, self.a.flow
        insns, joins, visited = flow.insns, flow.joins, a.facts.visited
        while True:
            insn = insns[pc]
            assert insn is not None
            visited.add(pc)
            self.work += 1
            kind = insn.op & 7
            if kind in (ALU64, ALU32):
                compute.step(a, state, pc, insn)
            elif kind in (JMP, JMP32):
                self.spend(state, pc, _CALL_WORK if insn.op in (0x85, 0x8D, 0x95) else 1)
                for to, after in jumps.step(a, state, pc, insn):
                    self.arrive(to, after)
                return
            else:
                memory.step(a, state, pc, insn)
            pc = flow.next[pc][0]
            if pc in joins:
                self.spend(state, pc, 1)
                self.arrive(pc, state)
                return

    def spend(self, state: State, pc: int, amount: int) -> None:
        """Count work and states against the limits."""
        self.work += amount
        if self.work > MAX_WORK + 2 * len(self.a.flow.next) or self.states > MAX_STATES:
            self.a.refuse(
                state,
                pc,
                f"the program is too complex: {self.work} instructions were followed",
                "make it simpler",
            )

    def arrive(self, pc: int, state: State) -> None:
        """Hand a state to a place; it is queued when it adds something."""
        live = self.a.flow.live[pc]
        regs = state.regs
        for number in range(10):
            if not live >> number & 1:
                regs[number] = None
        calls = state.calls()
        if pc not in self.a.flow.joins:
            self.push(calls, pc, None, state)
            return
        kept_here = self.places.setdefault((calls, pc), {})
        key: object = shape(state)
        kept = kept_here.get(key)
        if kept is None and len(kept_here) >= MAX_SHAPES:
            key = ("merged", state.refs, state.lock)
            kept = kept_here.get(key)
        if kept is None:
            kept_here[key] = kept = Kept(canonical(state))
            self.states += 1
            self.push(calls, pc, kept, None)
        elif self.merge(kept, state, pc) and not kept.waiting:
            kept.waiting = True
            self.push(calls, pc, kept, None)

    def push(self, calls: tuple[int, ...], pc: int, kept: Kept | None, state: State | None) -> None:
        """Queue work; earlier code goes first, so that a join is interpreted once all its edges arrived."""
        self.order += 1
        heappush(self.queue, ((*calls, pc), self.order, pc, kept, state))

    def merge(self, kept: Kept, state: State, pc: int) -> bool:
        """Join a state into a kept one; True when that made it larger."""
        kept.joins += 1
        self.work += 2
        steps = None
        frame = state.frames[-1]
        is_head = pc in self.a.flow.heads or (frame.callback and pc == frame.entry)
        if is_head and kept.joins > EXACT_JOINS:
            steps = self.steps_of(pc) if kept.joins <= LAST_JOINS else (0, (1 << 63) - 1, (1 << 64) - 1)
        joined = Joiner(steps).states(kept.state, state)
        if same(joined, kept.state):
            return False
        kept.state = joined
        return True

    def steps_of(self, pc: int) -> tuple[int, ...]:
        """Where widening stops in the function around `pc`: constants that it compares with."""
        starts = self.a.flow.starts
        number = bisect_right(starts, pc) - 1
        if starts[number] not in self.steps:
            end = starts[number + 1] if number + 1 < len(starts) else len(self.a.flow.insns)
            found = set(_BASE_STEPS)
            for insn in self.a.flow.insns[starts[number] : end]:
                if insn is not None and insn.is_conditional and not insn.op & 8 and insn.imm > 0:
                    found.update((insn.imm - 1, insn.imm, insn.imm + 1))
                if len(found) > _MAX_STEPS:
                    break
            self.steps[starts[number]] = tuple(sorted(found))
        return self.steps[starts[number]]
