"""Expressions of the grammar: precedence climbing over prefix, postfix and primary forms.

Nesting is limited, so that no later pass over the tree can run out of stack.
"""

from __future__ import annotations

from runtime.lang import tree
from runtime.lang.lexer import Token, Tokens
from runtime.lang.source import At

DEPTH = 300  # levels of nesting; each costs a few Python frames in every pass

PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
KEYWORDS = frozenset(
    ("break", "config", "continue", "comptime", "else", "fn", "for", "if", "import", "let", "macro",
     "offsetof", "return", "sizeof", "typeinfo", "typeof", "unroll", "while", "true", "false")
)  # fmt: skip
RESERVED = frozenset(["args", "ctx", "kstack", "nsecs", "pid", "tid", "ustack"])
CAST_FOLLOWS = frozenset('$@"(-!~*&')


def is_reserved(name: str) -> bool:
    """Whether a word is a builtin that the parser knows, so never a type name."""
    number = name[3:] if name.startswith("arg") else name[4:] if name.startswith("sarg") else ""
    return name in RESERVED or name.startswith("__builtin_") or number.isdigit()


class ExpressionParser(Tokens):
    """The `expr` part of the grammar."""

    depth = 0
    in_predicate = False

    def deeper(self) -> None:
        """Count one level of nesting; undone by the caller."""
        self.depth += 1
        if self.depth > DEPTH:
            self.fail(f"nested more than {DEPTH} levels deep")

    def expression(self) -> tree.Expr:
        """Parse one expression."""
        self.deeper()
        condition = self._binary(1)
        if self.accept("?"):
            then = None if self.is_op(":") else self.expression()
            self.expect(":")
            otherwise = self.expression()
            condition = tree.Ternary((condition.at[0], otherwise.at[1]), condition, then, otherwise)
        self.depth -= 1
        return condition

    def _binary(self, floor: int) -> tree.Expr:
        left = self.unary()
        chain = 0
        while True:
            token = self.peek()
            level = PRECEDENCE.get(token.text, 0) if token.kind == "op" else 0
            if level < floor or (token.text == "/" and self.in_predicate and self._closes(token)):
                self.depth -= chain
                return left
            self.next()
            self.deeper()  # a long chain is as deep a tree as a nested one
            chain += 1
            right = self._binary(level + 1)
            left = tree.Binary((left.at[0], right.at[1]), token.text, left, right)

    def _closes(self, slash: Token) -> bool:
        here = self.position
        self.back(slash.at[1])
        start = self.skip_layout()
        self.back(here)
        return self.text[start : start + 1] == "{"

    def unary(self) -> tree.Expr:
        """Parse a prefix expression."""
        token = self.peek()
        if token.kind != "op" or token.text not in ("++", "--", "&", "*", "!", "~", "-"):
            return self._postfix()
        self.next()
        self.deeper()
        value = self.unary()
        self.depth -= 1
        at = (token.at[0], value.at[1])
        if token.text in ("++", "--"):
            if not isinstance(value, tree.Scratch | tree.MapAccess):
                self.fail("increment/decrement requires a variable or map", at)
            return tree.Increment(at, token.text, value, True)
        if token.text == "&":
            if not isinstance(value, tree.Scratch | tree.MapAccess):
                self.fail("address-of operator (&) can only be used on a map or variable", at)
            return tree.AddressOf(at, value)
        return tree.Unary(at, token.text, value)

    def _postfix(self) -> tree.Expr:
        value = self._primary()
        chain = 0
        while self.peek().kind == "op" and (step := POSTFIX.get(self.peek().text)):
            self.deeper()
            chain += 1
            value = step(self, value)
        self.depth -= chain
        return value

    def _member(self, value: tree.Expr) -> tree.Expr:
        arrow = self.next().text == "->"
        token = self.next()
        at = (value.at[0], token.at[1])
        if token.kind == "number" and not arrow:
            return tree.Item(at, value, self.integer_value(token))
        if token.kind != "ident":
            self.fail("expected field name", token.at)
        return tree.Member(at, value, token.text, arrow)

    def _index(self, value: tree.Expr) -> tree.Expr:
        self.next()
        index = self.expression()
        return tree.Index((value.at[0], self.expect("]").at[1]), value, index)

    def _step(self, value: tree.Expr) -> tree.Expr:
        token = self.next()
        at = (value.at[0], token.at[1])
        if not isinstance(value, tree.Scratch | tree.MapAccess):
            self.fail("increment/decrement requires a variable or map", at)
        return tree.Increment(at, token.text, value, False)

    def _primary(self) -> tree.Expr:
        token = self.peek()
        by_kind = PRIMARY.get(token.kind)
        if by_kind:
            return by_kind(self)
        if token.text == "{":
            return self.block()
        if token.text == "(":
            return self._parenthesis()
        raise self.error("expected expression")

    def block(self) -> tree.Block:
        """Parse `{ … }`; statements are the subclass's, one expression alone has none."""
        self.fail("expected expression")

    def if_expression(self) -> tree.If:
        """Parse `if … { … } [else …]`."""
        start = self.next().at[0]
        self.deeper()
        condition = self.condition()
        then = self.block()
        otherwise: tree.Expr | None = None
        if self.is_word("else"):
            self.next()
            otherwise = self.if_expression() if self.is_word("if") else self.block()
        self.depth -= 1
        return tree.If((start, (otherwise or then).at[1]), condition, then, otherwise)

    def condition(self) -> tree.Expr:
        """Parse the condition of if, while, unroll: in parentheses, or up to the `{`."""
        return self.unary()

    def _number(self) -> tree.Expr:
        token = self.next()
        return tree.Integer(token.at, self.integer_value(token), token.text)

    def _string(self) -> tree.Expr:
        token = self.next()
        return tree.String(token.at, self.string_value(token))

    def scratch(self) -> tree.Scratch:
        """Take a scratch variable."""
        token = self.next()
        return tree.Scratch(token.at, token.text)

    def _parameter(self) -> tree.Expr:
        token = self.next()
        if token.text == "$#":
            return tree.Parameter(token.at, 0)
        index = int(token.text[1:]) if len(token.text) < 21 else 0
        if not 1 <= index < 1 << 63:
            self.fail(f"param {token.text} is out of integer range [1, {(1 << 63) - 1}]", token.at)
        return tree.Parameter(token.at, index)

    def map_access(self) -> tree.MapAccess:
        """Take `@name[keys]`."""
        token = self.next()
        if not self.is_op("["):
            return tree.MapAccess(token.at, token.text, None, token.at)
        opening = self.next()
        keys = [self.expression()]
        while self.accept(","):
            keys.append(self.expression())
        end = self.expect("]").at[1]
        key = keys[0] if len(keys) == 1 else tree.Tuple((opening.at[1], end - 1), keys)
        return tree.MapAccess((token.at[0], end), token.text, key, token.at)

    def _word(self) -> tree.Expr:
        token = self.peek()
        special = WORDS.get(token.text)
        if special:
            return special(self)
        if token.text in KEYWORDS and token.text != "config":
            self.fail("expected expression")
        self.next()
        if not self.is_op("("):
            return tree.Identifier(token.at, token.text)
        self.next()
        args: list[tree.Expr] = []
        while not self.is_op(")"):
            args.append(self._argument())
            if not self.accept(","):
                break
        return tree.Call((token.at[0], self.expect(")").at[1]), token.text, args, token.at)

    def _argument(self) -> tree.Expr:
        if self.is_word("typeof"):
            written = self.type_of()
            return tree.TypeArgument(written.at, written)
        return self.expression()

    def _boolean(self) -> tree.Expr:
        token = self.next()
        return tree.Boolean(token.at, token.text == "true")

    def _comptime(self) -> tree.Expr:
        start = self.next().at[0]
        self.deeper()
        value = self.unary()
        self.depth -= 1
        return tree.Comptime((start, value.at[1]), value)

    def _size_of(self) -> tree.Expr:
        token = self.next()
        self.expect("(")
        inner = self.type_or_expression()
        return tree.SizeOf((token.at[0], self.expect(")").at[1]), token.text, inner)

    def _offset_of(self) -> tree.Expr:
        token = self.next()
        self.expect("(")
        inner = self.type_or_expression()
        self.expect(",")
        path = [self.identifier("field name").text]
        while self.accept("."):
            path.append(self.identifier("field name").text)
        return tree.OffsetOf((token.at[0], self.expect(")").at[1]), inner, path)

    def _parenthesis(self) -> tree.Expr:
        opening = self.next()
        if closing := self.accept(")"):
            return tree.Tuple((opening.at[0], closing.at[1]), [])
        special = self._record(opening.at) or self._cast(opening.at)
        if special:
            return special
        first = self.expression()
        if not self.is_op(","):
            self.expect(")")
            return first
        items = [first]
        while self.accept(",") and not self.is_op(")"):
            items.append(self.expression())
        return tree.Tuple((opening.at[0], self.expect(")").at[1]), items)

    def _record(self, opening: At) -> tree.Expr | None:
        here = self.position
        name = self.peek()
        if name.kind != "ident" or is_reserved(name.text):
            return None
        self.next()
        if not self.is_op("="):
            self.back(here)
            return None
        self.back(here)
        names: list[str] = []
        items: list[tree.Expr] = []
        while True:
            name = self.identifier("field name")
            if name.text in names:
                self.fail(f"Named argument list already contains name: {name.text}", name.at)
            names.append(name.text)
            self.expect("=")
            items.append(self.expression())
            if not self.accept(",") or self.is_op(")"):
                break
        return tree.Record((opening[0], self.expect(")").at[1]), names, items)

    def _cast(self, opening: At) -> tree.Expr | None:
        here = self.position
        written = self.type_name()
        if written is None or not self._begins_value():
            self.back(here)
            return None
        self.deeper()
        value = self.unary()
        self.depth -= 1
        return tree.Cast((opening[0], value.at[1]), written, value)

    def _begins_value(self) -> bool:
        if not self.accept(")"):
            return False
        start = self.skip_layout()
        char = self.text[start : start + 1]
        return char.isalnum() or char == "_" or (char != "" and char in CAST_FOLLOWS)

    def type_of(self) -> tree.TypeOf:
        """Take `typeof(…)`."""
        start = self.next().at[0]
        self.deeper()
        self.expect("(")
        inner = self.type_or_expression()
        self.depth -= 1
        return tree.TypeOf((start, self.expect(")").at[1]), inner)

    def type_or_expression(self) -> tree.Expr | tree.TypeSyntax:
        """Take a type, else an expression; a bare word is a type."""
        here = self.position
        written = self.type_name()
        if written is not None and self.peek().text in (")", ","):
            return written
        self.back(here)
        return self.expression()

    def type_name(self) -> tree.TypeSyntax | None:
        """Take a type if one is there; nothing is taken else."""
        here = self.position
        token = self.peek()
        start = token.at[0]
        if token.kind != "ident" or is_reserved(token.text):
            return None
        if token.text == "typeof":
            return self.type_of()
        tag = token.text if token.text in ("struct", "union", "enum") else ""
        if tag:
            self.next()
            token = self.peek()
        if token.kind != "ident" or (not tag and token.text in KEYWORDS):
            self.back(here)
            return None
        self.next()
        written = tree.TypeName((start, token.at[1]), tag, token.text, [])
        while self._suffix(written):
            pass
        return written

    def _suffix(self, written: tree.TypeName) -> bool:
        here = self.position
        if self.accept("*"):
            written.suffixes.append("*")
        elif self.accept("["):
            count = self.peek()
            if count.kind == "number":
                self.next()
            if not self.accept("]"):
                self.back(here)
                return False
            written.suffixes.append(self.integer_value(count) if count.kind == "number" else -1)
        else:
            return False
        written.at = (written.at[0], self.position)
        return True


POSTFIX = {
    ".": ExpressionParser._member,
    "->": ExpressionParser._member,
    "[": ExpressionParser._index,
    "++": ExpressionParser._step,
    "--": ExpressionParser._step,
}
PRIMARY = {
    "number": ExpressionParser._number,
    "string": ExpressionParser._string,
    "var": ExpressionParser.scratch,
    "param": ExpressionParser._parameter,
    "map": ExpressionParser.map_access,
    "ident": ExpressionParser._word,
}
WORDS = {
    "true": ExpressionParser._boolean,
    "false": ExpressionParser._boolean,
    "comptime": ExpressionParser._comptime,
    "sizeof": ExpressionParser._size_of,
    "typeinfo": ExpressionParser._size_of,
    "offsetof": ExpressionParser._offset_of,
    "if": ExpressionParser.if_expression,
}
