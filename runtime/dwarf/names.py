"""Entries by name: where a name's bytes lie says which units, and which of their entries, are decoded."""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator

from runtime.dwarf.forms import word
from runtime.dwarf.units import Entry, Sections, Unit

CLASS, ENUMERATION, STRUCTURE, UNION, NAMESPACE, MODULE = 0x2, 0x4, 0x13, 0x17, 0x39, 0x1E
OUTER = frozenset((NAMESPACE, MODULE, CLASS, STRUCTURE, UNION))  # entries with named ones inside
DECLARATION = 0x3C
COMMON_NAME = 64  # a name that ends more strings than this is looked for everywhere


def named(units: list[Unit], name: str, tags: frozenset[int]) -> Iterator[Entry]:
    """Entries with a name and one of some tags that are no mere declarations."""
    for unit, places in _mentions(units, name):
        for entry in walk(unit, unit.top) if places is None else _around(unit, places, unit.top.end):
            if entry.tag in tags and entry.text() == name and not entry.number(DECLARATION):
                yield entry


def enumerations_with(units: list[Unit], name: str) -> Iterator[Entry]:
    """Enumerations that may hold an enumerator of a name."""
    for unit, places in _mentions(units, name):
        for entry in walk(unit, unit.top) if places is None else _around(unit, places, unit.top.end):
            if entry.tag == ENUMERATION:
                yield entry


def walk(unit: Unit, entry: Entry) -> Iterator[Entry]:
    """Entries below one, and below namespaces and classes in it."""
    for child in unit.children(entry):
        yield child
        if child.tag in OUTER and child.children:
            yield from walk(unit, child)


def _mentions(units: list[Unit], name: str) -> Iterator[tuple[Unit, list[int] | None]]:
    """Units that hold a name, with where its bytes or its string's offset stand; None: not known."""
    if not units:
        return
    sections, data = units[0].sections, units[0].data
    strings = _string_places(sections, name)
    if strings is None:
        yield from ((unit, None) for unit in units)
        return
    patterns = [struct.pack("<I", place) for place in strings]
    found = sorted(_occurrences(data, [*patterns, name.encode() + b"\0"]))
    tables = _occurrences(sections["str_offsets"], patterns)
    for unit in units:
        first = bisect_left(found, unit.first)
        last = bisect_left(found, unit.end)
        if _has_indexed(unit, tables):
            yield unit, None
        elif first < last:
            yield unit, found[first:last]


def _occurrences(data: bytes, patterns: list[bytes]) -> list[int]:
    return [match.start() for pattern in patterns for match in re.finditer(re.escape(pattern), data)]


def _string_places(sections: Sections, name: str) -> list[int] | None:
    """Offsets of a name in the string section, else of the longer strings that end so; None for too many."""
    table = sections["str"]
    whole = table.find(b"\0" + name.encode() + b"\0")
    if whole >= 0:
        return [whole + 1]
    if table.startswith(name.encode() + b"\0"):
        return [0]
    found = _occurrences(table, [name.encode() + b"\0"])
    return found if len(found) <= COMMON_NAME else None


def _has_indexed(unit: Unit, places: list[int]) -> bool:
    if not places or unit.version < 5:
        return False
    _ = unit.top  # says where its strings are
    base = unit.str_offsets
    length = word(unit.sections["str_offsets"], base - 8, 4) if base >= 8 else 0
    return any(base <= place < base + length for place in places)


def _around(unit: Unit, places: list[int], at: int) -> Iterator[Entry]:
    """Entries from an offset on, as far as one's siblings go, with one of the places in them."""
    while at < unit.end:
        hop = unit.hop(at)
        if hop is None:
            return
        index = bisect_left(places, at)
        if index < len(places) and places[index] < hop.behind:
            entry = unit.entry(at)
            if entry is not None:
                yield entry
            if hop.children and hop.tag in OUTER:
                yield from _around(unit, places, hop.end)
        at = hop.behind
