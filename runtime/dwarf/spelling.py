"""Types of parameters as C writes them, for people to read."""

from __future__ import annotations

from runtime.dwarf.info import ARRAY, CLASS, ENUMERATION, PARAMETER, POINTER, STRUCTURE, UNION, DebugInfo
from runtime.dwarf.parameters import attribute_entry, formal_parameters, name_of
from runtime.dwarf.types import CONST, REFERENCE, RESTRICT, RVALUE, SUBROUTINE, TYPE, VOLATILE, DwarfTypes
from runtime.dwarf.units import Entry

QUALIFIERS = {CONST: "const", VOLATILE: "volatile", RESTRICT: ""}
SIGNS = {POINTER: "*", REFERENCE: "&", RVALUE: "&&"}
WORDS = {STRUCTURE: "struct", CLASS: "class", UNION: "union", ENUMERATION: "enum"}
MAX_DEPTH = 16


def parameter_lines(types: DwarfTypes, function: Entry) -> list[str]:
    """The parameters of a function, such as `const char * path`.

    Raises:
        ObjectProblem: the debug info is damaged.
    """
    return types.info.guarded(lambda: _lines(types, function))


def _lines(types: DwarfTypes, function: Entry) -> list[str]:
    found = []
    for entry in formal_parameters(types.info, function):
        kind = spelled(types.info, attribute_entry(types.info, entry, TYPE))
        found.append(f"{kind} {name_of(types.info, entry)}".rstrip())
    return found


def spelled(info: DebugInfo, entry: Entry | None, depth: int = 0) -> str:
    """The name of a type."""
    if entry is None or depth > MAX_DEPTH:
        return "void"
    at = entry.number(TYPE, -1)
    target = info.entry_at(at) if at >= 0 else None
    if entry.tag in SIGNS or entry.tag in QUALIFIERS or entry.tag == ARRAY:
        return _derived(info, entry, target, depth)
    if entry.tag in WORDS:
        return f"{WORDS[entry.tag]} {entry.text() or '(anonymous)'}"
    return entry.text() or "void"


def _derived(info: DebugInfo, entry: Entry, target: Entry | None, depth: int) -> str:
    if entry.tag in SIGNS and target is not None and target.tag == SUBROUTINE:
        return _function(info, target, depth)
    inner = spelled(info, target, depth + 1)
    if entry.tag in SIGNS:
        return f"{inner} {SIGNS[entry.tag]}"
    if entry.tag == ARRAY:
        return f"{inner}[]"
    of_pointer = target is not None and target.tag in SIGNS
    words = (inner, QUALIFIERS[entry.tag]) if of_pointer else (QUALIFIERS[entry.tag], inner)
    return " ".join(filter(None, words))


def _function(info: DebugInfo, entry: Entry, depth: int) -> str:
    at = entry.number(TYPE, -1)
    result = spelled(info, info.entry_at(at) if at >= 0 else None, depth + 1)
    given = [
        spelled(info, attribute_entry(info, child, TYPE), depth + 1)
        for child in entry.unit.children(entry)
        if child.tag == PARAMETER
    ]
    return f"{result} (*)({', '.join(given) or 'void'})"
