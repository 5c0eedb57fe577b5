"""Statements and the top level: text to the tree, stopping at the first syntax error."""

from __future__ import annotations

import re

from runtime.lang import tree
from runtime.lang.expressions import ExpressionParser
from runtime.lang.source import Source

ASSIGNMENTS = frozenset(["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="])
SHEBANG = re.compile(r"\s*#![^\n]*")
C_WORDS = frozenset(["struct", "union", "enum"])


def parse(source: Source, begin: int = 0) -> tree.Script:
    """Parse a whole script: the source's text from an offset on.

    Raises:
        Problem: the first syntax error, with its place.
    """
    return Parser(source, begin).script()


class StatementParser(ExpressionParser):
    """The `stmt` part of the grammar."""

    def block(self) -> tree.Block:
        """Parse `{ … }`; a trailing expression is its value."""
        start = self.expect("{").at[0]
        self.deeper()
        body: list[tree.Statement] = []
        value: tree.Expr | None = None
        while not self.is_op("}"):
            if self.peek().kind == "end":
                self.fail("expected '}'")
            if value is not None:
                self.fail("expected ';'", (value.at[1], value.at[1]))
            if self.accept(";"):
                continue
            item = self._statement()
            if isinstance(item, tree.Expr):
                value = item
            else:
                body.append(item)
        self.depth -= 1
        return tree.Block((start, self.next().at[1]), body, value)

    def _statement(self) -> tree.Statement | tree.Expr:
        token = self.peek()
        if token.kind == "ident" and (special := STATEMENTS.get(token.text)):
            return special(self)
        if token.text == "{" or self.is_word("if"):
            value: tree.Expr = self.block() if token.text == "{" else self.if_expression()
            return value if self.is_op("}") else tree.Do(value.at, value)
        if self.is_word("_"):
            here = self.position
            word = self.next()
            if self.accept("="):
                value = self.expression()
                return self._ended(tree.Assign((word.at[0], value.at[1]), None, "", value))
            self.back(here)
        return self._simple()

    def _simple(self) -> tree.Statement | tree.Expr:
        value = self.expression()
        token = self.peek()
        if token.kind == "op" and token.text in ASSIGNMENTS:
            if isinstance(value, tree.Item | tree.Member):
                self.fail(
                    "Tuples and records are immutable once created. Consider creating a new value and"
                    " assigning it instead.",
                    value.at,
                )
            if not isinstance(value, tree.Scratch | tree.MapAccess):
                self.fail("invalid assignment target", value.at)
            self.next()
            right = self.expression()
            return self._ended(tree.Assign((value.at[0], right.at[1]), value, token.text[:-1], right))
        if self.accept(";"):
            return tree.Do(value.at, value)
        if not self.is_op("}"):
            self.fail("expected ';'", (value.at[1], value.at[1]))
        return tree.Do(value.at, value) if isinstance(value, tree.Increment) else value

    def _ended(self, statement: tree.Statement) -> tree.Statement:
        if not self.accept(";") and not self.is_op("}"):
            self.fail("expected ';'", (statement.at[1], statement.at[1]))
        return statement

    def condition(self) -> tree.Expr:
        """Parse a condition: a whole expression in parentheses, or a unary one."""
        if self.is_op("("):
            here = self.position
            self.next()
            value = self.expression()
            if self.accept(")") and self.is_op("{"):
                return value
            self.back(here)
        return self.unary()

    def _let(self) -> tree.Statement:
        start = self.next().at[0]
        if self.peek().kind != "var":
            self.fail("expected variable in let statement")
        target = self.scratch()
        written = value = None
        end = target.at[1]
        if self.accept(":"):
            written = self.type_name()
            if written is None:
                self.fail("expected type")
            end = written.at[1]
        if self.accept("="):
            value = self.expression()
            end = value.at[1]
        return self._ended(tree.Let((start, end), target, written, value))

    def _for(self) -> tree.Statement:
        start = self.next().at[0]
        parenthesis = self.accept("(")
        if self.peek().kind != "var":
            self.fail("expected variable in for loop")
        target = self.scratch()
        self.expect(":")
        over: tree.MapAccess | tree.Range
        first = self._postfix()
        if self.accept(".."):
            end = self._postfix()
            over = tree.Range((first.at[0], end.at[1]), first, end)
        elif isinstance(first, tree.MapAccess):
            over = first
        else:
            self.fail("expected map or range in for loop", first.at)
        if parenthesis:
            self.expect(")")
        head = (start, over.at[1] + (1 if parenthesis else 0))
        return tree.For(head, target, over, self.block())

    def _while(self) -> tree.Statement:
        start = self.next().at[0]
        condition = self.condition()
        return tree.While((start, condition.at[1]), condition, self.block())

    def _unroll(self) -> tree.Statement:
        start = self.next().at[0]
        count = self.condition()
        return tree.Unroll((start, count.at[1]), count, self.block())

    def _leave(self) -> tree.Statement:
        token = self.next()
        return self._ended(tree.Leave(token.at, token.text))

    def _return(self) -> tree.Statement:
        token = self.next()
        value = None if self.is_op(";") or self.is_op("}") else self.expression()
        return self._ended(tree.Return((token.at[0], value.at[1] if value else token.at[1]), value))

    def import_statement(self) -> tree.Import:
        """Parse `import "path";`."""
        start = self.next().at[0]
        path = self.peek()
        if path.kind != "string":
            self.fail("expected string after import")
        self.next()
        result = tree.Import((start, path.at[1]), self.string_value(path))
        self._ended(result)
        return result


STATEMENTS = {
    "let": StatementParser._let,
    "for": StatementParser._for,
    "while": StatementParser._while,
    "unroll": StatementParser._unroll,
    "break": StatementParser._leave,
    "continue": StatementParser._leave,
    "return": StatementParser._return,
    "import": StatementParser.import_statement,
}


class Parser(StatementParser):
    """The top level: definitions, config, imports, maps, macros, functions, probes."""

    def __init__(self, source: Source, begin: int = 0) -> None:
        super().__init__(source)
        self.position = begin
        self.tree = tree.Script((begin, len(source.text)), [], [], [], [], [], [], [])
        self.seen_config = False

    def script(self) -> tree.Script:
        """Parse everything."""
        if found := SHEBANG.match(self.text, self.position):
            self.position = found.end()
        while self.skip_layout() < len(self.text):
            self._top()
        return self.tree

    def _top(self) -> None:
        start = self.position
        if self.text[start] == "#":
            self._preprocessor(start)
            return
        word = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").match(self.text, start)
        name = word[0] if word else ""
        if name in C_WORDS and self._is_definition(start):
            self._definition(start)
        elif name in TOP and not self._is_point(start + len(name), name):
            TOP[name](self)
        else:
            self._probe()

    def _is_point(self, end: int, name: str) -> bool:
        """Whether a word that begins a declaration begins an attach point here: `config:…`, `fn:…`."""
        return name not in ("let",) and self.text[end : end + 1] in (":", ",")

    def _late(self) -> bool:
        return bool(self.tree.probes or self.tree.functions or self.tree.macros)

    def _preprocessor(self, start: int) -> None:
        end = self.text.find("\n", start)
        end = end if end >= 0 else len(self.text)
        if self._late():
            self.fail("C definitions must appear before probes and functions", (start, end))
        self.tree.definitions.append(tree.Definition((start, end), self.text[start:end]))
        self.back(end)

    def _is_definition(self, start: int) -> bool:
        depth = 0
        for index in range(start, len(self.text)):
            char = self.text[index]
            depth += (char in "([") - (char in ")]")
            if depth == 0 and char == "{":
                return True
            if depth == 0 and char in ":/,;":
                return False
        return False

    def _definition(self, start: int) -> None:
        if self._late():
            self.fail("C definitions must appear before probes and functions", (start, start + 6))
        depth = 0
        end = -1
        for index in range(start, len(self.text)):
            depth += (self.text[index] == "{") - (self.text[index] == "}")
            if depth == 0 and self.text[index] == "}":
                end = index + 1
                break
        if end < 0:
            self.fail("expected '}'", (len(self.text), len(self.text)))
        tail = re.compile(
            r"(?:\s*__attribute__\s*\(\([^()]*(?:\((?:[^()]|\([^()]*\))*\)[^()]*)*\)\))*\s*;?"
        ).match(self.text, end)
        end = tail.end() if tail else end
        self.tree.definitions.append(tree.Definition((start, end), self.text[start:end]))
        self.back(end)

    def _config(self) -> None:
        word = self.next()
        if self._late():
            self.fail("config must appear before probes and functions", word.at)
        if self.seen_config:
            self.fail("duplicate config block", word.at)
        self.seen_config = True
        self.expect("=")
        self.expect("{")
        while not self.is_op("}"):
            key = self.identifier("config key")
            self.expect("=")
            self._setting(key.text, key.at)
            if not self.accept(";") and not self.is_op("}"):
                self.fail("expected ';'")
        self.next()

    def _setting(self, key: str, at: tuple[int, int]) -> None:
        token = self.next()
        value: str | int | bool
        if token.kind == "string":
            value = self.string_value(token).decode("utf-8", "surrogateescape")
        elif token.kind == "number":
            value = self.integer_value(token)
        elif token.kind == "ident":
            value = {"true": True, "false": False}.get(token.text, token.text)
        else:
            self.fail("expected value", token.at)
        self.tree.config.append(tree.Setting(at, key, value, token.at))

    def _import(self) -> None:
        if self._late():
            self.fail("import must appear before probes and functions")
        self.tree.imports.append(self.import_statement())

    def _map_declaration(self) -> None:
        start = self.next().at[0]
        name = self.peek()
        if name.kind != "map":
            self.fail(
                "root-level let statements need to be map declarations, e.g. let @a = hash(2);", name.at
            )
        self.next()
        self.expect("=")
        kind = self.identifier("map type")
        self.expect("(")
        entries = self.integer()
        end = self.expect(")").at[1]
        self.accept(";")
        self.tree.maps.append(tree.MapDeclaration((start, end), name.text, kind.text, kind.at, entries))

    def _macro(self) -> None:
        start = self.next().at[0]
        name = self.identifier("macro name")
        self.expect("(")
        args: list[str] = []
        while not self.is_op(")"):
            token = self.next()
            if token.kind not in ("var", "map", "ident"):
                self.fail("expected macro argument", token.at)
            args.append(token.text)
            if not self.accept(","):
                break
        end = self.expect(")").at[1]
        self.tree.macros.append(tree.Macro((start, end), name.text, args, self.block()))

    def _function(self) -> None:
        start = self.next().at[0]
        name = self.identifier("function name")
        self.expect("(")
        args: list[tuple[str, tree.TypeSyntax]] = []
        while not self.is_op(")"):
            token = self.next()
            if token.kind != "var":
                self.fail("expected function argument", token.at)
            self.expect(":")
            args.append((token.text, self._type()))
            if not self.accept(","):
                break
        self.expect(")")
        self.expect(":")
        result = self._type()
        self.tree.functions.append(
            tree.Function((start, result.at[1]), name.text, args, result, self.block())
        )

    def _type(self) -> tree.TypeSyntax:
        written = self.type_name()
        if written is None:
            self.fail("expected type")
        return written

    def _probe(self) -> None:
        start = self.position
        points = self._points()
        predicate = None
        self.skip_layout()
        if self.text[self.position : self.position + 1] == "/":
            self.back(self.position + 1)
            self.in_predicate = True
            predicate = self.expression()
            self.in_predicate = False
            if not self.is_op("/"):
                self.fail("expected '/' to close predicate")
            self.next()
        body = self.block()
        self.tree.probes.append(tree.Probe((start, body.at[1]), points, predicate, body))

    def _points(self) -> list[tree.AttachPoint]:
        points: list[tree.AttachPoint] = []
        while True:
            start = self.skip_layout()
            end = self._point_end(start)
            if end == start:
                if points and self.text[start : start + 1] in ("{", "/"):
                    return points  # a comma before the body is allowed
                self.fail("expected attach point", (start, start + 1))
            points.append(tree.AttachPoint((start, end), self.text[start:end]))
            self.back(end)
            start = self.skip_layout()
            if self.text[start : start + 1] != ",":
                return points
            self.back(start + 1)

    def _point_end(self, start: int) -> int:
        colon = quoted = False
        index = start
        while index < len(self.text):
            char = self.text[index]
            if quoted:
                index += char == "\\"
                quoted = char != '"'
            elif char == '"':
                quoted = True
            elif char in "{," or char.isspace() or (char == "/" and self._slash_ends(index, colon)):
                break
            colon = colon or char == ":"
            index += 1
        return min(index, len(self.text))

    def _slash_ends(self, index: int, colon: bool) -> bool:
        return self.text[index : index + 2] in ("//", "/*") or not colon


TOP = {
    "config": Parser._config,
    "import": Parser._import,
    "let": Parser._map_declaration,
    "macro": Parser._macro,
    "fn": Parser._function,
}
