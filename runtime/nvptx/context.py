"""A program's context on a device: words that the weaver has in registers; nothing of it is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.ebpf.context import LAYOUTS
from runtime.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.jit.code import Code
    from runtime.nvptx.unit import Unit
    from runtime.verify.result import Access


def _joined(code: Code, unit: Unit, *fields: tuple[str, int]) -> str:
    """Put inputs side by side in one word: (name, first bit)."""
    word = "0"
    for name, shift in fields:
        value = unit.input(code, name)
        if shift:
            value = code.op(f"shl i64 {value}, {shift}")
        word = code.op(f"or i64 {word}, {value}")
    return word


# Words of `struct` for memory probes that hold more than one input.
WORDS: dict[str, Callable[[Code, Unit], str]] = {
    "shape": lambda code, unit: _joined(code, unit, ("z", 0), ("o", 32), ("s", 40)),
    "place": lambda code, unit: _joined(code, unit, ("l", 0), ("i", 32)),
}


def load(code: Code, unit: Unit, access: Access) -> str:
    """Give the iBITS at a place in the context.

    Raises:
        Unsupported: the place is not constant.
    """
    if access.offset is None:
        raise Unsupported("the context is read at an offset that is not constant")
    name = LAYOUTS[unit.verified.program.context].words[access.offset & ~7]
    word = WORDS[name](code, unit) if name in WORDS else unit.input(code, name)
    shift = 8 * (access.offset & 7)
    if shift:
        word = code.op(f"lshr i64 {word}, {shift}")
    return code.narrow(word, 8 * access.size)
