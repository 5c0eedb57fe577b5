"""Declarations of variables and registers: `.visible .global .align 4 .b8 table[2][4] = {1, 2};`."""

from __future__ import annotations

import re

from attachers.cuda.ptx.syntax import SIZES, SPACES, VECTORS, Registers, Variable, problem_at
from attachers.cuda.ptx.tokens import NAME, split, without_comments

LINKAGES = ("visible", "weak", "extern", "common")
DIMENSIONS = re.compile(r"\[\s*(0[xX][0-9a-fA-F]{1,16}|\d{0,18})U?\s*\]")
MOST = 1 << 40  # elements: more is damage
_ATTRIBUTE = re.compile(r"\.attribute\s*\([^)]*\)")
_HEAD = re.compile(r"\s*+((?:\.[\w:]++(?:\s++\d++(?=\s))?\s*+)*)(.*)", re.S)
_WORD = re.compile(r"\.([\w:]+)(?:\s+(\d{1,18})(?!\d))?")
_DECLARED = re.compile(rf"({NAME})\s*((?:\[[^\]]*\]\s*)*)(?:=\s*(.*))?\Z", re.S)
_FAMILY = re.compile(rf"({NAME})(?:\s*<\s*(\d{{1,18}})\s*>)?\Z")


def words_of(head: str) -> dict[str, int]:
    """Give the directives in front of a declared name with their numbers, 0 where there is none."""
    return {word: int(number or 0) for word, number in _WORD.findall(head)}


def type_of(words: dict[str, int]) -> str:
    """Give the first type among directives, "" where there is none."""
    return next((word for word in words if word in SIZES), "")


def elements(dimensions: str) -> int:
    """Give the product of `[2][4]`; 0 where one is open, 1 where there is none."""
    count = 1
    for found in DIMENSIONS.findall(dimensions):
        count = min(count * (int(found, 0) if found else 0), MOST)
    return count


def parse_variables(text: str, start: int, end: int) -> list[Variable]:
    """Read `text[start:end]`, a statement that declares variables in memory.

    Raises:
        PtxProblem: it has no type, or a name cannot be followed.
    """
    statement = _ATTRIBUTE.sub(" ", without_comments(text[start:end])).rstrip().removesuffix(";")
    found = _HEAD.match(statement)
    words, rest = (words_of(found[1]), found[2]) if found else ({}, "")
    space = next((word.partition("::")[0] for word in words if word.partition("::")[0] in SPACES), "")
    type_, lanes = type_of(words), next((VECTORS[w] for w in words if w in VECTORS), 1)
    if not type_ or not space:
        raise problem_at(text, start, "a variable without space or type")
    out = []
    for part in split(rest):
        declared = _DECLARED.match(part)
        if not declared:
            raise problem_at(text, start, f"'{part[:40]}' is no variable")
        name, dimensions, initial = declared[1], declared[2], (declared[3] or "").strip()
        linkage = next((word for word in words if word in LINKAGES), "")
        align = words.get("align") or SIZES[type_] * lanes
        count = elements(dimensions)
        is_array = bool(dimensions)
        out.append(Variable(name, space, type_, lanes, align, count, is_array, initial, linkage, start, end))
    return out


def parse_registers(text: str, start: int, end: int) -> Registers:
    """Read a `.reg` statement.

    Raises:
        PtxProblem: it has no type, or a name cannot be followed.
    """
    statement = without_comments(text[start:end]).rstrip().removesuffix(";")
    found = _HEAD.match(statement)
    words, rest = (words_of(found[1]), found[2]) if found else ({}, "")
    type_ = type_of(words)
    if not type_:
        raise problem_at(text, start, "registers without a type")
    names = []
    for part in split(rest):
        family = _FAMILY.match(part)
        if not family:
            raise problem_at(text, start, f"'{part[:40]}' is no register")
        names.append((family[1], int(family[2] or 0)))
    return Registers(type_, next((VECTORS[w] for w in words if w in VECTORS), 1), tuple(names), start, end)
