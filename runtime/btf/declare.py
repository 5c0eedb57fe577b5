"""BTF types as C declarations: one named type, with what is anonymous inside of it."""

from __future__ import annotations

from collections.abc import Callable

from runtime.btf.types import COMPOSITE, Btf, Kind, Member, Type

QUALIFIERS = {Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict"}
WORDS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
MAX_DEPTH = 32


def declaration(btf: Btf, kind: Type) -> str:
    """C text of a struct, union or enum, without the newline behind it.

    Raises:
        ObjectProblem: a member's type is damaged.
    """
    return f"{_body(btf, kind, 0)};"


def _body(btf: Btf, kind: Type, depth: int) -> str:
    head = " ".join(filter(None, (WORDS[kind.kind], kind.name)))
    indent = "\t" * (depth + 1)
    if kind.kind not in COMPOSITE:
        lines = [f"{indent}{member.name} = {member.value}," for member in kind.members]
    else:
        lines = [f"{indent}{_member(btf, member, depth + 1)};" for member in kind.members]
    if not lines:
        return f"{head} {{}}"
    inner = "".join(f"{line}\n" for line in lines)
    return head + " {\n" + inner + "\t" * depth + "}"


def _member(btf: Btf, member: Member, depth: int) -> str:
    text = declarator(btf, member.type, member.name, depth)
    return f"{text}: {member.bits}" if member.bits else text


def declarator(btf: Btf, number: int, name: str, depth: int = 0) -> str:
    """A declaration of `name` with a type; without a name the type alone."""
    if depth > MAX_DEPTH:
        return f"... {name}"
    kind = btf.type(number)
    wrap = WRAPPERS.get(kind.kind)
    if wrap is not None:
        return wrap(btf, kind, name, depth)
    return f"{_base(btf, kind, depth)} {name}".rstrip()


def _pointer(btf: Btf, kind: Type, name: str, depth: int) -> str:
    needs = btf.type(kind.to).kind in (Kind.ARRAY, Kind.FUNC_PROTO)
    return declarator(btf, kind.to, f"(*{name})" if needs else f"*{name}", depth)


def _array(btf: Btf, kind: Type, name: str, depth: int) -> str:
    return declarator(btf, kind.to, f"{name}[{kind.elements}]", depth)


def _function(btf: Btf, kind: Type, name: str, depth: int) -> str:
    given = ", ".join(declarator(btf, member.type, "", depth + 1).rstrip() for member in kind.members)
    return declarator(btf, kind.to, f"{name}({given or 'void'})", depth)


def _qualified(btf: Btf, kind: Type, name: str, depth: int) -> str:
    word = QUALIFIERS[kind.kind]
    if btf.type(kind.to).kind is Kind.PTR:  # the pointer itself is what the word is about
        return declarator(btf, kind.to, f"{word} {name}".strip(), depth)
    return f"{word} {declarator(btf, kind.to, name, depth)}"


def _same(btf: Btf, kind: Type, name: str, depth: int) -> str:
    return declarator(btf, kind.to, name, depth)


WRAPPERS: dict[Kind, Callable[[Btf, Type, str, int], str]] = {
    Kind.PTR: _pointer,
    Kind.ARRAY: _array,
    Kind.FUNC_PROTO: _function,
    Kind.TYPE_TAG: _same,
    **dict.fromkeys(QUALIFIERS, _qualified),
}


def _base(btf: Btf, kind: Type, depth: int) -> str:
    if kind.kind in WORDS:
        return f"{WORDS[kind.kind]} {kind.name}" if kind.name else _body(btf, kind, depth)
    if kind.kind is Kind.FWD:
        return f"{'union' if kind.flag else 'struct'} {kind.name}"
    return kind.name or "void"
