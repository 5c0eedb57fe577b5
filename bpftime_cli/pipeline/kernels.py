"""Whether there are kernel probes: where there are none, nothing of what serves them is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from runtime.lang import Script, ScriptProbe

if TYPE_CHECKING:
    from attachers.cuda.attacher import CudaAttacher
    from bpftime_cli.pipeline.cuda import KernelProbes
    from bpftime_cli.pipeline.kernelobjects import ObjectKernels
    from bpftime_cli.pipeline.processes import Traced

WOVEN = ("cuda", "cudaret", "cudamem")
SERVED = (*WOVEN, "cudalaunch", "cudadone", "cudaload")


class NoKernels:
    """The kernel probes of a trace that has none."""

    probes: Sequence[ScriptProbe] = ()
    attachers: Sequence[CudaAttacher] = ()

    def __bool__(self) -> bool:
        return False

    def arm(self, traced: Traced) -> int:
        """Attach nothing."""
        del traced
        return 0

    def records(self) -> list[tuple[str, bytes]]:
        """Take no records."""
        return []

    def weave_ahead(self) -> None:
        """Weave nothing."""

    def collect(self) -> None:
        """Bring nothing."""

    def report(self) -> None:
        """Tell nothing."""

    def detach(self) -> None:
        """Switch nothing off."""


Kernels: TypeAlias = "KernelProbes | NoKernels"


def has_kernels(script: Script | ObjectKernels) -> bool:
    """Return whether any probe has to do with kernels."""
    return any(probe.provider in SERVED for probe in script.probes)


def room_of(script: Script | ObjectKernels) -> int:
    """Return how many bytes of a session's region its kernel probes take."""
    if not has_kernels(script):
        return 0
    from bpftime_cli.pipeline.cuda import ROOM  # lazy: as everything here

    return ROOM
