"""Characters to tokens, on demand: attach points, C definitions and predicates need the raw text.

Three places of the grammar are context dependent, so there is no token stream; the parser asks for the
token at its position and may go back to any position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from runtime.errors import Problem
from runtime.lang.source import At, Source

LAYOUT = re.compile(r"(?:[ \t\r\n\f\v]+|//[^\n]*|/\*[\s\S]*?(?:\*/|\Z))*")
TOKEN = re.compile(
    r"(?P<ident>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>[0-9][0-9A-Za-z_]*)"
    r"|(?P<var>\$[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<param>\$(?:[0-9]+|#))"
    r"|(?P<map>@(?:[A-Za-z_][A-Za-z0-9_]*)?)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")'
    r"|(?P<op><<=|>>=|\+\+|--|->|<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|\*=|/=|%=|&=|\|=|\^=|\.\."
    r"|[{}()\[\];:,.?+\-*/%&|^~!<>=])"
)
ESCAPE = re.compile(r"\\(?:([ntr\"\\])|([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|([\s\S]))")
SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
DURATIONS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9,
}  # fmt: skip
SUFFIX_LIMITS = {"u": 32, "ul": 64, "ull": 64, "l": 63, "ll": 63}  # bits that the value may have


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is a group name of `TOKEN` or `end`; `text` as written."""

    kind: str
    text: str
    at: At


class Tokens:
    """A position in a source with one token of look-ahead.

    Raises:
        Problem: from every method that reads, on text that is no token.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.position = 0
        self._token: Token | None = None

    def fail(self, text: str, at: At | None = None, hint: str = "") -> NoReturn:
        """Raise a syntax error at a place, else at the current token."""
        raise self.error(text, at, hint)

    def error(self, text: str, at: At | None = None, hint: str = "") -> Problem:
        """Make a syntax error at a place, else at the current token."""
        return self.source.problem(at or self.peek_at(), "syntax: " + text, hint)

    def skip_layout(self) -> int:
        """Move over blanks and comments; give the new position."""
        found = LAYOUT.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return self.position

    def peek_at(self) -> At:
        """Where the next token is, even when it is none."""
        if self._token is not None:
            return self._token.at
        start = self.skip_layout()
        found = TOKEN.match(self.text, start)
        return (start, found.end()) if found else (start, min(start + 1, len(self.text)))

    def peek(self) -> Token:
        """The token at the position."""
        if self._token is None:
            start = self.skip_layout()
            found = TOKEN.match(self.text, start)
            if found:
                self._token = Token(found.lastgroup or "", found[0], (start, found.end()))
            elif start >= len(self.text):
                self._token = Token("end", "", (start, start))
            else:
                raise self._bad(start)
        return self._token

    def _bad(self, start: int) -> NoReturn:
        char = self.text[start]
        if char == '"':
            end = self.text.find("\n", start)
            self.fail("unterminated string", (start, end if end > 0 else len(self.text)))
        if char == "$":
            self.fail("expected identifier after '$'", (start, start + 1))
        if char == "'":
            self.fail(
                'unexpected character "\'"', (start, start + 1), "strings are written with double quotes"
            )
        self.fail(f"unexpected character {char!r}", (start, start + 1))

    def next(self) -> Token:
        """Take the token at the position."""
        token = self.peek()
        self.position = token.at[1]
        self._token = None
        return token

    def back(self, position: int) -> None:
        """Go to a position, usually one before."""
        self.position = position
        self._token = None

    def is_op(self, text: str) -> bool:
        """Whether the next token is this operator."""
        token = self.peek()
        return token.kind == "op" and token.text == text

    def is_word(self, text: str) -> bool:
        """Whether the next token is this word."""
        token = self.peek()
        return token.kind == "ident" and token.text == text

    def accept(self, text: str) -> Token | None:
        """Take the operator if it is there."""
        return self.next() if self.is_op(text) else None

    def expect(self, text: str) -> Token:
        """Take the operator or fail; a missing one is shown where it belongs."""
        if not self.is_op(text):
            self.fail(f"expected '{text}'")
        return self.next()

    def identifier(self, what: str = "identifier") -> Token:
        """Take a word or fail."""
        if self.peek().kind != "ident":
            self.fail(f"expected {what}")
        return self.next()

    def integer(self) -> int:
        """Take an integer literal."""
        token = self.peek()
        if token.kind != "number":
            self.fail("expected integer")
        self.next()
        return self.integer_value(token)

    def integer_value(self, token: Token) -> int:
        """Value of a number token."""
        try:
            return parse_integer(token.text)
        except ValueError as error:
            self.fail(str(error), token.at)

    def string_value(self, token: Token) -> bytes:
        """Bytes of a string token, escapes resolved."""
        inner = token.text[1:-1]
        if "\\" not in inner:
            return inner.encode("utf-8", "surrogateescape")
        parts: list[bytes] = []
        position = 0
        for found in ESCAPE.finditer(inner):
            parts.append(inner[position : found.start()].encode("utf-8", "surrogateescape"))
            begin = token.at[0] + 1 + found.start()
            parts.append(self._escape(found, (begin, begin + len(found[0]))))
            position = found.end()
        parts.append(inner[position:].encode("utf-8", "surrogateescape"))
        return b"".join(parts)

    def _escape(self, found: re.Match[str], at: At) -> bytes:
        simple, octal, digits, other = found.groups()
        if simple:
            return SIMPLE_ESCAPES[simple].encode()
        if octal:
            if int(octal, 8) > 0o377:
                self.fail("octal escape sequence out of range", at)
            return bytes([int(octal, 8)])
        if digits:
            return bytes([int(digits, 16)])
        if other in "xX":
            self.fail("invalid hex escape sequence", at)
        raise self.error(f"invalid escape character '\\{other}'", at)


INTEGER = re.compile(r"(?P<digits>[0-9_]+)(?:[eE](?P<exponent>[0-9_]+))?(?P<suffix>[A-Za-z]*)")


def parse_integer(text: str) -> int:
    """Value of an unsigned literal of the language, with suffix or exponent.

    Raises:
        ValueError: the text says what is wrong; no number, or it does not fit 64 bits.
    """
    if text[:2] in ("0x", "0X"):
        return _hexadecimal(text)
    found = INTEGER.fullmatch(text)
    if not found:
        raise ValueError(f"invalid trailing bytes: {text}")
    digits, exponent, suffix = found["digits"], found["exponent"], found["suffix"]
    if digits.endswith("_") or (exponent and exponent.endswith("_")):
        raise ValueError(f"invalid trailing bytes: {text}")
    value = _digits(digits.replace("_", ""), text)
    if exponent:
        value = _exponent(value, exponent.replace("_", ""), text)
    if suffix:
        value = _suffix(value, suffix, text)
    if value >= 1 << 64:
        raise ValueError(f"value is out of range: {text}")
    return value


def _hexadecimal(text: str) -> int:
    digits = text[2:].replace("_", "")
    if text.endswith("_") or not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        raise ValueError(f"invalid trailing bytes: {text}")
    value = int(digits, 16)
    if value >= 1 << 64:
        raise ValueError(f"value is out of range: {text}")
    return value


def _digits(digits: str, text: str) -> int:
    if len(digits) > 1 and digits[0] == "0":
        if not re.fullmatch(r"[0-7]+", digits):
            raise ValueError(f"invalid trailing bytes: {text}")
        return int(digits, 8)
    if len(digits) > 20:
        raise ValueError(f"value is out of range: {text}")
    return int(digits)


def _exponent(value: int, exponent: str, text: str) -> int:
    if not 1 <= value <= 9:
        raise ValueError(f"coefficient part of scientific literal must be in range (1,9), got: {value}")
    if exponent[0] == "0" or len(exponent) > 2:
        raise ValueError(f"invalid exponent: {text}")
    scale: int = 10 ** int(exponent)
    return value * scale


def _suffix(value: int, suffix: str, text: str) -> int:
    if suffix in DURATIONS:
        return value * DURATIONS[suffix]
    bits = SUFFIX_LIMITS.get(suffix.lower())
    if bits is None:
        if suffix[0] in "eE":
            raise ValueError(f"invalid trailing bytes: {text}")
        raise ValueError(f"invalid integer suffix '{suffix}'")
    if value >= 1 << bits:
        raise ValueError(f"value is out of range: {text}")
    return value
