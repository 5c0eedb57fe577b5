"""A script in one style: two spaces a level, one statement a line; comments and attach points as they were.

Only blanks and line ends change, so the tokens, and with them the program, are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.lang import tree
from runtime.lang.expressions import KEYWORDS
from runtime.lang.lexer import LAYOUT, TOKEN
from runtime.lang.parser import parse
from runtime.lang.source import At, Source

INDENT = "  "
COMMENT = re.compile(r"//[^\n]*|/\*[\s\S]*?(?:\*/|\Z)")
TIGHT_BEFORE = frozenset([")", "]", ",", ";", ".", "->", "..", "++", "--"])
TIGHT_BEHIND = frozenset(["(", "[", ".", "->", "..", "!", "~"])
SIGNS = frozenset(["-", "*", "&", "++", "--", "!", "~"])  # may stand before a value
BEFORE_PARENTHESIS = frozenset(["if", "while", "for", "unroll", "return", "else", "comptime"])
OPERANDS = frozenset(["ident", "number", "string", "var", "param", "map"])


def pretty(text: str, file: str = "stdin") -> str:
    """Give a script in the one style.

    Raises:
        Problem: it is no script.
    """
    source = Source(text, file)
    script = parse(source)
    items = [*script.definitions, *script.config, *script.imports, *script.maps]
    raw = [node.at for node in script.definitions]
    raw += [point.at for probe in script.probes for point in probe.points]
    tops = [node.at[0] for node in (*items, *script.macros, *script.functions, *script.probes)]
    slashes = _slashes(text, [(p.predicate.at, p.body.at[0]) for p in script.probes if p.predicate])
    return _Printer(text, sorted(raw), frozenset(tops), slashes, frozenset(_casts(text, script))).run()


def _casts(text: str, node: tree.Node) -> Iterator[int]:
    """Give the offsets of the parentheses that end casts: what follows is no operator."""
    if isinstance(node, tree.Cast):
        yield text.index(")", node.written.at[1])
    for child in tree.children(node):
        yield from _casts(text, child)


def _slashes(text: str, predicates: list[tuple[At, int]]) -> frozenset[int]:
    """Give the offsets of the slashes around predicates."""
    found = set()
    for (start, end), body in predicates:
        found.add(text.rindex("/", 0, start))
        found.add(text.rindex("/", end, body))
    return frozenset(found)


@dataclass(slots=True)
class _Printer:
    text: str
    raw: list[At]  # ranges that stay as they are
    tops: frozenset[int]
    slashes: frozenset[int]
    casts: frozenset[int]
    lines: list[str] = field(default_factory=list)
    line: str = ""
    depth: int = 0
    nesting: int = 0  # parentheses and brackets
    before: str = ""  # the token before, and its kind
    kind: str = ""
    at: int = 0
    is_unary: bool = False

    def run(self) -> str:
        raw = dict(self.raw)
        found = re.match(r"\s*#![^\n]*", self.text)
        if found:
            self.lines.append(found[0].strip())
            self.at = found.end()
        while True:
            self._layout()
            if self.at >= len(self.text):
                break
            if self.at in raw:
                self._raw(raw[self.at])
            else:
                self._token()
        self._end_line()
        return "\n".join(self.lines).strip("\n") + "\n"

    def _layout(self) -> None:
        """Take blanks and comments; one empty line stays where there were some."""
        found = LAYOUT.match(self.text, self.at)
        gap = found[0] if found else ""
        at = 0
        for comment in COMMENT.finditer(gap):
            self._comment(gap[at : comment.start()], comment[0])
            at = comment.end()
        if self.nesting and "\n" in gap[at:] and self.line:
            self._end_line()
            self.line = INDENT * (self.depth + 1)  # a list of arguments goes on
        elif gap[at:].count("\n") > 1 and not self.nesting:
            self._end_line()
            self._blank()
        elif "\n" in gap[at:] and at:
            self._end_line()
        self.at += len(gap)

    def _comment(self, gap: str, comment: str) -> None:
        if "\n" in gap or (not self.line and not self.lines):
            self._end_line()
            if gap.count("\n") > 1:
                self._blank()
            self._put(comment)
        elif not self.line and self.lines and self.lines[-1]:
            self.lines[-1] += f" {comment}"  # behind what ended the line
            return
        else:
            self.line += f" {comment}" if self.line.strip() else comment
        if comment.startswith("//"):
            self._end_line()

    def _blank(self) -> None:
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def _raw(self, end: int) -> None:
        text = self.text[self.at : end].strip()
        if text[:1] == "#":
            self._end_line()
        self._put(text, space=self.before == ",")
        self.before, self.kind, self.at = "", "raw", end
        if text[:1] == "#" or text[-1:] in "};":
            self._end_line()

    def _token(self) -> None:
        found = TOKEN.match(self.text, self.at)
        assert found is not None
        token, kind = found[0], found.lastgroup or ""
        if self.at in self.tops and not self.nesting:
            self._end_line()
        if self.at in self.slashes:
            self._slash()
        elif token in ("{", "}"):
            self._brace(token)
        else:
            self._put(token, space=self._spaced(token))
            self._after(token, kind)
        self.kind = "cast" if self.at in self.casts else kind
        self.before, self.at = token, found.end()

    def _slash(self) -> None:
        opening = self.kind == "raw"
        self._put("/ " if opening else "/", space=True)
        self.is_unary = False

    def _after(self, token: str, kind: str) -> None:
        self.nesting += (token in "([" and kind == "op") - (token in ")]" and kind == "op")
        self.is_unary = token in SIGNS and not self._is_operand(self.before, self.kind)
        ends = token == ";" or (token == "," and self.kind == "raw")
        if kind == "op" and ends and not self.nesting:
            self._end_line()

    def _brace(self, token: str) -> None:
        if token == "{":
            self._put("{", space=self.before not in TIGHT_BEHIND)
            self.depth += 1
            self._end_line()
            return
        self._end_line()
        self.depth -= 1
        if self.lines and self.lines[-1].endswith("{"):
            self.line = self.lines.pop() + " }"
        else:
            self._put("}")
        following = LAYOUT.match(self.text, self.at + 1)
        rest = self.text[following.end() if following else self.at + 1 :]
        if not re.match(r"else\b|[;),\]]|[-+*/%&|^<>=?:.]", rest):
            self._end_line()

    def _is_operand(self, token: str, kind: str) -> bool:
        if kind == "cast":
            return False
        if kind == "ident":
            return token not in KEYWORDS or token in ("true", "false")
        return kind in OPERANDS or token in (")", "]", "}", "++", "--")

    def _spaced(self, token: str) -> bool:
        """Tell whether a blank goes before a token."""
        was = self.before
        if not self.line.strip() or was in TIGHT_BEHIND or self.is_unary:
            return False
        if token in TIGHT_BEFORE and not (token in ("++", "--") and not self._is_operand(was, self.kind)):
            return False
        if token in ("(", "["):
            return self._opens_apart(token)
        return self.kind != "cast"

    def _opens_apart(self, token: str) -> bool:
        if self.kind == "ident":
            return self.before in BEFORE_PARENTHESIS and token == "("
        if self.kind == "map" or self.before in (")", "]"):
            return False
        return self.kind != "var"

    def _put(self, text: str, *, space: bool = False) -> None:
        if not self.line:
            self.line = INDENT * self.depth
            space = False
        if self.line.endswith(" ") and space:
            space = False
        self.line += (" " if space else "") + text

    def _end_line(self) -> None:
        if self.line.strip():
            self.lines.append(self.line.rstrip())
        self.line = ""
