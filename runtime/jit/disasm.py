"""The only door to capstone: read machine code back, and check what compiled programs may not contain.

A program runs between two instructions of the target. It may change r11, the flags and (where it returns
a value) rax; vector, x87 and MMX registers and the direction flag are never touched.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from runtime.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone import Cs

VECTOR = re.compile(r"\b(?:[xyz]mm\d+|mm[0-7]|st(?:\(\d\))?|k[0-7])\b")
FORBIDDEN = frozenset(
    [
        "std",
        "popf",
        "popfq",
        "syscall",
        "sysenter",
        "int",
        "int3",
        "hlt",
        "cli",
        "sti",
        "in",
        "out",
        "iretq",
        "fld",
        "fxsave",
        "xsave",
        "emms",
        "vzeroupper",
    ]
)
# Mnemonics whose first operand is read, not written, or that name their results implicitly.
READS = frozenset(
    [
        "cmp",
        "test",
        "push",
        "call",
        "jmp",
        "ret",
        "nop",
        "mul",
        "div",
        "bt",
        "pause",
        "lfence",
        "mfence",
        "ud2",
        "ud1",
    ]
)
IMPLICIT = {
    "mul": ("rax", "rdx"),
    "div": ("rax", "rdx"),
    "idiv": ("rax", "rdx"),
    "imul": ("rax", "rdx"),
    "cqo": ("rdx",),
    "cdq": ("rdx",),
    "rdtsc": ("rax", "rdx"),
    "cmpxchg": ("rax",),
    "cmpxchg16b": ("rax", "rdx"),
}
FAMILIES = {
    **{n: f"r{n[-2:]}" for n in ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")},
    **{n: f"r{n}" for n in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
    **{f"{n}l": f"r{n}x" for n in "abcd"},
    **{f"{n}h": f"r{n}x" for n in "abcd"},
    **{f"{n}l": f"r{n}" for n in ("si", "di", "bp", "sp")},
    **{n: n for n in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")},
    **{f"r{n}{s}": f"r{n}" for n in range(8, 16) for s in ("", "d", "w", "b")},
}


@cache
def _decoder() -> Cs:
    import capstone  # lazy: 15 ms

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.skipdata = True
    return decoder


def instructions(code: bytes, address: int = 0) -> Iterator[tuple[int, str, str]]:
    """Decode from start to end: (address, mnemonic, operands); what is no instruction shows as `.byte`."""
    for at, _, mnemonic, operands in _decoder().disasm_lite(code, address):
        yield at, mnemonic, operands


def vector_use(code: bytes) -> str:
    """Give the first instruction that touches a vector, x87 or MMX register, or ""."""
    for at, mnemonic, operands in instructions(code):
        if VECTOR.search(operands) or mnemonic.startswith("f") or mnemonic in FORBIDDEN - {"syscall", "int3"}:
            return f"{at:#x}: {mnemonic} {operands}"
    return ""


def _written(mnemonic: str, operands: str) -> tuple[str, ...]:
    """Name the registers an instruction writes, as far as compiled code contains such instructions."""
    base = mnemonic.rpartition(" ")[2]
    first = operands.partition(",")[0].strip()
    implicit = IMPLICIT.get(base, ()) if base != "imul" or "," not in operands else ()
    both = operands.split(", ") if base in ("xchg", "xadd") else [first]
    named = () if base in READS or base[0] == "j" else tuple(FAMILIES[n] for n in both if n in FAMILIES)
    return (*implicit, *named)


def _restored(text: list[tuple[int, str, str]]) -> frozenset[str]:
    return frozenset(operands for _, mnemonic, operands in text if mnemonic == "push")


def check(name: str, code: bytes, *, returns: bool) -> None:
    """Make sure that code keeps what the target owns.

    Raises:
        Bug: an instruction could harm the target; the image must not be sent.
    """
    text = list(instructions(code))
    free = _restored(text) | {"r11", "rsp"} | ({"rax"} if returns else frozenset())
    for at, mnemonic, operands in text:
        if VECTOR.search(operands) or mnemonic in FORBIDDEN or mnemonic.startswith("f"):  # f…: x87
            raise Bug(f"{name}: compiled code holds '{mnemonic} {operands}' at {at:#x}")
        if mnemonic in ("jmp", "call") and operands in FAMILIES and operands != "r11":
            raise Bug(f"{name}: '{mnemonic} {operands}' at {at:#x} goes through a register of the target")
        lost = [register for register in _written(mnemonic, operands) if register not in free]
        if lost:
            raise Bug(f"{name}: '{mnemonic} {operands}' at {at:#x} changes {lost[0]}, which is not saved")


def stack_bytes(code: bytes) -> int:
    """Give an upper bound of the stack that code uses below its return address: all its functions nested."""
    total = 0
    for _, mnemonic, operands in instructions(code):
        if mnemonic in ("push", "call"):
            total += 8
        elif mnemonic == "sub" and operands.startswith("rsp, "):
            total += int(operands[5:], 0)
    return total


def decode(code: bytes, address: int, count: int = 0) -> list[tuple[int, int, str, str]]:
    """Decode target code: (address, size in bytes, mnemonic, operands); stops at what is no instruction.

    `count`: at most so many instructions, 0 all.
    """
    found = []
    for row in _decoder().disasm_lite(code, address, count):
        if row[2] == ".byte":
            break
        found.append(row)
    return found


@cache
def _detailed() -> Cs:
    import capstone  # lazy: 15 ms

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    return decoder


@lru_cache(maxsize=1 << 16)
def registers(code: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Name the whole registers that one instruction reads and writes (`al` is `rax`), flags as `rflags`."""
    row = next(_detailed().disasm(code, 0, 1))
    read, written = (
        frozenset(FAMILIES.get(row.reg_name(r), row.reg_name(r)) for r in group)
        for group in row.regs_access()
    )
    return read, written


def displacement_offset(code: bytes) -> int:
    """Give the byte offset of the displacement field of the instruction at the start of `code`; 0 none."""
    offset: int = next(_detailed().disasm(code, 0, 1)).disp_offset
    return offset
