"""Headers of kernels and functions: `.visible .entry k(.param .u64 p) .maxntid 128, 1, 1 {`."""

from __future__ import annotations

import re

from attachers.cuda.ptx.declarations import LINKAGES, elements, type_of, words_of
from attachers.cuda.ptx.syntax import SIZES, VECTORS, Function, Parameter, problem_at
from attachers.cuda.ptx.tokens import NAME, block_end, split, without_comments, words

_PARAMETER = re.compile(
    rf"\s*+((?:\.[\w:]++(?:\s++\d++(?=\s))?\s*+)*)({NAME})\s*((?:\[[^\]]*\]\s*)*)\Z", re.S
)
_Lists = list[tuple[int, int]]


def parse_header(text: str, start: int) -> Function:
    """Read the header at `start`; finds the end of the body too.

    Raises:
        PtxProblem: it has no name, or a parameter cannot be followed.
    """
    linkage, is_entry, name, name_at, last = "", False, "", start, start
    lists: _Lists = []  # parenthesised lists, before and behind the name
    depth, opened = 0, start
    limits: dict[str, list[int]] = {}
    limit = ""
    for kind, word, at in words(text, start):
        if word == "(":
            depth += 1
            opened = at if depth == 1 else opened
        elif word == ")":
            depth -= 1
            if not depth:
                lists.append((opened, at))
        elif not depth and word in ("{", ";"):
            return _function(text, (start, last, at), (linkage, is_entry, name, name_at), lists, limits)
        elif not depth and kind == "directive":
            linkage, is_entry = (word[1:] if word[1:] in LINKAGES else linkage), is_entry or word == ".entry"
            limit = word[1:]
            limits.setdefault(limit, [])
        elif not depth and kind == "name" and not name:
            name, name_at = word, at
        elif not depth and kind == "number" and limit and word.isdigit() and len(word) < 18:
            limits[limit].append(int(word))
        last = at + len(word)
    raise problem_at(text, start, "a function's header has no end")


def _function(
    text: str,
    spans: tuple[int, int, int],
    header: tuple[str, bool, str, int],
    lists: _Lists,
    limits: dict[str, list[int]],
) -> Function:
    start, last, at = spans
    linkage, is_entry, name, name_at = header
    if not name:
        raise problem_at(text, start, "a function without a name")
    lists = [place for place in lists if not text[place[0] - 24 : place[0]].rstrip().endswith(".attribute")]
    in_front = [place for place in lists if place[0] < name_at]
    behind = [place for place in lists if place[0] > name_at]
    numbers = {
        word: tuple(values) for word, values in limits.items() if word not in (*LINKAGES, "entry", "func")
    }
    return Function(
        *(name, is_entry, linkage),
        _parameters(text, in_front[0]) if in_front else (),
        _parameters(text, behind[0]) if behind else (),
        numbers,
        start,
        name_at,
        behind[0] if behind else None,
        last,
        (at, block_end(text, at)) if text[at] == "{" else None,
    )


def _parameters(text: str, place: tuple[int, int]) -> tuple[Parameter, ...]:
    inside = without_comments(text[place[0] + 1 : place[1]]).strip()
    return tuple(_parameter(text, place[0], part) for part in split(inside))


def _parameter(text: str, at: int, part: str) -> Parameter:
    found = _PARAMETER.match(part)
    directives = words_of(found[1]) if found else {}
    type_ = type_of(directives)
    if not found or not type_:
        raise problem_at(text, at, f"'{part[:40]}' is no parameter")
    lanes = next((VECTORS[w] for w in directives if w in VECTORS), 1)
    is_array = bool(found[3])
    # `.ptr … .align 16` tells of what the parameter points to, not of the parameter.
    align = 0 if "ptr" in directives else directives.get("align", 0)
    size = SIZES[type_] * lanes
    count = elements(found[3])
    return Parameter(
        found[2], "reg" if "reg" in directives else "param", type_, align or size, size * count, is_array
    )
