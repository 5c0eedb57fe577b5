"""Which loops end: a lexicographic ranking by counters, and what is left for the fuel counter.

A strongly connected part of the control flow ends when some register changes in it only by adding one
constant, every round passes that addition, and interpretation showed a bounded range for the register there.
Without that instruction the part falls apart into smaller ones, which are treated the same way.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.ebpf.insn import ADD, ALU32, ALU64, OP_MAY_GOTO, SUB
from runtime.verify.flow import Flow, writes_of
from runtime.verify.number import W32, W64, Number

MAX_ROUNDS = 1 << 23
DEVICE_ROUNDS = 1 << 20  # of one thread in a GPU kernel, which has thousands of them
_MAX_DEPTH = 32  # nested loops that are looked at


def parts(flow: Flow, nodes: set[int]) -> list[set[int]]:
    """Strongly connected parts of the control flow between `nodes` that hold a cycle (Tarjan, iterative)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    out: list[set[int]] = []
    for root in nodes:
        if root not in index:
            _visit(root, flow, nodes, (index, low, stack, on_stack, out))
    return out


def _visit(
    root: int,
    flow: Flow,
    nodes: set[int],
    tables: tuple[dict[int, int], dict[int, int], list[int], set[int], list[set[int]]],
) -> None:
    index, low, stack, on_stack, out = tables
    work = [(root, 0)]
    while work:
        pc, position = work.pop()
        if position == 0:
            index[pc] = low[pc] = len(index)
            stack.append(pc)
            on_stack.add(pc)
        targets = flow.next[pc]
        for number in range(position, len(targets)):
            to = targets[number]
            if to not in nodes:
                continue
            if to not in index:
                work.append((pc, number + 1))
                work.append((to, 0))
                break
            if to in on_stack:
                low[pc] = min(low[pc], index[to])
        else:
            if low[pc] == index[pc]:
                _take(pc, flow, stack, on_stack, out)
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[pc])


def _take(pc: int, flow: Flow, stack: list[int], on_stack: set[int], out: list[set[int]]) -> None:
    part: set[int] = set()
    while True:
        node = stack.pop()
        on_stack.discard(node)
        part.add(node)
        if node == pc:
            break
    if len(part) > 1 or pc in flow.next[pc]:
        out.append(part)


def counters(flow: Flow) -> set[int]:
    """Additions of a constant inside loops: their ranges decide whether the loops end."""
    if not flow.heads:
        return set()
    return {pc for part in parts(flow, set(flow.next)) for pc in part if _step(flow, pc)}


def _step(flow: Flow, pc: int) -> int:
    """The constant that the instruction adds to a register, 0 for other instructions."""
    insn = flow.insn(pc)
    if insn.kind not in (ALU32, ALU64) or insn.op & 8 or insn.op >> 4 not in (ADD, SUB):
        return 0
    return insn.imm if insn.op >> 4 == ADD else -insn.imm


def unproven(flow: Flow, ranges: dict[int, Number]) -> set[int]:
    """Backward jumps that may be taken without end as far as is known: they count down fuel."""
    edges = flow.back_jumps()
    if not edges:
        return set()
    bad: set[int] = set()
    reached = set(flow.next)
    for part in parts(flow, reached):
        _rank(flow, ranges, part, (1, 0), bad)
    return bad


def _rank(
    flow: Flow, ranges: dict[int, Number], part: set[int], so_far: tuple[int, int], bad: set[int]
) -> None:
    rounds, depth = so_far
    found = _counter(flow, ranges, part)
    if found is None or rounds * found[1] > MAX_ROUNDS or depth >= _MAX_DEPTH:
        bad.update(pc for pc in part if any(to <= pc and to in part for to in flow.next[pc]))
        return
    for inner in parts(flow, part - {found[0]}):
        _rank(flow, ranges, inner, (rounds * found[1], depth + 1), bad)


def _counter(flow: Flow, ranges: dict[int, Number], part: set[int]) -> tuple[int, int] | None:
    """The instruction to cut a part at and how often it may run; may_goto ends loops by itself."""
    for pc in sorted(part):
        if flow.insn(pc).op == OP_MAY_GOTO:
            return pc, 1
    changes = _changes(flow, part)
    best: tuple[int, int] | None = None
    for pc in part:
        insn = flow.insn(pc)
        if not _step(flow, pc) or changes.get(insn.dst, []) != [pc]:
            continue
        rounds = _rounds(_step(flow, pc), ranges.get(pc), 32 if insn.kind == ALU32 else 64)
        if rounds is not None and (best is None or rounds < best[1]):
            best = (pc, rounds)
    return best


def _changes(flow: Flow, part: Iterable[int]) -> dict[int, list[int]]:
    """Register → instructions of the part that write it."""
    out: dict[int, list[int]] = {}
    for pc in part:
        mask = writes_of(flow.insn(pc))
        for register in range(10):
            if mask >> register & 1:
                out.setdefault(register, []).append(pc)
    return out


def _rounds(step: int, values: Number | None, width: int) -> int | None:
    """How often `register += step` can run while the register stays within `values` and never wraps."""
    if values is None:
        return 0  # never reached
    limit = W32 if width == 32 else W64
    lo, hi = values[:2]
    if hi >= limit or not lo + step >= 0 or hi + step >= limit:
        return None
    rounds = (hi - lo) // abs(step) + 1
    return rounds if rounds <= MAX_ROUNDS else None
