"""The statements of a function's body, with their blocks."""

from __future__ import annotations

import re

from attachers.cuda.ptx.declarations import parse_registers, parse_variables
from attachers.cuda.ptx.syntax import Block, Directive, Instruction, Item, Label, Line, problem_at
from attachers.cuda.ptx.tokens import NAME, line_end, skip_blank, statement_end, without_comments

DEEPEST = 100  # blocks in blocks: compilers make three
_LABEL = re.compile(rf"({NAME})\s*:(?!:)")
_DIRECTIVE = re.compile(r"\.(\w+)")
_LOC = re.compile(r"\.loc\s+(\d{1,9})\s+(\d{1,9})\b")
_TABLES = (".branchtargets", ".calltargets", ".callprototype")
_GUARD = re.compile(rf"@\s*(!?)\s*({NAME})\s*")
_OPCODE = re.compile(r"[A-Za-z]\w*(?:\.(?!\.)[\w]+(?:::\w+)*)*")
_SPACES = ("local", "shared", "param", "global", "const")


def parse_body(text: str, start: int, end: int) -> Block:
    """Read the block whose `{` is at `start` and whose end is `end`.

    Raises:
        PtxProblem: a statement cannot be followed.
    """
    open_: list[tuple[int, list[Item]]] = []
    items: list[Item] = []
    at, begun = start, start
    while at < end:
        char = text[at]
        if char == "{":
            if len(open_) > DEEPEST:
                raise problem_at(text, at, "blocks are nested too deep")
            open_.append((begun, items))
            begun, items = at, []
            at += 1
        elif char == "}":
            block = Block(tuple(items), begun, at + 1)
            begun, items = open_.pop()
            if not open_:
                return block
            items.append(block)
            at += 1
        else:
            at = _statement(text, at, items)
        at = skip_blank(text, at)
    raise problem_at(text, start, "'{' without '}'")


def _statement(text: str, at: int, items: list[Item]) -> int:
    """Read one statement that is no block; returns where it ends."""
    char = text[at]
    if char == ".":
        return _directive(text, at, items)
    if char == ";":
        return at + 1
    label = _LABEL.match(text, at)
    if not label:
        return _instruction(text, at, items)
    behind = skip_blank(text, label.end())
    if text.startswith(_TABLES, behind):
        end = statement_end(text, behind)
        statement = without_comments(text[behind : end - 1])
        name, _, rest = statement.partition(" ")
        items.append(Directive(name[1:].strip(), rest.strip(), label[1], at, end))
        return end
    items.append(Label(label[1], at, label.end()))
    return label.end()


def _directive(text: str, at: int, items: list[Item]) -> int:
    found = _DIRECTIVE.match(text, at)
    name = found[1] if found else ""
    if name == "loc":
        end, place = line_end(text, at), _LOC.match(text, at)
        items.append(Line(int(place[1]) if place else 0, int(place[2]) if place else 0, at, end))
        return end
    if name == "file":
        return line_end(text, at)
    end = statement_end(text, at)
    if name == "reg":
        items.append(parse_registers(text, at, end))
    elif name in _SPACES or name in ("extern", "visible", "weak"):
        items += parse_variables(text, at, end)
    else:
        items.append(Directive(name, text[at + len(name) + 1 : end - 1].strip(), "", at, end))
    return end


def _instruction(text: str, at: int, items: list[Item]) -> int:
    end = statement_end(text, at)
    guard, negated, opcode_at = "", False, at
    if text[at] == "@":
        found = _GUARD.match(text, at)
        if not found:
            raise problem_at(text, at, "'@' without a predicate")
        guard, negated = found[2], bool(found[1])
        opcode_at = skip_blank(text, found.end())
    opcode = _OPCODE.match(text, opcode_at)
    if not opcode:
        raise problem_at(text, at, f"'{text[at : at + 20].split(maxsplit=1)[0]}' is no instruction")
    operands = without_comments(text[opcode.end() : end - 1]).strip()
    if operands.count("{") != operands.count("}"):
        raise problem_at(text, at, "an instruction has no ';'")
    items.append(Instruction(guard, negated, opcode[0], operands, at, end, opcode_at))
    return end
