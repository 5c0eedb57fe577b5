"""Assemble by whatever is here, and keep a woven kernel launchable with as many threads as before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attachers.cuda.assemble import nvjitlink, ptxas
from attachers.cuda.assemble.result import Assembled, Tool, Usage
from attachers.cuda.ptx.edits import Edits
from attachers.cuda.ptx.syntax import Module

LAUNCHABLE = 64  # registers a thread with which a block may have 1024 threads
_LIMITS = ("maxntid", "reqntid", "maxnreg")


def assemble(text: str, target: str, options: Sequence[str], tool: Tool) -> Assembled:
    """Assemble PTX text (characters are bytes) for an architecture.

    Raises:
        AssemblerProblem: the tool refuses it.
    """
    run = ptxas.assemble if tool.name == "ptxas" else nvjitlink.assemble
    return run(text.encode("latin-1"), target, options, tool)


def registers_allowed(before: int) -> int:
    """Give the registers with which a kernel can still be launched with all threads it could before.

    The device gives registers to warps in steps of 8 a thread, 65536 a block.
    """
    return max(LAUNCHABLE, -(-before // 8) * 8)


def over_limit(module: Module, before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, int]:
    """Give the kernels whose registers now limit launches, each with the number to keep to.

    Kernels that say how many threads they are made for are left to the assembler.
    """
    found = {}
    for kernel in module.kernels:
        if kernel.name not in before or kernel.name not in after or any(w in kernel.limits for w in _LIMITS):
            continue
        most = registers_allowed(before[kernel.name].registers)
        if after[kernel.name].registers > most:
            found[kernel.name] = most
    return found


def with_limits(module: Module, limits: Mapping[str, int]) -> str:
    """Give a module's text with `.maxnreg` in the headers of some kernels."""
    edits = Edits()
    for kernel in module.kernels:
        if kernel.name in limits:
            edits.insert(kernel.header_end, f"\n.maxnreg {limits[kernel.name]}")
    return edits.applied(module.text).text()
