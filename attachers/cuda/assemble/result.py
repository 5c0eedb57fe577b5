"""What an assembler gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import Problem


class AssemblerProblem(Problem):
    """No assembler can take a text, or one refuses it. `lines`: of the text, those it complains about."""

    def __init__(self, text: str, *, hint: str = "", lines: tuple[int, ...] = ()) -> None:
        super().__init__(text, hint=hint)
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Usage:
    """What a kernel takes: registers, bytes of stack and of spills a thread, shared bytes a block."""

    registers: int
    stack: int
    shared: int
    spilled: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """An assembler. `version`: of the CUDA toolkit it belongs to; `path` is empty for the library."""

    name: str
    version: tuple[int, int]
    path: str = ""

    @property
    def isa(self) -> tuple[int, int]:
        """The newest PTX it reads. Source: PTX ISA, release notes."""
        major, minor = self.version
        if major == 12:
            return 8, min(minor, 5) if minor < 7 else minor - 1
        return major - 4, minor

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


@dataclass(frozen=True, slots=True)
class Assembled:
    """A cubin with what its kernels use."""

    cubin: bytes
    tool: Tool
    usage: dict[str, Usage] = field(default_factory=dict)
    log: str = ""
