"""CO-RE: what a relocation asks about a type, answered from the types that exist where the program will run.

Candidates come from the built-in context types, then from further BTF that is given; a type that neither has
is taken as the object itself declares it, and then nothing changes. Source: libbpf `relo_core.c`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.btf.types import COMPOSITE, MAX_DEPTH, SIGNED, Btf, Kind, Member, Type


class Question(IntEnum):
    """Kinds of relocations."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


_FIELD = range(6)
_EXISTENCE = frozenset(
    (Question.FIELD_EXISTS, Question.TYPE_EXISTS, Question.ENUMVAL_EXISTS, Question.TYPE_MATCHES)
)
_ENUMS = frozenset((Kind.ENUM, Kind.ENUM64))


@dataclass(frozen=True, slots=True)
class Answer:
    """Values in the object's own types and where the program will run; `value` None when it does not exist.

    `local_size`, `size`: bytes of the field, 0 when it is a bit field or not asked about. `what`: text.
    """

    local: int
    value: int | None
    what: str
    local_size: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Field:
    """A member that an access path leads to: offset in bits, its type, width when it is a bit field."""

    btf: Btf
    offset: int
    type: int
    bits: int


Step = str | int  # member name or array index


def essential(name: str) -> str:
    """A type's name without the flavour behind `___`."""
    found = name.find("___", 1)
    return name[:found] if found > 0 else name


def answer(question: Question, local: Btf, number: int, access: str, others: tuple[Btf, ...]) -> Answer:
    """Answer one relocation about local type `number`.

    Raises:
        ObjectProblem: the relocation or its types are malformed.
    """
    if question is Question.TYPE_ID_LOCAL:
        return Answer(number, number, f"type {number}")
    indices = _indices(local, access)
    start = local.resolve(number)
    target, found = _candidate(local, start, others)
    if question in _FIELD:
        return _about_field(question, local, number, indices, (target, found))
    if question in (Question.ENUMVAL_EXISTS, Question.ENUMVAL_VALUE):
        return _about_enumerator(question, local, start, indices, (target, found))
    return _about_type(question, local, number, (target, found))


def _about_type(question: Question, local: Btf, number: int, candidate: tuple[Btf, Type]) -> Answer:
    target, found = candidate
    start = local.resolve(number)
    what = _text(start)
    if question is Question.TYPE_SIZE:
        return Answer(local.size_of(number), target.size_of(found.id), what)
    if question is Question.TYPE_ID_TARGET:
        return Answer(number, found.id if target is not local else number, what)
    if question is Question.TYPE_MATCHES and target is not local:
        return Answer(1, int(_matches(local, start, target, found)), what)
    return Answer(1, 1, what)


def _indices(btf: Btf, access: str) -> list[int]:
    parts = access.split(":")
    if not 0 < len(parts) <= MAX_DEPTH or not all(part.isdigit() and len(part) < 10 for part in parts):
        raise btf.problem(f"CO-RE access '{access[:80]}' is malformed")
    return [int(part) for part in parts]


def _candidate(local: Btf, start: Type, others: tuple[Btf, ...]) -> tuple[Btf, Type]:
    """The type to use instead of the local one; the local one itself when there is none."""
    name = essential(start.name)
    kinds = COMPOSITE & {start.kind} or (_ENUMS if start.kind in _ENUMS else frozenset((start.kind,)))
    for btf in others if name else ():
        found = btf.find(name, *kinds)
        if found is not None:
            return btf, found
    if name != start.name:
        found = local.find(name, *kinds)
        if found is not None:
            return local, found
    return local, start


def _text(found: Type) -> str:
    word = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}
    return word.get(found.kind, "") + (found.name or f"type {found.id}")


# --- fields


def _about_field(
    question: Question, local: Btf, number: int, indices: list[int], target: tuple[Btf, Type]
) -> Answer:
    here, path = _walk_indices(local, number, indices)
    what = ".".join((_text(local.resolve(number)), *(str(step) for step in path[1:])))
    there = here
    if target[1] is not local.resolve(number):
        found = _walk_path(target[0], target[1].id, path)
        if found is None or not _compatible(here, found):
            return Answer(_ask(question, here), 0 if question in _EXISTENCE else None, what)
        there = found
    sizes = (_plain_size(here), _plain_size(there)) if question is Question.FIELD_BYTE_OFFSET else (0, 0)
    return Answer(_ask(question, here), _ask(question, there), what, *sizes)


def _walk_indices(btf: Btf, number: int, indices: list[int]) -> tuple[_Field, list[Step]]:
    """Follow a path of indices; the names on it are what the target is searched for."""
    field = _Field(btf, 8 * indices[0] * btf.size_of(number), number, 0)
    path: list[Step] = [indices[0]]
    for index in indices[1:]:
        found = btf.resolve(field.type)
        if found.kind in COMPOSITE and index < len(found.members):
            member = found.members[index]
            if member.name:
                path.append(member.name)
            field = _Field(btf, field.offset + member.offset, member.type, member.bits)
        elif found.kind is Kind.ARRAY:
            path.append(index)
            field = _Field(btf, field.offset + 8 * index * btf.size_of(found.to), found.to, 0)
        else:
            raise btf.problem(f"CO-RE access {indices} does not fit {_text(found)}")
    return field, path


def _walk_path(btf: Btf, number: int, path: list[Step]) -> _Field | None:
    field = _Field(btf, 8 * int(path[0]) * btf.size_of(number), number, 0)
    for step in path[1:]:
        found = btf.resolve(field.type)
        if isinstance(step, str):
            member = _member(btf, found, step, set())
            if member is None:
                return None
            field = _Field(btf, field.offset + member.offset, member.type, member.bits)
        elif found.kind is Kind.ARRAY and (step < found.elements or not found.elements):
            field = _Field(btf, field.offset + 8 * step * btf.size_of(found.to), found.to, 0)
        else:
            return None
    return field


def _member(btf: Btf, found: Type, name: str, seen: set[int]) -> Member | None:
    """A member by name, also inside anonymous members; its offset is from the outer struct."""
    if found.kind not in COMPOSITE or found.id in seen:
        return None
    seen.add(found.id)  # a type that lacks the name is searched once, however often it is nested
    for member in found.members:
        if member.name == name:
            return member
        if not member.name and len(seen) < MAX_DEPTH:
            inner = _member(btf, btf.resolve(member.type), name, seen)
            if inner is not None:
                return inner._replace(offset=member.offset + inner.offset)
    return None


def _compatible(a: _Field, b: _Field) -> bool:
    x, y = a.btf.resolve(a.type), b.btf.resolve(b.type)
    for _ in range(MAX_DEPTH):
        if x.kind is not Kind.ARRAY or y.kind is not Kind.ARRAY:
            break
        x, y = a.btf.resolve(x.to), b.btf.resolve(y.to)
    if x.kind in COMPOSITE and y.kind in COMPOSITE:
        return True
    if x.kind in _ENUMS and y.kind in _ENUMS:
        return essential(x.name) == essential(y.name) or not x.name or not y.name
    return x.kind is y.kind or {x.kind, y.kind} <= {Kind.INT, *_ENUMS}


def _plain_size(field: _Field) -> int:
    """Bytes of a field that loads may change their width for: integers, enums and pointers."""
    kind = field.btf.resolve(field.type).kind
    if field.bits or kind not in (Kind.INT, Kind.PTR, *_ENUMS):
        return 0
    return field.btf.size_of(field.type)


def _ask(question: Question, field: _Field) -> int:
    if question is Question.FIELD_EXISTS:
        return 1
    if question is Question.FIELD_SIGNED:
        found = field.btf.resolve(field.type)
        return int(
            found.encoding & SIGNED != 0 if found.kind is Kind.INT else found.kind in _ENUMS and found.flag
        )
    at, size, width = _bytes(field)
    if question is Question.FIELD_BYTE_OFFSET:
        return at
    if question is Question.FIELD_BYTE_SIZE:
        return size
    if question is Question.FIELD_RSHIFT_U64:
        return 64 - width
    return 64 - (field.offset + width - 8 * at)


def _bytes(field: _Field) -> tuple[int, int, int]:
    """Byte offset and size of the word that holds the field, and the field's width in bits."""
    size = field.btf.size_of(field.type)
    found = field.btf.resolve(field.type)
    width = field.bits
    if not width and found.kind is Kind.INT and found.bits < 8 * size:  # the older form of bit fields
        width = found.bits
    if not width:
        return field.offset // 8, size, 8 * size
    start = field.offset + found.bit_offset * (not field.bits)
    word = max(size, 1)
    while word < 8 and start + width > 8 * (start // 8 // word * word + word):
        word *= 2
    return start // 8 // word * word, word, width


# --- enumerators and whole types


def _about_enumerator(
    question: Question, local: Btf, start: Type, indices: list[int], target: tuple[Btf, Type]
) -> Answer:
    if start.kind not in _ENUMS or len(indices) != 1 or indices[0] >= len(start.members):
        raise local.problem(f"CO-RE access {indices} is not an enumerator of {_text(start)}")
    wanted = start.members[indices[0]]
    what = f"{_text(start)}.{wanted.name}"
    found = next((m for m in target[1].members if essential(m.name) == essential(wanted.name)), None)
    if question is Question.ENUMVAL_EXISTS:
        return Answer(1, int(found is not None), what)
    return Answer(wanted.value, found.value if found is not None else None, what)


def _matches(local: Btf, a: Type, target: Btf, b: Type) -> bool:
    """True when each named member of the local type is in the target with a type of the same nature."""
    if a.kind in _ENUMS:
        names = {member.name for member in b.members}
        return all(member.name in names for member in a.members)
    if a.kind not in COMPOSITE:
        return True
    for member in a.members:
        found = _member(target, b, member.name, set()) if member.name else None
        if member.name and found is None:
            return False
        if found and not _compatible(_Field(local, 0, member.type, 0), _Field(target, 0, found.type, 0)):
            return False
    return True
