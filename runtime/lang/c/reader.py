"""Moving over C that is not of interest."""

from __future__ import annotations

from runtime.lang.c.constants import Constants
from runtime.lang.c.lexer import CError

TAGS = ("struct", "union", "enum")


class Reader(Constants):
    """A position in a list of tokens that knows brackets."""

    def skip_balanced(self) -> None:
        """Take what is in brackets, with them."""
        first, depth = self.peek(), 0
        while True:
            token = self.next()
            if token.kind == "end":
                raise CError(f"'{first.text}' is not closed", first.at)
            if token.kind == "op":
                depth += (token.text in "([{") - (token.text in ")]}")
                if depth == 0:
                    return

    def skip_until(self, ends: tuple[str, ...]) -> None:
        """Go to one of the operators, over what is in brackets."""
        while self.peek().text not in ends or self.peek().kind != "op":
            if self.peek().text in ("(", "[", "{"):
                self.skip_balanced()
            elif self.next().kind == "end":
                raise CError(f"expected '{ends[-1]}'", self.peek().at)

    def skip_to(self, end: str) -> None:
        """Take everything up to an operator, with it."""
        self.skip_until((end,))
        self.next()

    def skip_declaration(self) -> None:
        """Go behind what was not understood: a `;`, or a body that ends a function."""
        while True:
            token = self.peek()
            if token.kind == "end":
                return
            if token.text == "{":
                try:
                    self.skip_balanced()
                except CError:
                    self.position = len(self.tokens)
                if self.peek().kind == "ident" and self.peek().text in (*TAGS, "typedef", "extern", "static"):
                    return
            else:
                self.next()
                if token.text == ";":
                    return
