"""What verification proves, for the compiler: a fact for each memory access and each call.

Instruction indices count 8-byte units in `Program.insns` (an `ld_imm64` takes two).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.ebpf.object import Program


class Proof(Enum):
    """How safe one memory access is known to be."""

    CONTEXT = "context"  # `ctx + offset`, constant, inside the context and readable (writable for stores)
    STACK = "stack"  # inside the frame of the function that contains the instruction, or of a caller
    PLAIN = "plain"  # inside a map value, ring record, sized memory: plain access
    GUARDED = "guarded"  # perhaps outside: test `pointer - base(origin) <= bound - size`, else 0 / no store
    FAULT_SAFE = "fault-safe"  # any address: a load that yields 0 on a fault. Never a store


@dataclass(frozen=True, slots=True)
class Access:
    """One load, store or atomic. `size` in bytes.

    `offset`: constant distance from the base (CONTEXT: byte of the context; STACK: relative to the frame
    pointer, negative), None when it varies. `frame`: STACK only, how many call levels up the frame is
    (0 = own). `origin`: GUARDED only, the instruction of the same function whose latest result is the base
    pointer (a lookup or reserve); -1 = r1 at entry with MEMORY context, the bound is r2; -2 = the first value
    of the map `value_of` (data sections). `bound`: GUARDED only, bytes that may be accessed, -1 = r2.
    `value_of`: name of the map whose value is accessed, or "".
    """

    proof: Proof
    size: int
    offset: int | None = None
    frame: int = 0
    origin: int = 0
    bound: int = 0
    value_of: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One helper call. Argument registers are 1 to 5.

    `map`: name of the map in r1 (or wherever the signature has it), "" none. `constants`: register →
    value where it is one constant. `stack`: register → offset from the own frame pointer where it is such
    a pointer with constant offset in frame level 0. `ignored_context`: r1 is the context and the helper
    ignores it. `key_is_tid`: the key memory holds exactly the thread id (and constants).
    `callback`: first instruction index of the subprogram given as callback, -1 none; for a `callx` with
    helper 0 it is the function that is called. `key`: bytes of the map key when they are constant.
    """

    helper: int
    map: str = ""
    constants: dict[int, int] = field(default_factory=dict)
    stack: dict[int, int] = field(default_factory=dict)
    context_args: frozenset[int] = frozenset()
    key_is_tid: bool = False
    callback: int = -1
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """An accepted program with all facts that code generation may rely on.

    `reachable`: indices of instructions that some path reaches; the rest is dropped. `decided`:
    conditional jumps with one outcome on all paths. `fuel`: some loop has no proven bound, so
    `fuel_edges` (indices of the back jumps, and of `loop` calls that run their callback
    often: each of its runs counts) count down. `stack`: bytes used by each function, keyed by
    its first instruction. `needs`: what attaching must offer (`override`, `retval`, `write`, `stack` …).
    `r0_constant`: the result when it is always the same. `custom`: registered helpers that it calls, with the
    number of their arguments. `unbounded`: what to tell of loops that only the fuel ends.
    """

    program: Program
    accesses: dict[int, Access]
    calls: dict[int, Call]
    reachable: frozenset[int]
    needs: frozenset[str] = frozenset()
    decided: dict[int, bool] = field(default_factory=dict)
    fuel: bool = False
    fuel_edges: frozenset[int] = frozenset()
    stack: dict[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unbounded: tuple[str, ...] = ()
    r0_constant: int | None = None
    custom: dict[int, int] = field(default_factory=dict)
