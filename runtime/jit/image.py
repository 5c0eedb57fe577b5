"""An image: native code of one program, position independent, with symbols that are bound per target."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.types import ContextKind


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place to fill when linking.

    `kind`: `got` (load of an address: lea or a literal), `plt` (call rel32), `pc32`, `abs64`, `abs32`.

    `offset` is a byte in `Image.code`. Symbols are listed in `Image`.
    """

    offset: int
    kind: str
    symbol: str
    addend: int


@dataclass(frozen=True, slots=True)
class Image:
    """Native code for one program and one build (`rseq` or `plain`).

    Symbols: `map:NAME` (first value of an array, else the header), `head:NAME` (map header), `ring:NAME`
    (ring page 0 in the doubled mapping), `region`, `process` (process page), `agent:NAME` (function of the
    agent), `self:OFF` (own code or data), `helper:NUMBER` (a registered helper), `data:NUMBER` (data that
    a script asks the place of), `rseq_offset`, `tid_offset` (constants of the target).
    `code` holds text and read-only data, aligned to `align`; the entry is offset 0. `words`: context
    words the thunk pushes (see `runtime/jit/convention.py`). `returns`: r0 is wanted by the thunk.
    `frame`: the program gets the address of a full context structure in rdi. `stack`: bytes below the
    return address. `insn_at`: code offset → instruction index, for fault reports.
    """

    sha256: str
    name: str
    context: ContextKind
    code: bytes
    relocations: tuple[Relocation, ...]
    words: tuple[str, ...]
    returns: bool
    frame: bool
    stack: int
    uses_process: bool
    uses_faults: bool
    align: int = 64
    maps: tuple[str, ...] = ()
