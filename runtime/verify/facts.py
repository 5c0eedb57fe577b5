"""What is proven at each instruction, merged over all visits into something that holds on every path."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from runtime.verify.number import Number, join
from runtime.verify.result import Access, Call, Proof

NO_ORIGIN = -3  # the base address is not at hand, or differs
FIRST_VALUE = -2  # the base is the first value of the map `value_of`
INPUT_BASE = -1  # r1 at entry, the bound is r2 at entry


class Fact(NamedTuple):
    """One access as seen on one visit; the fields of `Access`, with `origin` and `bound` for every proof."""

    proof: Proof
    size: int
    offset: int | None
    frame: int
    origin: int
    bound: int
    value_of: str


class Mixed(Exception):
    """One instruction accesses memory of kinds that no single access serves."""


@dataclass(slots=True)
class Facts:
    """Everything that is recorded while a program is interpreted.

    `outcomes`: conditional jump → 1 not taken, 2 taken, 3 both. `ranges`: additions of constants inside
    loops → every value of the register before them. `stack`: function → lowest offset that it uses.
    """

    accesses: dict[int, Fact] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    visited: set[int] = field(default_factory=set)
    outcomes: dict[int, int] = field(default_factory=dict)
    ranges: dict[int, Number] = field(default_factory=dict)
    stack: dict[int, int] = field(default_factory=dict)
    needs: set[str] = field(default_factory=set)
    warnings: dict[int, str] = field(default_factory=dict)
    results: set[int | None] = field(default_factory=set)

    def access(self, pc: int, fact: Fact, is_load: bool) -> None:
        """Record one access.

        Raises:
            Mixed: earlier visits saw a kind of memory that cannot be served together with this one.
        """
        old = self.accesses.get(pc)
        if old is None or old == fact:
            self.accesses[pc] = fact
        else:
            self.accesses[pc] = merge(old, fact, is_load)

    def call(self, pc: int, call: Call) -> None:
        """Record one helper call.

        Raises:
            Mixed: earlier visits saw another map, helper or callback.
        """
        old = self.calls.get(pc)
        if old is None or old == call:
            self.calls[pc] = call
            return
        if (old.helper, old.map, old.callback) != (call.helper, call.map, call.callback):
            raise Mixed
        self.calls[pc] = replace(
            old,
            constants={k: v for k, v in old.constants.items() if call.constants.get(k) == v},
            stack={k: v for k, v in old.stack.items() if call.stack.get(k) == v},
            context_args=old.context_args | call.context_args,
            key_is_tid=old.key_is_tid and call.key_is_tid,
            key=old.key if old.key == call.key else None,
        )

    def range(self, pc: int, number: Number) -> None:
        """Add to the values that a loop counter may have."""
        old = self.ranges.get(pc)
        self.ranges[pc] = number if old is None else join(old, number)

    def uses_stack(self, function: int, offset: int) -> None:
        """Note the lowest offset from the frame pointer that is used."""
        if offset < self.stack.get(function, 0):
            self.stack[function] = offset

    def final(self) -> dict[int, Access]:
        """The accesses in the form for the compiler."""
        return {pc: _final(fact) for pc, fact in self.accesses.items()}


def merge(a: Fact, b: Fact, is_load: bool) -> Fact:
    """One fact that holds where either does.

    Raises:
        Mixed: there is none, as for a store that is proven in one place and unknown in another.
    """
    proofs = {a.proof, b.proof}
    value_of = a.value_of if a.value_of == b.value_of else ""
    same_base = a.origin == b.origin and a.bound == b.bound and a.value_of == b.value_of
    offset = a.offset if a.offset == b.offset and (same_base or len(proofs) == 1) else None
    if Proof.CONTEXT in proofs:
        if len(proofs) > 1:
            raise Mixed
        return a._replace(offset=offset)
    if proofs == {Proof.STACK} and a.frame == b.frame:
        return a._replace(offset=offset)
    if proofs <= {Proof.STACK, Proof.PLAIN}:
        same_kind = len(proofs) == 1 and same_base
        origin, bound = (a.origin, a.bound) if same_base else (NO_ORIGIN, 0)
        return Fact(
            Proof.PLAIN, a.size, offset if same_kind and value_of else None, 0, origin, bound, value_of
        )
    if proofs <= {Proof.PLAIN, Proof.GUARDED} and same_base and a.origin != NO_ORIGIN:
        return Fact(Proof.GUARDED, a.size, offset, 0, a.origin, a.bound, value_of)
    if not is_load:
        raise Mixed
    return Fact(Proof.FAULT_SAFE, a.size, None, 0, NO_ORIGIN, 0, "")


def _final(fact: Fact) -> Access:
    guarded = fact.proof is Proof.GUARDED
    origin, bound = (fact.origin, fact.bound) if guarded else (0, 0)
    if fact.proof is Proof.FAULT_SAFE:
        return Access(fact.proof, fact.size)
    return Access(fact.proof, fact.size, fact.offset, fact.frame, origin, bound, fact.value_of)
