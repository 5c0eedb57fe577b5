"""Which register a name means at a place: blocks shadow what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from attachers.cuda.ptx.syntax import (
    Block,
    Directive,
    Function,
    Instruction,
    Label,
    Line,
    Parameter,
    Registers,
    Variable,
)


@dataclass(slots=True)
class Scope:
    """The declarations of a block so far: register → (type, lanes), families by their stem, variables."""

    parent: Scope | None = None
    single: dict[str, tuple[str, int]] = field(default_factory=dict)
    families: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    variables: dict[str, Variable | Parameter] = field(default_factory=dict)

    def declare(self, registers: Registers) -> None:
        """Take a `.reg` statement."""
        for name, count in registers.names:
            if count:
                self.families[name] = registers.type, registers.lanes, count
            else:
                self.single[name] = registers.type, registers.lanes

    def register(self, name: str) -> tuple[str, int, Scope] | None:
        """Give type, lanes and scope of a register, None where no such register is declared."""
        scope: Scope | None = self
        stem = name.rstrip("0123456789")
        while scope is not None:
            if name in scope.single:
                return *scope.single[name], scope
            for end in range(len(stem), len(name)):
                family = scope.families.get(name[:end])
                digits = name[end:]
                if not family or len(digits) > 18 or int(digits) >= family[2]:
                    continue
                if digits == "0" or digits[0] != "0":
                    return family[0], family[1], scope
            scope = scope.parent
        return None

    def variable(self, name: str) -> Variable | Parameter | None:
        """Give a variable or parameter of the function."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.parent
        return None


def outermost(function: Function) -> Scope:
    """Give the scope that a function's parameters make."""
    scope = Scope()
    for parameter in (*function.returns, *function.params):
        scope.variables[parameter.name] = parameter
        if parameter.space == "reg":
            scope.single[parameter.name] = parameter.type, 1
    return scope


Step = tuple[Instruction | Label | Directive | Block, Scope, int]


def walk(block: Block, parent: Scope, line: int = 0) -> Iterator[Step]:
    """Yield instructions, labels, directives, and blocks before what they hold.

    With each come the scope as it is there (it grows as the walk goes on) and the source line, 0 unknown.
    """
    scope = Scope(parent)
    for item in block.items:
        if isinstance(item, Registers):
            scope.declare(item)
        elif isinstance(item, Variable):
            scope.variables[item.name] = item
        elif isinstance(item, Line):
            line = item.line
        elif isinstance(item, Block):
            yield item, scope, line
            for step in walk(item, scope, line):
                line = step[2]
                yield step
        else:
            yield item, scope, line
