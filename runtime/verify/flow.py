"""The shape of a program before it is interpreted: legal instructions, functions, joins, live registers.

Everything is found from the entry by following jumps; code that no jump reaches is neither checked nor an
error. Positions (`pc`) count 8-byte units.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

from runtime.ebpf.insn import (
    ALU32,
    ALU64,
    CALL_HELPER,
    CALL_LOCAL,
    CMPXCHG,
    FETCH,
    JA,
    LDX,
    LEGACY_LOADS,
    LOAD_ACQUIRE,
    MOV,
    OP_CALL,
    OP_CALLX,
    OP_EXIT,
    OP_GOTOL,
    OP_LD_IMM64,
    OP_MAY_GOTO,
    SRC_FUNCTION,
    ST,
    STX,
    Insn,
    decode,
    fault,
)
from runtime.errors import Refused
from runtime.helpers.table import HELPERS

CLOBBERED = 0x3F  # r0 to r5, by any call
_ARGUMENTS = 0x3E  # r1 to r5
_CALLBACK_HELPERS = (164, 181)


@dataclass(slots=True)
class Flow:
    """Control flow of one program.

    `next`: successors of each reached pc, the jump target last. `starts`: first pc of each function,
    ascending. `joins`: where states are kept. `heads`: targets of backward jumps. `live`: for each pc the
    bit mask of registers whose value may still be read.
    """

    insns: list[Insn | None]
    next: dict[int, tuple[int, ...]]
    starts: list[int]
    joins: set[int] = field(default_factory=set)
    heads: set[int] = field(default_factory=set)
    live: dict[int, int] = field(default_factory=dict)

    def function_of(self, pc: int) -> int:
        """First pc of the function that holds `pc`."""
        return self.starts[bisect_right(self.starts, pc) - 1]

    def insn(self, pc: int) -> Insn:
        """The instruction at a reached pc."""
        found = self.insns[pc]
        assert found is not None
        return found

    def back_jumps(self) -> list[tuple[int, int]]:
        """All (from, to) jumps that do not go forward."""
        return [(pc, to) for pc, targets in self.next.items() for to in targets if to <= pc]


def scan(code: bytes) -> Flow:
    """Find what the program may execute and check each instruction's form.

    Raises:
        Refused: an illegal instruction, a jump out of the program, out of a function, or into an `ld_imm64`.
    """
    flow = _reach(decode(code))
    _check_functions(flow)
    counts: dict[int, int] = {}
    for pc, targets in flow.next.items():
        for to in targets:
            counts[to] = counts.get(to, 0) + 1
            if to <= pc:
                flow.heads.add(to)
    flow.joins = {pc for pc, count in counts.items() if count > 1} | flow.heads | set(flow.starts)
    flow.joins |= {pc + 1 for pc in flow.next if _returns_here(flow.insn(pc))}
    flow.live = _liveness(flow)
    return flow


def local_target(pc: int, insn: Insn) -> int:
    """First pc of the function that a local call or a function address names."""
    return pc + 1 + insn.imm


def _returns_here(insn: Insn) -> bool:
    if insn.op == OP_CALL:
        return insn.src == CALL_LOCAL or (insn.src == CALL_HELPER and insn.imm in _CALLBACK_HELPERS)
    return insn.op == OP_CALLX


def _reach(insns: list[Insn | None]) -> Flow:
    starts = {0}
    flow = Flow(insns, {}, [0])
    pending = [0]
    while pending:
        pc = pending.pop()
        if pc in flow.next:
            continue
        insn = _fetch(insns, pc)
        if (insn.op, insn.src) in ((OP_CALL, CALL_LOCAL), (OP_LD_IMM64, SRC_FUNCTION)):
            starts.add(local_target(pc, insn))
            pending.append(_jump_to(insns, pc, local_target(pc, insn)))
        flow.next[pc] = _successors(pc, insn)
        pending.extend(_jump_to(insns, pc, to) for to in flow.next[pc])
    flow.starts = sorted(starts)
    return flow


def _fetch(insns: list[Insn | None], pc: int) -> Insn:
    insn = insns[pc]
    assert insn is not None
    wrong = fault(insn)
    if wrong:
        raise Refused(f"insn {pc}: {wrong}")
    return insn


def _jump_to(insns: list[Insn | None], pc: int, to: int) -> int:
    if not 0 <= to < len(insns):
        if to == len(insns):
            raise Refused(f"insn {pc}: the program runs past its last instruction")
        raise Refused(f"insn {pc}: jump to {to}, which is outside of the program")
    if insns[to] is None:
        raise Refused(f"insn {pc}: jump into the middle of the ld_imm64 at {to - 1}")
    return to


def _successors(pc: int, insn: Insn) -> tuple[int, ...]:
    if insn.op == OP_EXIT:
        return ()
    if insn.op == OP_LD_IMM64:
        return (pc + 2,)
    if insn.op == OP_GOTOL:
        return (pc + 1 + insn.imm,)
    if insn.kind in (5, 6) and insn.op >> 4 == JA:
        return (pc + 1 + insn.off,)
    if insn.is_conditional or insn.op == OP_MAY_GOTO:
        return (pc + 1, pc + 1 + insn.off)
    return (pc + 1,)


def _check_functions(flow: Flow) -> None:
    if len(flow.starts) == 1:
        return
    for pc, targets in flow.next.items():
        start = flow.function_of(pc)
        for to in targets:
            if flow.function_of(to) != start:
                raise Refused(f"insn {pc}: control passes to insn {to} of another function without a call")


def _liveness(flow: Flow) -> dict[int, int]:
    """Registers that may be read at or after each pc: the usual backward analysis."""
    before: dict[int, list[int]] = {}
    effect = {}
    for pc, targets in flow.next.items():
        effect[pc] = _reads_writes(flow.insn(pc))
        for to in targets:
            before.setdefault(to, []).append(pc)
    live = dict.fromkeys(flow.next, 0)
    pending = deque(sorted(flow.next, reverse=True))
    waiting = set(pending)
    while pending:
        pc = pending.popleft()
        waiting.discard(pc)
        after = 0
        for to in flow.next[pc]:
            after |= live[to]
        reads, writes = effect[pc]
        now = (after & ~writes) | reads
        if now != live[pc]:
            live[pc] = now
            for source in before.get(pc, ()):
                if source not in waiting:
                    waiting.add(source)
                    pending.append(source)
    return live


def _reads_writes(insn: Insn) -> tuple[int, int]:
    """Masks of the registers that an instruction reads and overwrites; r10 never counts."""
    dst, src = (1 << insn.dst) & 0x3FF, (1 << insn.src) & 0x3FF
    kind = insn.kind
    if kind in (ALU32, ALU64):
        reads = src if insn.op & 8 and insn.op >> 4 != 13 else 0
        return (reads, dst) if insn.op >> 4 == MOV else (reads | dst, dst)
    if kind == LDX:
        return src, dst
    if kind in (ST, STX):
        return _store_reads_writes(insn, dst, src)
    return (0, dst) if insn.op == OP_LD_IMM64 else _other_reads_writes(insn, dst, src)


def _other_reads_writes(insn: Insn, dst: int, src: int) -> tuple[int, int]:
    if insn.op in LEGACY_LOADS:
        return 1 << 6 | (src if insn.op >= 0x40 else 0), CLOBBERED
    return _jump_reads_writes(insn, dst, src)


def _store_reads_writes(insn: Insn, dst: int, src: int) -> tuple[int, int]:
    if not insn.is_atomic or insn.kind == ST:
        return dst | (src if insn.kind == STX else 0), 0
    if insn.imm == LOAD_ACQUIRE:
        return src, dst
    if insn.imm == CMPXCHG:
        return dst | src | 1, 0
    return dst | src, src if insn.imm & FETCH and src != dst else 0


def _jump_reads_writes(insn: Insn, dst: int, src: int) -> tuple[int, int]:
    if insn.op == OP_EXIT:
        return 1, 0
    if insn.op == OP_CALLX:
        return _ARGUMENTS | dst | 1 << (insn.imm if insn.imm > 0 else 0), CLOBBERED
    if insn.op == OP_CALL:
        helper = HELPERS.get(insn.imm) if insn.src == CALL_HELPER else None
        reads = _ARGUMENTS if helper is None else (1 << len(helper.args) + 1) - 2
        return reads, CLOBBERED
    if insn.is_conditional:
        return dst | (src if insn.op & 8 else 0), 0
    return 0, 0


def writes_of(insn: Insn) -> int:
    """Mask of the registers that an instruction may change, as seen by the function that holds it."""
    reads, writes = _reads_writes(insn)
    if insn.is_atomic and insn.kind == STX and insn.imm != LOAD_ACQUIRE:
        return writes | (1 << insn.src if insn.imm & FETCH else 0) | (1 if insn.imm == CMPXCHG else 0)
    del reads
    return writes
