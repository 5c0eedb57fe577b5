"""The preprocessor: conditions, macros without parameters, and what a compiler's own preprocessor has made.

Without `#include` nothing else is needed. With it the whole text goes through the host's preprocessor once
(`cc -E -dD`), whose output names the lines that it comes from.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from runtime.lang.c.constants import Constants
from runtime.lang.c.lexer import CError, CToken, tokens
from runtime.lang.source import At

DIRECTIVE = re.compile(r"\s*#\s*([a-z]+)?\s*((?:[^\\]|\\[\s\S])*)")
DEFINE = re.compile(r"([A-Za-z_]\w*)(\(?)([\s\S]*)")
MARKER = re.compile(r"\s*#\s*(?:line\s+)?([0-9]+)(?:\s+\"((?:[^\"\\]|\\.)*)\")?")
STDIN = "<stdin>"
ELSEWHERE: At = (-1, -1)  # the place of what stands in a header
IGNORED = ("pragma", "line", "warning", "ident")
Macros = dict[str, str | None]  # body of a macro; None: it has parameters


def includes(text: str) -> bool:
    """Whether a text includes files."""
    return re.search(r"^[ \t]*#[ \t]*include\b", text, re.M) is not None


class Preprocessor:
    """Turns a text into tokens; `macros` are those defined at its end."""

    def __init__(self, macros: Macros) -> None:
        self.macros = macros
        self.out: list[CToken] = []
        self._states: list[tuple[bool, bool, At]] = []  # taken now, taken before, place of the `#if`

    def run(self, text: str) -> list[CToken]:
        """Carry out the directives of a text.

        Raises:
            CError: what is wrong.
        """
        for token in tokens(text):
            if token.kind == "line":
                self._directive(token)
            elif self._active:
                self.expand(token, self.out, ())
        if self._states:
            raise CError("#if without #endif", self._states[-1][2])
        return self.out

    @property
    def _active(self) -> bool:
        return all(state[0] for state in self._states)

    def _directive(self, token: CToken) -> None:
        found = DIRECTIVE.match(token.text)
        word, rest = (found[1] or "", found[2]) if found else ("", "")
        rest = re.sub(r"//.*|/\*[\s\S]*?\*/", " ", rest).replace("\\\n", " ").strip()
        if word in CONDITIONS:
            CONDITIONS[word](self, token, rest)
        elif not self._active or not word or word in IGNORED:
            if word == "pragma" and self._active:
                self.out.append(token)
        elif word == "define":
            self._define(token, rest)
        elif word == "undef":
            self.macros.pop(rest, None)
        elif word == "error":
            raise CError(f"#error {rest}", token.at)
        else:
            raise CError(f"invalid preprocessing directive #{word}", token.at)

    def _define(self, token: CToken, rest: str) -> None:
        found = DEFINE.match(rest)
        if not found:
            raise CError("macro names must be identifiers", token.at)
        has_parameters = found[2] == "("
        self.macros[found[1]] = None if has_parameters else found[3].strip()

    def _if(self, token: CToken, rest: str) -> None:
        self._open(token, self._active and self._condition(token, rest))

    def _ifdef(self, token: CToken, rest: str) -> None:
        self._open(token, rest.partition(" ")[0] in self.macros)

    def _ifndef(self, token: CToken, rest: str) -> None:
        self._open(token, rest.partition(" ")[0] not in self.macros)

    def _open(self, token: CToken, taken: bool) -> None:
        self._states.append((taken, taken, token.at))

    def _elif(self, token: CToken, rest: str) -> None:
        _, before, at = self._top(token)
        taken = not before and all(s[0] for s in self._states[:-1]) and self._condition(token, rest)
        self._states[-1] = (taken, before or taken, at)

    def _else(self, token: CToken, rest: str) -> None:
        del rest
        _, before, at = self._top(token)
        self._states[-1] = (not before, True, at)

    def _endif(self, token: CToken, rest: str) -> None:
        del rest
        self._top(token)
        self._states.pop()

    def _top(self, token: CToken) -> tuple[bool, bool, At]:
        if not self._states:
            raise CError(f"{token.text.split()[0]} without #if", token.at)
        return self._states[-1]

    def _condition(self, token: CToken, rest: str) -> bool:
        replaced = re.sub(
            r"\bdefined\s*(?:\(\s*([A-Za-z_]\w*)\s*\)|([A-Za-z_]\w*))",
            lambda found: "1" if (found[1] or found[2]) in self.macros else "0",
            rest,
        )
        out: list[CToken] = []
        for one in tokens(replaced):
            self.expand(CToken(one.kind, one.text, token.at), out, ())
        parser = _Condition(out)
        value = parser.constant()
        if parser.peek().kind != "end":
            raise CError("missing operator in #if", token.at)
        return value != 0

    def expand(self, token: CToken, out: list[CToken], inside: tuple[str, ...]) -> None:
        """Append a token, or what the macro of its name stands for."""
        body = self.macros.get(token.text) if token.kind == "ident" else None
        if body is None or token.text in inside:
            out.append(token)
            return
        for one in tokens(body):
            self.expand(CToken(one.kind, one.text, token.at), out, (*inside, token.text))


class _Condition(Constants):
    """`#if`: words that are no macros are 0."""

    def word(self, token: CToken) -> int:
        """Value of a word."""
        del token
        return 0


CONDITIONS = {
    "if": Preprocessor._if,
    "ifdef": Preprocessor._ifdef,
    "ifndef": Preprocessor._ifndef,
    "elif": Preprocessor._elif,
    "else": Preprocessor._else,
    "endif": Preprocessor._endif,
}


def read_output(output: str, original: str, macros: Macros) -> list[CToken]:
    """Tokens of what a compiler's preprocessor has written, with places in the original text.

    What stands in a header has the place `ELSEWHERE`; what the text itself says, its whole line's.

    Raises:
        CError: a character that begins no token.
    """
    lines = original.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    begins = [0, *(found.end() for found in re.finditer("\n", output))]
    result: list[CToken] = []
    base, at_line, is_ours = 0, 0, False  # the line of `output` behind the last marker is line `at_line`
    preprocessor = Preprocessor(macros)
    for token in tokens(output):
        here = bisect_right(begins, token.at[0]) - 1
        if token.kind == "line":
            if marker := MARKER.match(token.text):
                base, at_line, is_ours = here + 1, int(marker[1]), marker[2] in (None, STDIN)
                continue
            if token.text.lstrip(" \t#").startswith(("define", "undef")):
                preprocessor._directive(token)
                continue
        number = at_line + here - base - 1
        place = ELSEWHERE
        if is_ours and 0 <= number < len(lines):
            place = (starts[number], starts[number] + len(lines[number]))
        result.append(CToken(token.kind, token.text, place))
    return result
