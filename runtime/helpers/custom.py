"""Helpers that an attach type brings along: known by number, with up to five plain arguments.

A program calls them as it calls any other. The verifier knows their signature only: numbers in, a number out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import AttachProblem
from runtime.helpers.table import HELPERS, Arg, Helper

MOST_ARGUMENTS = 5  # registers r1 to r5


@dataclass(frozen=True, slots=True)
class MachineCode:
    """A helper as x86-64 code that runs at any address, for programs in other processes.

    It takes its arguments as a C function does and may use the stack and general registers only: the vector
    registers of the thread belong to the traced program.
    """

    code: bytes
    arguments: int


Function = Callable[..., int] | MachineCode


@dataclass(frozen=True, slots=True)
class CustomHelper:
    """One registered helper. `function` takes up to five u64 and gives one."""

    number: int
    name: str
    function: Function

    @classmethod
    def of(cls, number: int, name: str, function: Function) -> CustomHelper:
        """Check and make one.

        Raises:
            AttachProblem: the number is one of ours, or the function takes too much (22).
        """
        if number in HELPERS or number <= 0:
            raise AttachProblem(
                f"helper {name}: number {number} is taken by bpf_{HELPERS[number].name}"
                if number in HELPERS
                else f"helper {name}: {number} is no helper's number",
                errno=22,
                hint="numbers from 10000 to 99999 are free",
            )
        helper = cls(number, name, function)
        if helper.arguments > MOST_ARGUMENTS:
            raise AttachProblem(f"helper {name}: more than {MOST_ARGUMENTS} arguments", errno=22)
        return helper

    @property
    def arguments(self) -> int:
        """Return how many arguments it takes; a function of `*arguments` takes all."""
        if isinstance(self.function, MachineCode):
            return self.function.arguments
        kinds = [p.kind for p in inspect.signature(self.function).parameters.values()]
        return MOST_ARGUMENTS if inspect.Parameter.VAR_POSITIONAL in kinds else len(kinds)

    @property
    def signature(self) -> Helper:
        """Return what the verifier checks calls against."""
        return Helper(self.number, self.name, (Arg.ANY,) * self.arguments)
