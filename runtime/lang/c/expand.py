"""Words of a script that C defines: macros become what they stand for, enumerators their values."""

from __future__ import annotations

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.c.lexer import CError, tokens
from runtime.lang.c.parser import CParser
from runtime.lang.c.scope import Scope
from runtime.lang.expressions import ExpressionParser
from runtime.lang.source import At, Source

BRIEF = 60  # characters of a macro's text that a message shows


class Names:
    """Replaces the words of one script. Words that mean something else already are left alone."""

    def __init__(self, source: Source, scope: Scope) -> None:
        self.source = source
        self.scope = scope

    def expand(self, node: tree.Node) -> tree.Node:
        """Rewrite a tree.

        Raises:
            Problem: a macro is no expression.
        """
        if not self.scope.macros and not self.scope.constants:
            return node
        return tree.rewrite(node, lambda inner: self._change(inner, ()))

    def _change(self, node: tree.Node, inside: tuple[str, ...], at: At | None = None) -> tree.Node:
        if not isinstance(node, tree.Identifier):
            if at is not None:
                node.at = at
            return node
        place = at or node.at
        # Headers define some enumerators as themselves.
        if node.name in self.scope.macros and not (node.name in inside and node.name in self.scope.constants):
            return self._macro(node.name, place, inside)
        if node.name in self.scope.constants:
            value, kind = self.scope.constants[node.name]
            return tree.Integer(place, value, named=kind.resized(8))
        node.at = place
        return node

    def _macro(self, name: str, at: At, inside: tuple[str, ...]) -> tree.Node:
        if name in inside:
            chain = "->".join((*inside[inside.index(name) :], name))
            raise self.source.problem(at, f"Macro recursion: {chain}")
        body = self.scope.macros[name]
        parsed = self._parsed(body, at) or self._constant(body, at)
        if parsed is None:
            shown = body[:BRIEF] or "it is empty"
            raise self.source.problem(at, f"unable to expand macro as an expression: {shown}")
        return tree.rewrite(parsed, lambda inner: self._change(inner, (*inside, name), at))

    def _parsed(self, body: str, at: At) -> tree.Expr | None:
        parser = ExpressionParser(Source(body, self.source.file))
        try:
            found = parser.expression()
            return found if parser.peek().kind == "end" else None
        except Problem as problem:
            del problem, at
            return None

    def _constant(self, body: str, at: At) -> tree.Expr | None:
        """A constant that only C reads: suffixes, characters."""
        try:
            parser = CParser(tokens(body), self.scope)
            value = parser.constant()
        except CError:
            return None
        fits = parser.peek().kind == "end" and -(1 << 63) <= value < 1 << 64
        return tree.Integer(at, value) if fits else None
