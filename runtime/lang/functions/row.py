"""What a function of the language is, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.lang.types import Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang import checker, generator, tree


def no_word(g: generator.Generator, call: tree.Call) -> None:
    """Compute nothing: for functions whose value is written by `fill`; as a statement it has no effect."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function: `least` to `most` arguments. `unsafe`: only with `--unsafe`.

    `drop` is used in place of `lower` where nobody wants the value.
    """

    name: str
    least: int
    most: int
    check: Callable[[checker.Checker, tree.Call], Type]
    lower: Callable[[generator.Generator, tree.Call], None] = no_word
    fill: Callable[[generator.Generator, tree.Call, Place], None] | None = None
    unsafe: bool = False
    drop: Callable[[generator.Generator, tree.Call], None] | None = None


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One aggregation, which must be assigned to a map; its code is in `runtime/lang/aggregate.py`."""

    name: str
    check: Callable[[checker.Checker, tree.Call], Type]


def arity_error(name: str, given: int, least: int, most: int) -> str:
    """Say what is wrong with the number of arguments, or nothing."""
    if least <= given <= most:
        return ""
    wanted = least if given < least else most
    shown = "one argument" if wanted == 1 else f"{wanted} arguments"
    how = "requires" if least == most else "requires at least" if given < least else "takes up to"
    return f"{name}() {how} {shown} ({given} provided)"
