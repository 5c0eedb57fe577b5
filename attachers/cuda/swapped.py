"""What becomes of an image: the answer of `images.swap`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from attachers.cuda.assemble.result import Usage
from attachers.cuda.fatbin import ELF, PTX, pack
from attachers.cuda.ptx.probe import KernelReport
from runtime.nvptx.body import CONTEXT


class Action(Enum):
    """PASS: the image stays. REPLACE: machine code for the device. PTX: text that the driver compiles."""

    PASS = "pass"
    REPLACE = "replace"
    PTX = "ptx"


@dataclass(frozen=True, slots=True)
class Report:
    """What weaving did. `before`, `after`: what each kernel takes, as far as it is known.

    `limited`: kernels held to a number of registers so that they can be launched with as many threads as
    before. `assembler` with its version. `seconds`: weaving and assembling, 0 for what was kept from before.
    """

    kernels: tuple[KernelReport, ...]
    before: Mapping[str, Usage]
    after: Mapping[str, Usage]
    limited: Mapping[str, int]
    assembler: str
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Swap:
    """The answer for one image.

    `image` is empty for PASS; `reason` says why a PASS that someone may wonder about. `kernels`: those with
    probes, by mangled name, with their session's number. `woven` and `original` are PTX, a character a byte;
    `woven` is there even where an assembler refused it.
    """

    action: Action
    image: bytes = b""
    kernels: Mapping[str, int] = field(default_factory=dict)
    report: Report | None = None
    reason: str = ""
    woven: str = ""
    original: str = ""
    context: str = CONTEXT

    def contained(self, arch: int, isa: tuple[int, int] = (0, 0)) -> Swap:
        """Give the same with the image in a fatbin, for callers that take nothing else."""
        if self.action is Action.PASS:
            return self
        kind = ELF if self.action is Action.REPLACE else PTX
        version = (1, 8) if self.action is Action.REPLACE else isa
        return replace(self, image=pack([(kind, arch, version, self.image)]))
