"""`swap`: the image a process is about to load → the one it gets instead, or the reason why it keeps its own.

Nothing here raises for an image: processes hand over anything, and what is wrong with it is for the driver to
say. A text is woven for the device's architecture and assembled here where that is possible, else left to
the driver's own compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from attachers.cuda import kept
from attachers.cuda.assemble import tools
from attachers.cuda.choosing import Unlinked, chosen_text, wanted
from attachers.cuda.making import Job, make
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.relink import parts_of, relink
from attachers.cuda.swapped import Action, Swap
from runtime.errors import Problem

_VERSION = re.compile(rb"\.version\s+(\d{1,3})\.(\d{1,3})")


class Device(Protocol):
    """What images are made for: `arch` 90 for compute capability 9.0, `driver` as 13000, 0 unknown."""

    @property
    def arch(self) -> int: ...  # noqa: D102

    @property
    def driver(self) -> int: ...  # noqa: D102


def swap(
    image: bytes,
    device: Device,
    probes: Sequence[KernelProbe],
    assembler: str = "auto",
    *,
    container: bool = False,
    parts: Callable[[], Sequence[bytes]] = tuple,
) -> Swap:
    """Weave probes into an image.

    Args:
        image: PTX text, a fatbin, or a cubin (which is only looked at to say why it stays).
        device: what it will run on.
        probes: what is woven in; the image stays where none of its kernels is meant.
        assembler: `auto`, `ptxas`, `nvjitlink`, or `driver` for PTX that the driver compiles.
        container: the caller takes a fatbin only.
        parts: gives the parts of the program that the image was linked of; asked where it has no PTX itself.

    Returns:
        What to load; with action PASS the image stays, for a reason unless it is of no interest.
    """
    try:
        try:
            text = chosen_text(image, device.arch, probes)
        except Unlinked:
            own = parts_of(parts()) if assembler in ("auto", "nvjitlink") else []
            if not own:
                raise
            linked = relink(image, own, (device.arch, device.driver), probes)
            return linked.contained(device.arch) if container else linked
        if text is None:
            return Swap(Action.PASS)
        found = _VERSION.search(text.ptx)
        isa = (int(found[1]), int(found[2])) if found else (0, 0)
        tool = tools.chosen(assembler, isa, device.driver, device.arch)
        build = (text.options, device.arch, tool)
        key = kept.key_of(text.ptx, build, probes, wanted(text.ptx, probes))
        done = kept.load(key, text.ptx.decode("latin-1"))
        if done is None:
            done = make(text, Job(device.arch, tool, assembler == "auto"), probes)
            kept.save(key, done)
    except Problem as problem:
        hint = f" ({problem.hint})" if problem.hint else ""
        return Swap(Action.PASS, reason=f"{problem}{hint}")
    return done.contained(device.arch, isa) if container else done
