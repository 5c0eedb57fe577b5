"""What is woven in, and what came of it: the values that weaving takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from runtime.nvptx.body import Body


class Place(Enum):
    """Where in a kernel a body runs."""

    ENTRY = "entry"
    RETURN = "return"
    MEMORY = "memory"


class Op(IntEnum):
    """What a memory instruction does; the number is what a body reads."""

    LOAD = 0
    STORE = 1
    ATOMIC = 2
    REDUCE = 3


class Space(IntEnum):
    """The state space of a memory instruction; the number is what a body reads."""

    GENERIC = 0
    GLOBAL = 1
    SHARED = 2
    LOCAL = 3
    CONST = 4


EVERY_OP = frozenset(Op)
USUAL_SPACES = frozenset((Space.GENERIC, Space.GLOBAL))
Numbers = Callable[[str], int] | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KernelProbe:
    """One program for the kernels that `kernels` means (`names.py`).

    `number`: 0 to 63, its bit in the mask of enabled probes. `kernel_numbers` gives the session's number of a
    kernel by its mangled name, 0 for those that a mapping lacks. `ops`, `spaces`: of memory operations.
    """

    body: Body
    place: Place
    kernels: tuple[str, ...]
    number: int = 0
    kernel_numbers: Numbers = field(default_factory=dict)
    ops: frozenset[Op] = EVERY_OP
    spaces: frozenset[Space] = USUAL_SPACES

    def kernel_number(self, name: str) -> int:
        """Give the session's number of a kernel."""
        numbers = self.kernel_numbers
        return numbers.get(name, 0) if isinstance(numbers, Mapping) else numbers(name)


@dataclass(frozen=True, slots=True)
class Site:
    """One memory instruction that is watched, in `function`. `line`: of the source, 0 unknown."""

    number: int
    op: Op
    space: Space
    size: int
    line: int
    function: str
    text: str


@dataclass(frozen=True, slots=True)
class KernelReport:
    """What one kernel got.

    `exits`: places of the return probes. `called`: probe numbers whose body is a function here, for its many
    sites. `uncovered`: what is not watched, with how often it occurs. `traps`: instructions that abort it.
    """

    name: str
    number: int
    probes: tuple[int, ...]
    exits: int
    sites: tuple[Site, ...]
    called: tuple[int, ...]
    uncovered: dict[str, int]
    traps: int


@dataclass(frozen=True, slots=True)
class Woven:
    """The new text. `inserts`: first and last line of each insertion with what it is for, by line."""

    text: str
    kernels: tuple[KernelReport, ...]
    warnings: tuple[str, ...]
    context_space: str
    inserts: tuple[tuple[int, int, str], ...] = ()

    @property
    def uncovered(self) -> dict[str, int]:
        """What no kernel's probes see, with how often it occurs."""
        total: dict[str, int] = {}
        for kernel in self.kernels:
            for what, count in kernel.uncovered.items():
                total[what] = total.get(what, 0) + count
        return total
