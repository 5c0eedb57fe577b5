"""The words of PTX: where blanks, statements and blocks end. All patterns run in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attachers.cuda.ptx.syntax import problem_at

NAME = r"[A-Za-z_$%][\w$]*"
# Only single characters are repeated possessively: of groups, Python before 3.11.5 forgets where one began.
_STRING = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"'
_COMMENT = r"//[^\n]*+|/\*[^*]*+(?:\*(?!/)[^*]*+)*\*/"
_BLANK = re.compile(rf"(?:[\s\0]++|{_COMMENT})*")
_STATEMENT = re.compile(rf'(?:[^;"/]++|{_STRING}|{_COMMENT}|/(?![/*]))*;')
_BRACES = re.compile(rf"[{{}}]|{_STRING}|{_COMMENT}")
_WORD = re.compile(
    rf"(?P<blank>[\s\0]++|{_COMMENT})|(?P<string>{_STRING})|(?P<directive>\.[A-Za-z_][\w]*(?:::\w+)*)"
    rf"|(?P<number>0[fF][0-9a-fA-F]{{8}}|0[dD][0-9a-fA-F]{{16}}|0[xX][0-9a-fA-F]+U?|0[bB][01]+U?"
    rf"|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?U?)"
    rf"|(?P<name>{NAME})|(?P<mark>.)",
    re.S,
)
_COMMENTS = re.compile(_COMMENT)


def skip_blank(text: str, at: int) -> int:
    """Give the position of the next word at or behind `at`; NULs count as blanks, as files end with one."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def statement_end(text: str, at: int) -> int:
    """Give the position behind the `;` that ends the statement at `at`.

    Raises:
        PtxProblem: there is none.
    """
    found = _STATEMENT.match(text, at)
    if not found:
        raise problem_at(text, at, "a statement has no ';'")
    return found.end()


def block_end(text: str, at: int) -> int:
    """Give the position behind the `}` that closes the `{` at `at`.

    Raises:
        PtxProblem: there is none.
    """
    depth = 0
    for found in _BRACES.finditer(text, at):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if not depth:
                return found.end()
    raise problem_at(text, at, "'{' without '}'")


def line_end(text: str, at: int) -> int:
    """Give the position of the newline behind `at`, or the text's end."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def without_comments(text: str) -> str:
    """Give a statement's text with blanks in the place of comments."""
    return _COMMENTS.sub(" ", text) if "/" in text else text


def words(text: str, at: int, end: int | None = None) -> Iterator[tuple[str, str, int]]:
    """Yield kind, text and position of each word that is no blank."""
    for found in _WORD.finditer(text, at, len(text) if end is None else end):
        kind = found.lastgroup or "mark"
        if kind != "blank":
            yield kind, found[0], found.start()


def split(text: str) -> tuple[str, ...]:
    """Cut operands at the commas that no bracket encloses."""
    if not text:
        return ()
    depth, start, out = 0, 0, []
    for at, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and not depth:
            out.append(text[start:at].strip())
            start = at + 1
    out.append(text[start:].strip())
    return tuple(out)
