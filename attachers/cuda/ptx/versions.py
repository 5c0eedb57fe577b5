"""The header's numbers: what a body needs against what a module says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attachers.cuda.ptx.edits import Edits
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.ptx.syntax import Module, PtxProblem

SYNC_ONLY = 70  # from here on shuffles and votes name the lanes that take part
_WITHOUT_SYNC = re.compile(r"\b(?:shfl|vote)\.(?!sync)")


def raised(
    module: Module, probes: Sequence[KernelProbe], arch: int, edits: Edits, warnings: list[str]
) -> None:
    """Raise `.version` and, up to `arch`, `.target` where a body needs that.

    Raises:
        PtxProblem: the module's target is too old for a body and cannot be raised.
    """
    isa = max(probe.body.isa for probe in probes)
    sm = max(probe.body.sm for probe in probes)
    if sm > module.arch:
        _check_target(module, sm, arch)
        edits.replace(*module.target_at, f"sm_{sm}")
        warnings.append(f".target {module.targets[0]} raised to sm_{sm}, which the probes need")
        isa = max(isa, LEAST_ISA.get(sm, (6, 0)))
    if isa > module.version:
        edits.replace(*module.version_at, f"{isa[0]}.{isa[1]}")


LEAST_ISA = {70: (6, 0), 72: (6, 1), 75: (6, 3), 80: (7, 0), 86: (7, 1), 89: (7, 8), 90: (7, 8), 100: (8, 6)}


def _check_target(module: Module, sm: int, arch: int) -> None:
    name = module.targets[0]
    if arch < sm:
        raise PtxProblem(f"the probes need sm_{sm}, this PTX is for {name}")
    if module.arch < SYNC_ONLY <= sm and _WITHOUT_SYNC.search(module.text):
        raise PtxProblem(
            f"the probes need sm_{sm}; this PTX for {name} has shuffles or votes of older devices",
            hint="build for compute_70 or newer",
        )
