"""What a program becomes for a kernel: statements that are pasted into one PTX block."""

from __future__ import annotations

from dataclasses import dataclass

# Name of an input → what it is. The weaver declares `%bt` + name around the block and sets it.
INPUTS = {
    "a": "u64 address of a memory instruction",
    "d0": "u64 first data element",
    "d1": "u64 second data element",
    "z": "u32 bytes",
    "o": "u32 operation: 0 load, 1 store, 2 atomic, 3 reduction",
    "s": "u32 space: 0 generic, 1 global, 2 shared, 3 local, 4 const",
    "l": "u32 line of the source",
    "i": "u32 number of the site",
    "e": "u64 clock64 at the kernel's entry",
    "k": "u32 number of the kernel in the session",
    **{f"p{n}": f"u64 parameter {n} of the kernel" for n in range(16)},
    "q": "u32 number of the probe",
}
WIDE = frozenset(("a", "d0", "d1", "e", *(f"p{n}" for n in range(16))))  # 64 bits; the others have 32
SPACE = "__BPFTIME_CTX_SPACE"  # stands for const or global in the text; the weaver replaces it
CONTEXT = "__bpftime_ctx"  # symbol of the context constant
END = "$BT_end"  # label of the last line


@dataclass(frozen=True, slots=True)
class Body:
    """One program as PTX.

    `text` is pasted inside `{ }`: it declares its registers, its labels begin with `$BT`, its last line is
    the label `$BT_end:`, and control leaves it only there or by `exit` (`unsafe_exit`). Around it must stand
    the registers of `inputs` (full names, see `INPUTS`). `maps`: names in the order of the session's index.
    `isa`, `sm`: least PTX version and architecture. `local`: bytes of local memory that each copy needs.
    """

    name: str
    text: str
    inputs: frozenset[str]
    maps: tuple[str, ...]
    isa: tuple[int, int]
    sm: int
    unsafe_exit: bool = False
    local: int = 0
