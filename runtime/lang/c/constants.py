"""Constant expressions of C: sizes of arrays, widths of bit-fields, values of enumerators, `#if`."""

from __future__ import annotations

from collections.abc import Callable

from runtime.lang.c.lexer import CError, CToken, character, number

LEVELS = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
END = CToken("end", "", (0, 0))
MAX_BITS = 1 << 12
MAX_DEPTH = 100


def combine(op: str, a: int, b: int) -> int:
    """Apply an operator as C does.

    Raises:
        ValueError: division by zero, a shift that is too long.
    """
    if op in ("/", "%"):
        if b == 0:
            raise ValueError("division by zero")
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if op == "/" else a - b * quotient
    if op in ("<<", ">>") and not 0 <= b < 64:
        raise ValueError("shift out of range")
    return int(OPERATORS[op](a, b))


OPERATORS: dict[str, Callable[[int, int], int]] = {
    "||": lambda a, b: bool(a or b), "&&": lambda a, b: bool(a and b), "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b, "&": lambda a, b: a & b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
    "<<": lambda a, b: a << b, ">>": lambda a, b: a >> b, "+": lambda a, b: a + b,
    "-": lambda a, b: a - b, "*": lambda a, b: a * b,
}  # fmt: skip


class Constants:
    """Reads constant expressions at a position of a list of tokens; subclasses know what words mean.

    Raises:
        CError: from every method that reads, on what is no constant expression.
    """

    def __init__(self, tokens: list[CToken]) -> None:
        self.tokens = tokens
        self.position = 0
        self._depth = 0

    def peek(self, ahead: int = 0) -> CToken:
        """The token at the position, or behind it."""
        at = self.position + ahead
        return self.tokens[at] if at < len(self.tokens) else self._end()

    def _end(self) -> CToken:
        at = self.tokens[-1].at[1] if self.tokens else 0
        return CToken("end", "", (at, at))

    def next(self) -> CToken:
        """Take a token."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, text: str) -> bool:
        """Take a word or operator if it is there."""
        if self.peek().text == text and self.peek().kind in ("op", "ident"):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> CToken:
        """Take an operator or fail."""
        token = self.peek()
        if not self.accept(text):
            raise CError(f"expected '{text}'", token.at)
        return token

    def constant(self) -> int:
        """Read a whole expression."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CError("the expression is nested too deep", self.peek().at)
        value = self._level(0)
        if self.accept("?"):
            then = self.constant()
            self.expect(":")
            otherwise = self.constant()
            value = then if value else otherwise
        self._depth -= 1
        return value

    def _level(self, level: int) -> int:
        if level == len(LEVELS):
            return self.unary()
        value = self._level(level + 1)
        while self.peek().kind == "op" and self.peek().text in LEVELS[level]:
            token = self.next()
            right = self._level(level + 1)
            try:
                value = combine(token.text, value, right)
            except ValueError as error:
                raise CError(str(error), token.at) from None
            if value.bit_length() > MAX_BITS:
                raise CError("the value is too large", token.at)
        return value

    def unary(self) -> int:
        """Read a prefix expression."""
        token = self.peek()
        if token.kind == "op" and token.text in ("-", "+", "~", "!"):
            self.next()
            value = self.unary()
            return {"-": -value, "+": value, "~": ~value, "!": int(not value)}[token.text]
        if token.text == "(":
            self.next()
            value = self.constant()
            self.expect(")")
            return value
        return self.primary()

    def primary(self) -> int:
        """Read a number, a character or a word."""
        token = self.next()
        if token.kind == "number":
            return number(token)
        if token.kind == "char":
            return character(token)
        if token.kind == "ident":
            return self.word(token)
        raise CError("expected a constant expression", token.at)

    def word(self, token: CToken) -> int:
        """Value of a word."""
        raise CError(f"'{token.text}' is not a constant", token.at)
