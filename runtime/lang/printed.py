"""Types of values that are only printed or compared: the tracer looks their text up when it prints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runtime.lang.types import Type


@dataclass(frozen=True, slots=True)
class KernelSymbol(Type):
    """An address of the kernel, printed as the symbol's name."""

    word: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Eight bytes."""
        return 8

    @property
    def align(self) -> int:
        """Natural alignment."""
        return 8

    def __str__(self) -> str:
        return "ksym_t"


@dataclass(frozen=True, slots=True)
class CgroupPath(Type):
    """`u32 pattern; u32 0; u64 id of the group`, printed as the paths that match the pattern."""

    @property
    def size(self) -> int:
        """Sixteen bytes."""
        return 16

    @property
    def align(self) -> int:
        """That of the id."""
        return 8

    def __str__(self) -> str:
        return "cgroup_path_t"


KERNEL_SYMBOL = KernelSymbol()
CGROUP_PATH = CgroupPath()
