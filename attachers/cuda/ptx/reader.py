"""PTX text → `Module`. Bodies are parsed when asked for; all others are skipped by their braces.

Damaged text gives a `PtxProblem` with its line, never another exception: images come from the target.
"""

from __future__ import annotations

import re

from attachers.cuda.ptx.bodies import parse_body
from attachers.cuda.ptx.declarations import LINKAGES, parse_variables
from attachers.cuda.ptx.headers import parse_header
from attachers.cuda.ptx.syntax import SPACES, Block, Function, Module, PtxProblem, Variable, problem_at
from attachers.cuda.ptx.tokens import block_end, line_end, skip_blank, statement_end

_VERSION = re.compile(r"\.version\s+(\d{1,3})\.(\d{1,3})")
_TARGET = re.compile(r"\.target\s+([\w]+(?:\s*,\s*\w+)*)")
_ADDRESS_SIZE = re.compile(r"\.address_size\s+(\d{1,3})")
_WORD = re.compile(r"\.[A-Za-z_]\w*|@@\w+|[A-Za-z_$%][\w$]*|.", re.S)
_LINKAGE = rf"(?:{'|'.join(LINKAGES)})\b"
_LEADS = re.compile(rf"(?:\.{_LINKAGE}\s*)*\.(?!{_LINKAGE})(\w+)")
_TO_NEWLINE = (".file", ".loc", "@@DWARF")
LARGEST = 256 << 20  # characters


def parse(text: str) -> Module:
    """Read a module's declarations and the headers of its functions.

    Raises:
        PtxProblem: it is no PTX, or its structure cannot be followed.
    """
    if len(text) > LARGEST:
        raise PtxProblem("more than 256 MiB of PTX")
    return _Reader(text).read()


def body_of(module: Module, function: Function) -> Block:
    """Give the statements of a function that has a body; they are parsed once.

    Raises:
        PtxProblem: a statement cannot be followed.
    """
    if function.body is None:
        raise PtxProblem(f"function '{function.name}' has no body")
    start = function.body[0]
    if start not in module.bodies:
        module.bodies[start] = parse_body(module.text, *function.body)
    return module.bodies[start]


class _Reader:
    """One pass over the statements at module scope."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.functions: list[Function] = []
        self.variables: list[Variable] = []
        self.version = (0, 0)
        self.version_at = (0, 0)
        self.targets: tuple[str, ...] = ()
        self.target_at = (0, 0)
        self.address_size = 32  # what a text without the directive means
        self.declare_at = 0

    def read(self) -> Module:
        text = self.text
        self.at = skip_blank(text, 0)
        if not text.startswith(".version", self.at):
            raise problem_at(text, self.at, "not PTX: it begins with no '.version'")
        while self.at < len(text):
            self._statement()
            self.at = skip_blank(text, self.at)
        if not self.targets:
            raise PtxProblem("no '.target'")
        return Module(
            text,
            *(self.version, self.version_at, self.targets, self.target_at),
            *(self.address_size, self.declare_at),
            *(tuple(self.functions), tuple(self.variables)),
        )

    def _statement(self) -> None:
        text, at = self.text, self.at
        found = _WORD.match(text, at)
        word = found[0] if found else ""
        if word in _HEADER:
            _HEADER[word](self)
        elif word in _TO_NEWLINE:
            self.at = line_end(text, at)
        elif word == ".section":
            brace = text.find("{", at)
            if brace < 0:
                raise problem_at(text, at, "'.section' without a block")
            self.at = block_end(text, brace)
        elif word.startswith("."):
            self._declaration()
        elif word == ";":
            self.at = at + 1
        else:
            raise problem_at(text, at, f"'{word}' cannot stand here")

    def _declaration(self) -> None:
        text = self.text
        leads = _LEADS.match(text, self.at)
        kind = leads[1] if leads else ""
        if kind in ("entry", "func"):
            function = parse_header(text, self.at)
            self.functions.append(function)
            self.at = function.body[1] if function.body else statement_end(text, function.header_end)
            return
        end = statement_end(text, self.at)
        if kind in SPACES and kind != "reg":
            self.variables += parse_variables(text, self.at, end)
        self.at = end

    def read_version(self) -> None:
        found = self._match(_VERSION, "'.version' without a number")
        self.version = (int(found[1]), int(found[2]))
        self.version_at = (found.start(1), found.end(2))

    def read_target(self) -> None:
        found = self._match(_TARGET, "'.target' without a name")
        self.targets = tuple(word.strip() for word in found[1].split(","))
        self.target_at = (found.start(1), found.start(1) + len(self.targets[0]))

    def read_address_size(self) -> None:
        self.address_size = int(self._match(_ADDRESS_SIZE, "'.address_size' without a number")[1])

    def _match(self, pattern: re.Pattern[str], message: str) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if not found:
            raise problem_at(self.text, self.at, message)
        self.at = self.declare_at = found.end()
        return found


_HEADER = {
    ".version": _Reader.read_version,
    ".target": _Reader.read_target,
    ".address_size": _Reader.read_address_size,
}
