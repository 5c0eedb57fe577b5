"""Declarations of C to types: what headers and scripts contain, and nothing that is run.

Function bodies and initial values are skipped. In a header, whose tokens have no place in the script, a
declaration that is not understood is skipped as well; in the script it is an error.
"""

from __future__ import annotations

import re

from runtime.lang.c.layout import Attributes, Layout
from runtime.lang.c.lexer import CError, CToken
from runtime.lang.c.numbers import counted, cut, enum_of
from runtime.lang.c.reader import TAGS, Reader
from runtime.lang.c.scope import FLOATING, Scope
from runtime.lang.c.types import FUNCTION, Enum, FunctionType, Opaque, Struct
from runtime.lang.types import BOOL, VOID, Array, Int, Pointer, Type

IGNORED = frozenset(
    ("const", "volatile", "restrict", "__restrict", "__restrict__", "__const", "__volatile__", "__volatile",
     "extern", "static", "inline", "__inline", "__inline__", "register", "auto", "_Noreturn", "__thread",
     "_Thread_local", "__extension__", "_Atomic", "constexpr")
)  # fmt: skip
ATTRIBUTE = ("__attribute__", "__attribute")
LENGTHS = frozenset(
    ("unsigned", "signed", "__signed__", "__signed", "short", "long", "int", "char", "double")
)
SIMPLE: dict[str, Type] = {
    "void": VOID, "_Bool": BOOL, "bool": BOOL, "__int128": Opaque(16, 16),
    "__builtin_va_list": Opaque(24, 8), "_Float16": Opaque(2, 2), "_Float32": Opaque(4, 4),
    "_Float64": Opaque(8, 8), "_Float32x": Opaque(8, 8), "_Float64x": Opaque(16, 16),
    "_Float128": Opaque(16, 16), "__float128": Opaque(16, 16), "float": Opaque(4, 4),
}  # fmt: skip
PACK = re.compile(r"\s*#\s*pragma\s+pack\s*\(([^)]*)\)")
MAX_ALIGN = 1 << 28
MAX_ELEMENTS = 1 << 40
MAX_NESTING = 60


class CParser(Reader):
    """One run over a list of tokens; definitions go to the scope."""

    def __init__(self, tokens: list[CToken], scope: Scope) -> None:
        super().__init__(tokens)
        self.scope = scope
        self.pack = 0
        self._packs: list[int] = []
        self._nesting = 0

    def parse(self) -> None:
        """Read all declarations.

        Raises:
            CError: the first thing that is wrong in the script itself.
        """
        while self.peek().kind != "end":
            start = self.position
            try:
                self.external()
            except CError:
                if self.tokens[min(start, len(self.tokens) - 1)].at[0] >= 0:
                    raise
                self.position = start
                self.skip_declaration()

    def external(self) -> None:
        """Read one declaration."""
        token = self.peek()
        if token.kind == "line":
            self._pragma(self.next().text)
        elif self.accept(";"):
            return
        elif token.text in ("_Static_assert", "static_assert", "asm", "__asm__"):
            self.skip_to(";")
        else:
            self._declaration()

    def _pragma(self, text: str) -> None:
        found = PACK.match(text)
        if not found:
            return
        words = [word.strip() for word in found[1].split(",")]
        if "push" in words:
            self._packs.append(self.pack)
        if "pop" in words:
            self.pack = self._packs.pop() if self._packs else 0
        numbers = [int(word) for word in words if word.isdigit()]
        if numbers or words == [""]:
            self.pack = numbers[-1] if numbers else 0

    def _declaration(self) -> None:
        is_typedef = any(self.peek(i).text == "typedef" for i in range(3))
        base, align = self.specifiers()
        while not self.accept(";"):
            name, kind, derived, attributes = self.declarator(base)
            attributes |= self.attributes()
            if is_typedef and name:
                own = 0 if derived else max(align, attributes.aligned)
                self.scope.typedefs.setdefault(name, (kind, own))
            if self.peek().text == "{" and isinstance(kind, FunctionType):
                self.skip_balanced()
                return
            if self.accept("="):
                self.skip_until((",", ";"))
            if not self.accept(","):
                self.expect(";")
                return

    # Specifiers

    def specifiers(self) -> tuple[Type, int]:
        """Read what comes before a declarator: the type, and the alignment that it is to have."""
        words: list[str] = []
        kind: Type | None = None
        align = 0
        while True:
            token = self.peek()
            if token.text in IGNORED or token.text == "typedef":
                self.next()
            elif token.text in ATTRIBUTE or token.text in ("_Alignas", "alignas"):
                align = max(align, self.attributes().aligned)
            elif token.text in LENGTHS:
                words.append(self.next().text)
            elif kind is None and not words and token.kind == "ident":
                kind, more = self._named_type(token)
                align = max(align, more)
            else:
                break
        if words:
            kind = counted(words)
        if kind is None:
            raise CError("expected a type", self.peek().at)
        return kind, align

    def _named_type(self, token: CToken) -> tuple[Type, int]:
        self.next()
        if token.text in TAGS:
            return self.tag(token), 0
        if token.text in SIMPLE:
            return SIMPLE[token.text], 0
        if token.text in ("typeof", "__typeof__", "__typeof"):
            return self._type_of(), 0
        if token.text in self.scope.typedefs:
            return self.scope.typedefs[token.text]
        found = self.scope.named(token.text)
        if found is None:
            raise CError(f"unknown type name '{token.text}'", token.at)
        return found, 0

    def _type_of(self) -> Type:
        self.expect("(")
        kind = self.type_name()
        self.expect(")")
        return kind

    def type_name(self) -> Type:
        """Read a type as it stands in a cast or sizeof."""
        base, _ = self.specifiers()
        _, kind, _, _ = self.declarator(base)
        return kind

    def begins_type(self) -> bool:
        """Whether a type is at the position."""
        token = self.peek()
        known = token.text in LENGTHS or token.text in TAGS or token.text in IGNORED or token.text in SIMPLE
        return token.kind == "ident" and (
            known or token.text in FLOATING or self.scope.named(token.text) is not None
        )

    # Declarators

    def declarator(self, base: Type) -> tuple[str, Type, bool, Attributes]:
        """Read a declarator, maybe without a name: name, type, whether it is no plain `base`, attributes."""
        kind, derived = base, False
        attributes = self.attributes()
        while self.accept("*") or self.accept("^"):
            kind, derived = Pointer(kind), True
            attributes |= self._qualifiers()
        if self.peek().text == "(" and self._is_nested():
            return self._nested_declarator(kind)
        name = ""
        if self.peek().kind == "ident" and self.peek().text not in ATTRIBUTE:
            name = self.next().text
        whole = self._suffixes(kind)
        if self.peek().text in ("asm", "__asm__"):
            self.next()
            self.skip_balanced()
        is_function = isinstance(whole, FunctionType)
        return name, whole, derived or is_function, attributes | self.attributes()

    def _qualifiers(self) -> Attributes:
        attributes = self.attributes()
        while self.peek().text in IGNORED:
            self.next()
            attributes |= self.attributes()
        return attributes

    def _is_nested(self) -> bool:
        after = self.peek(1)
        return after.text in ("*", "(", "^") or after.text in ATTRIBUTE or (
            after.kind == "ident" and self.scope.named(after.text) is None
            and not any(after.text in words for words in (TAGS, LENGTHS, SIMPLE, IGNORED))
        )  # fmt: skip

    def _nested_declarator(self, kind: Type) -> tuple[str, Type, bool, Attributes]:
        inner = self.position + 1
        self.skip_balanced()
        whole = self._suffixes(kind)
        attributes = self.attributes()
        end = self.position
        self.position = inner
        name, result, _, more = self._guarded(whole)
        self.expect(")")
        self.position = end
        return name, result, True, attributes | more

    def _guarded(self, kind: Type) -> tuple[str, Type, bool, Attributes]:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise CError("the declaration is nested too deep", self.peek().at)
        result = self.declarator(kind)
        self._nesting -= 1
        return result

    def _suffixes(self, kind: Type) -> Type:
        if self.peek().text == "(":
            self.skip_balanced()
            self._suffixes(kind)
            return FUNCTION
        sizes: list[int] = []
        while self.accept("["):
            while self.peek().text in ("static", *IGNORED):
                self.next()
            token = self.peek()
            count = 0 if token.text == "]" else self.constant()
            self.expect("]")
            if not 0 <= count < MAX_ELEMENTS:
                raise CError(f"an array cannot have {count} elements", token.at)
            sizes.append(count)
        for count in reversed(sizes):
            kind = Array(kind, count)
        return kind

    # Structs and enumerations

    def tag(self, word: CToken) -> Type:
        """Read what follows `struct`, `union` or `enum`."""
        attributes = self.attributes()
        name = ""
        token = self.peek()
        if token.kind == "ident" and token.text not in ATTRIBUTE:
            name = self.next().text
        attributes |= self.attributes()
        if word.text == "enum":
            return self._enum(name, token, attributes)
        if self.peek().text != "{":
            if not name:
                raise CError("expected a name or '{'", self.peek().at)
            return self.scope.struct(word.text, name)
        struct = self.scope.struct(word.text, name) if name else Struct(word.text, "", f"@{word.at[0]}")
        if struct.body.fields is not None:
            raise CError(f"redefinition of '{name}'", token.at)
        self._members(struct, attributes)
        return struct

    def _members(self, struct: Struct, attributes: Attributes) -> None:
        self.expect("{")
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise CError("structs are nested too deep", self.peek().at)
        begin = self.position
        # `packed` may follow the body, and it decides how the members are placed: look there first.
        self.position -= 1
        self.skip_balanced()
        attributes |= self.attributes()
        end, self.position = self.position, begin
        layout = Layout(struct.tag == "union", attributes.packed, self.pack)
        while not self.accept("}"):
            self._member(layout)
        self.position = end
        self._nesting -= 1
        size, align = layout.finish(attributes)
        struct.body.known().define(size, align, layout.fields)

    def _member(self, layout: Layout) -> None:
        if self.peek().kind == "end":
            raise CError("expected '}'", self.peek().at)
        if self.accept(";"):
            return
        if self.peek().kind == "line":
            self._pragma(self.next().text)
            return
        if self.peek().text in ("_Static_assert", "static_assert"):
            self.skip_to(";")
            return
        base, align = self.specifiers()
        if self.accept(";"):
            if isinstance(base, Struct):
                layout.member("", base, Attributes(aligned=align))
            return
        while True:
            self._one_member(layout, base, align)
            if not self.accept(","):
                break
        self.expect(";")

    def _one_member(self, layout: Layout, base: Type, align: int) -> None:
        token = self.peek()
        name, kind, derived, attributes = self.declarator(base)
        own = 0 if derived else align
        if self.accept(":"):
            width = self.constant()
            attributes |= self.attributes()
            self._check_width(kind, width, token)
            layout.bit_field(name, kind, width, attributes, own)
            return
        attributes |= self.attributes()
        if isinstance(kind, Struct) and not kind.is_defined:
            raise CError(f"'{kind}' is not defined", token.at, "define it before, or use a pointer to it")
        if kind == VOID or isinstance(kind, FunctionType):
            raise CError(f"a member cannot be of type '{kind}'", token.at)
        layout.member(name, kind, attributes, own)

    def _check_width(self, kind: Type, width: int, token: CToken) -> None:
        if not (isinstance(kind, Int) or kind == BOOL):
            raise CError("a bit-field must be an integer", token.at)
        if not 0 <= width <= (1 if kind == BOOL else 8 * kind.size):
            raise CError(f"a bit-field of '{kind}' cannot have {width} bits", token.at)

    def _enum(self, name: str, token: CToken, attributes: Attributes) -> Type:
        fixed = self.specifiers()[0] if self.accept(":") else None
        if self.peek().text != "{":
            found = self.scope.tagged("enum", name)
            if found is None:
                raise CError(f"enum '{name}' is not defined", token.at)
            return found
        if ("enum", name) in self.scope.tags and name:
            raise CError(f"redefinition of '{name}'", token.at)
        variants = self._variants()
        attributes |= self.attributes()
        kind = enum_of(name, variants, packed=attributes.packed)
        if isinstance(fixed, Int):
            kind = Enum(fixed.bytes, fixed.signed, False, name, kind.variants)
        if name:
            self.scope.tags["enum", name] = kind
        for variant, value in variants:
            self.scope.constants[variant] = (value, kind)
        return kind

    def _variants(self) -> list[tuple[str, int]]:
        self.expect("{")
        found: list[tuple[str, int]] = []
        self._open: dict[str, int] = {}
        value = -1
        while not self.accept("}"):
            token = self.next()
            if token.kind != "ident":
                raise CError("expected the name of an enumerator", token.at)
            self.attributes()
            value = self.constant() if self.accept("=") else value + 1
            found.append((token.text, value))
            self._open[token.text] = value
            if not self.accept(","):
                self.expect("}")
                break
        self._open = {}
        return found

    # Attributes, words, skipping

    def attributes(self) -> Attributes:
        """Read attributes, if there are any."""
        found = Attributes()
        while True:
            token = self.peek()
            if token.text in ATTRIBUTE:
                self.next()
                self.expect("(")
                self.expect("(")
                while not self.accept(")"):
                    found |= self._attribute()
                self.expect(")")
            elif token.text in ("_Alignas", "alignas"):
                self.next()
                found |= Attributes(aligned=self._aligned())
            else:
                return found

    def _attribute(self) -> Attributes:
        if self.accept(","):
            return Attributes()
        token = self.next()
        word = token.text.strip("_")
        if token.kind == "end":
            raise CError("expected ')'", token.at)
        if word == "packed":
            return Attributes(packed=True)
        if word == "aligned":
            return Attributes(aligned=self._aligned() if self.peek().text == "(" else 16)
        if self.peek().text == "(":
            self.skip_balanced()
        return Attributes()

    def _aligned(self) -> int:
        at = self.expect("(").at
        value = self.type_name().align if self.begins_type() else self.constant()
        self.expect(")")
        if not 0 <= value <= MAX_ALIGN or value & (value - 1):
            raise CError(f"alignment {value} is not a power of two", at)
        return value

    def unary(self) -> int:
        """Read a prefix expression: also a cast, which only cuts."""
        if self.peek().text == "(":
            here = self.position
            self.next()
            if self.begins_type():
                kind = self.type_name()
                self.expect(")")
                return cut(self.unary(), kind)
            self.position = here
        return super().unary()

    def word(self, token: CToken) -> int:
        """Value of a word: enumerators, sizes."""
        if token.text in ("sizeof", "_Alignof", "__alignof__", "alignof"):
            self.expect("(")
            if not self.begins_type():
                raise CError("expected a type", self.peek().at)
            kind = self.type_name()
            self.expect(")")
            return kind.size if token.text == "sizeof" else kind.align
        if token.text in getattr(self, "_open", {}):
            return self._open[token.text]
        found = self.scope.constant(token.text)
        return found[0] if found is not None else super().word(token)
