"""One helper call that is being lifted, for whatever machine: where it is and what its arguments are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.verify.result import Call

UnitT = TypeVar("UnitT")


@dataclass(frozen=True, slots=True)
class CallSite(Generic[UnitT]):
    """A call at instruction `index` of the program that `unit` is made from."""

    code: Code
    unit: UnitT
    index: int
    call: Call

    def arg(self, number: int) -> str:
        """Give an argument's value."""
        if number in self.call.constants:
            value = self.call.constants[number]
            return str(value - (1 << 64) if value >> 63 else value)
        if number in self.call.stack:
            return self.code.number(self.code.stack_at(self.call.stack[number]))
        return self.code.get(number)

    def pointer(self, number: int) -> str:
        """Give an argument as a pointer; on a device it is one of any address space."""
        if number in self.call.stack:
            return self.code.stack_at(self.call.stack[number])
        return self.code.pointer(self.code.get(number))
