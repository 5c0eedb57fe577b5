"""C text to tokens; a line of the preprocessor is one token."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.lang.source import At

TOKEN = re.compile(
    r"(?P<layout>(?:[ \t\r\n\f\v]+|\\\r?\n|//[^\n]*|/\*[\s\S]*?(?:\*/|\Z))+)"
    r"|(?P<line>(?m:^)[ \t]*\#(?:[^\n\\]|\\[\s\S])*)"
    r"|(?P<ident>[A-Za-z_$][A-Za-z0-9_$]*)"
    r"|(?P<number>\.?[0-9](?:[eEpP][+-]|[0-9A-Za-z_.'])*)"
    r'|(?P<string>(?:u8|[uUL])?"(?:[^"\\\n]|\\[\s\S])*")'
    r"|(?P<char>[uUL]?'(?:[^'\\\n]|\\[\s\S])+')"
    r"|(?P<op>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||\#\#|::|[-+*/%&|^]=|[{}()\[\];:,.?+\-*/%&|^~!<>=\#@])"
)
NUMBER = re.compile(r"(0[xX][0-9a-fA-F']+|0[bB][01']+|[0-9][0-9']*)([uUlLzZ]*)")
ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27}


@dataclass(frozen=True, slots=True)
class CToken:
    """`kind` is a group name of `TOKEN`, or `end`."""

    kind: str
    text: str
    at: At


class CError(Exception):
    """Text that cannot be read as C; caught where its place in the script is known."""

    def __init__(self, text: str, at: At, hint: str = "") -> None:
        super().__init__(text)
        self.at = at
        self.hint = hint


def tokens(text: str) -> list[CToken]:
    """Split a text.

    Raises:
        CError: a character that begins no token.
    """
    found: list[CToken] = []
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise CError(f"unexpected character {text[at]!r}", (at, at + 1))
        kind = match.lastgroup or ""
        if kind != "layout":
            found.append(CToken(kind, match[0], (at, match.end())))
        at = match.end()
    return found


def number(token: CToken) -> int:
    """Value of an integer constant.

    Raises:
        CError: it is none, or a floating one.
    """
    match = NUMBER.fullmatch(token.text)
    if not match:
        raise CError(f"not an integer constant: {token.text}", token.at)
    digits = match[1].replace("'", "")
    try:
        if digits[0] == "0" and len(digits) > 1 and digits[1].isdigit():
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        raise CError(f"not an integer constant: {token.text}", token.at) from None


def character(token: CToken) -> int:
    """Value of a character constant.

    Raises:
        CError: an escape that does not exist.
    """
    inner = token.text[token.text.index("'") + 1 : -1]
    if not inner.startswith("\\"):
        return ord(inner[-1])
    try:
        if inner[1] == "x":
            return int(inner[2:], 16)
        if inner[1].isdigit():
            return int(inner[1:], 8)
    except ValueError:
        raise CError(f"bad escape in {token.text}", token.at) from None
    return ESCAPES.get(inner[1], ord(inner[1]))
