"""Comparing the name of a probe: it is final only when the probe is armed, so the tracer answers beforehand.

A program knows the number (cookie) of its probe. For each text that a script compares with there is a row of
bytes in a map, one for each cookie; the tracer sets those whose probe has that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lang import tree
from runtime.lang.types import ProbeName
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

NAMES = ".names"
MOST = 1 << 16  # cookies; a probe with a higher one equals no text


def is_comparison(node: tree.Binary) -> bool:
    """Whether a probe's name is compared with a literal."""
    sides = (node.left, node.right)
    return any(isinstance(one.type, ProbeName) for one in sides) and any(
        isinstance(one, tree.String) for one in sides
    )


def equal(g: Generator, node: tree.Binary) -> None:
    """Compute in r0 whether the probe's name is the literal."""
    name, text = (node.left, node.right) if isinstance(node.right, tree.String) else (node.right, node.left)
    assert isinstance(text, tree.String)
    row = g.output.probe_name(text.value.decode("utf-8", "surrogateescape"))
    other, done = g.code.label(), g.code.label()
    g.word(name)
    g.code.jump_if_constant(">=", 0, MOST, other)
    g.code.map_value(1, NAMES)
    g.code.alu("+", 1, 0)
    if row:
        g.code.alu_constant("+", 1, row * MOST)
    g.code.load(0, Place(1, 0), 1)
    g.code.jump(done)
    g.code.at(other)
    g.code.set(0, 0)
    g.code.at(done)
