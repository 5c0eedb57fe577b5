"""Parameters of a function: names, types, and which of the argument registers each begins in.

Sources: System V ABI for x86-64, section 3.2.3; Itanium C++ ABI, 3.1 (classes that are not trivially
copyable go by reference); Go's internal ABI, src/cmd/compile/abi-internal.md. Where the compiler names
another register, that one is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runtime.dwarf.info import CLASS, PARAMETER, STRUCTURE, SUBPROGRAM, TYPEDEF, UNION, DebugInfo
from runtime.dwarf.locations import Home, Where, home_of
from runtime.dwarf.types import CONST, EXTERNAL, INHERITANCE, MEMBER, REFERENCE, RVALUE, TYPE, DwarfTypes
from runtime.dwarf.units import LANGUAGE, NAME, Entry
from runtime.lang.c.types import Opaque, Struct
from runtime.lang.types import VOID, Array, Bool, Int, Pointer, String, Type

ABSTRACT_ORIGIN, SPECIFICATION, CALLING, VARIABLE_PARAMETER = 0x31, 0x47, 0x36, 0x4B
ARTIFICIAL, VIRTUALITY, DEFAULTED = 0x34, 0x4C, 0x8B
CLASSES = (STRUCTURE, CLASS, UNION)
MAX_DEPTH = 8  # parts of parts of a class
BY_REFERENCE = 4  # DW_CC_pass_by_reference
GO, RUST = 0x16, 0x1C  # DW_LANG_*
EIGHTBYTE = 8
IN_MEMORY = 16  # bytes; what is longer goes through memory
ON_STACK = "is passed on the stack"
BY_VALUE = "is a struct passed by value"
SEVERAL = "is in several places"
FLOATING = "is passed in a vector register"
LEFT_OUT = "is not passed: the compiler has left it out"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `register`: what holds it when the function begins; else empty, the reason in `why`."""

    name: str
    type: Type
    register: str
    why: str = ""


def parameters_of(types: DwarfTypes, function: Entry) -> list[Parameter]:
    """Parameters of a function in their order.

    Raises:
        ObjectProblem: the debug info is damaged.
    """
    return types.info.guarded(lambda: _parameters(types, function))


def _parameters(types: DwarfTypes, function: Entry) -> list[Parameter]:
    language = function.unit.top.number(LANGUAGE)
    convention = CONVENTIONS.get(language, _Convention)()
    result = attribute_entry(types.info, function, TYPE)
    if result is not None:
        convention.result(types, result)
    found = []
    for entry in formal_parameters(types.info, function):
        if language == GO and entry.number(VARIABLE_PARAMETER):
            continue
        name = name_of(types.info, entry)
        agreed = _agreed(types, name, attribute_entry(types.info, entry, TYPE), convention)
        found.append(_found(agreed, home_of(types.info, function, entry), language))
    return found


def _found(agreed: Parameter, home: Home, language: int) -> Parameter:
    """Take what the compiler says of a parameter where that differs from the convention."""
    is_scalar = not isinstance(agreed.type, Struct | Array | String | Opaque) or _is_small(agreed.type)
    if home.where is Where.CONSTANT:
        return replace(agreed, register="", why=f"is always {home.value} here, and not passed")
    if home.where is Where.REGISTER and is_scalar:
        return replace(agreed, register=home.register, why="")
    if home.where is Where.SPLIT and is_scalar and home.register != agreed.register:
        return replace(agreed, register="", why=BY_VALUE if isinstance(agreed.type, Struct) else SEVERAL)
    if home.where is Where.NOWHERE and agreed.register and language != GO:
        return replace(agreed, register="", why=LEFT_OUT)
    return agreed


def formal_parameters(info: DebugInfo, function: Entry) -> Iterator[Entry]:
    """The parameters' entries: of the function itself, else of what it is an instance of."""
    mine = [entry for entry in function.unit.children(function) if entry.tag == PARAMETER]
    origin = _origin(info, function)
    if not mine and origin is not None:
        mine = [entry for entry in origin.unit.children(origin) if entry.tag == PARAMETER]
    yield from mine


def _origin(info: DebugInfo, entry: Entry) -> Entry | None:
    at = entry.number(ABSTRACT_ORIGIN, entry.number(SPECIFICATION, -1))
    return info.entry_at(at) if at >= 0 else None


def name_of(info: DebugInfo, entry: Entry) -> str:
    """The name of an entry, or of what it is an instance of."""
    for _ in range(4):  # instance, abstract instance, declaration
        if entry.attributes.get(NAME):
            return entry.text()
        origin = _origin(info, entry)
        if origin is None:
            break
        entry = origin
    return ""


def attribute_entry(info: DebugInfo, entry: Entry, attribute: int) -> Entry | None:
    """What an attribute refers to, of the entry or of what it is an instance of."""
    for _ in range(4):
        at = entry.number(attribute, -1)
        if at >= 0:
            return info.entry_at(at)
        origin = _origin(info, entry)
        if origin is None:
            return None
        entry = origin
    return None


class _Convention:
    """Which integer registers are left for the next parameter, by C's convention."""

    names: tuple[str, ...] = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
    seen = 6  # of them, those that a program gets

    def __init__(self) -> None:
        self.used = 0

    def take(self, wanted: int) -> str:
        """Take some in a row: the first one's name, empty where not enough are left."""
        if self.used + wanted > len(self.names):
            return ""
        self.used += wanted
        index = self.used - wanted
        return self.names[index] if index < self.seen else ""

    def words(self, kind: Type) -> int:
        """How many a value takes: 0 where it needs vector registers only, -1 in memory."""
        return _words(kind)

    def result(self, types: DwarfTypes, target: Entry) -> None:
        """Give a register to the place of a result that goes through memory."""
        kind = types.of(target)
        if isinstance(kind, Struct) and (self.words(kind) < 0 or _by_reference(types, target)):
            self.take(1)


class _GoConvention(_Convention):
    names = ("rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11")

    def words(self, kind: Type) -> int:
        """Each part of a value takes one of its own."""
        if isinstance(kind, Struct):
            counts = [self.words(field.type) for field in kind.fields.values()]
            return -1 if -1 in counts else sum(counts)
        if isinstance(kind, Array):
            return self.words(kind.element) if kind.count == 1 else -1 if kind.count else 0
        return 0 if isinstance(kind, Opaque) else 1

    def result(self, types: DwarfTypes, target: Entry) -> None:
        """Results come in registers of their own."""


class _RustConvention(_Convention):
    def words(self, kind: Type) -> int:
        """Pairs take two; what is larger goes by reference."""
        return 1 if isinstance(kind, Struct) and kind.size > IN_MEMORY else _words(kind)

    def result(self, types: DwarfTypes, target: Entry) -> None:
        """Results of more than two words come through memory."""
        if types.of(target).size > IN_MEMORY:
            self.take(1)


CONVENTIONS: dict[int, type[_Convention]] = {GO: _GoConvention, RUST: _RustConvention}


def _agreed(types: DwarfTypes, name: str, target: Entry | None, convention: _Convention) -> Parameter:
    """A parameter as its language's convention has it."""
    kind = types.of(target)
    if target is not None and isinstance(kind, Struct) and _by_reference(types, target):
        register = convention.take(1)
        return Parameter(name, Pointer(kind), register, "" if register else ON_STACK)
    words = convention.words(kind)
    if words == 0:
        return Parameter(name, kind, "", FLOATING)
    register = convention.take(words) if words > 0 else ""
    if isinstance(kind, Struct | Array | String | Opaque) and not (register and _is_small(kind)):
        return Parameter(name, kind, "", BY_VALUE if register or words < 0 else ON_STACK)
    return Parameter(name, kind, register, "" if register else ON_STACK)


def _is_small(kind: Type) -> bool:
    """Whether a struct lies in one register as it would lie in memory."""
    return isinstance(kind, Struct) and 0 < kind.size <= EIGHTBYTE and _words(kind) == 1


def _by_reference(types: DwarfTypes, target: Entry) -> bool:
    """Whether a class goes by reference although it is written by value."""
    entry: Entry | None = target
    for _ in range(8):
        if entry is None:
            return False
        if CALLING in entry.attributes:
            return entry.number(CALLING) == BY_REFERENCE
        if entry.tag in CLASSES:
            return _is_copied_by_code(types, entry, 0)
        entry = types.target(entry)
    return False


def _is_copied_by_code(types: DwarfTypes, entry: Entry, depth: int) -> bool:
    """Whether a class has, itself or in a part, a destructor or a way to be copied that somebody wrote."""
    if depth > MAX_DEPTH:
        return False
    for child in entry.unit.children(entry):
        if child.tag == SUBPROGRAM and (child.number(VIRTUALITY) or _copies(types, entry, child)):
            return True
        if child.tag in (MEMBER, INHERITANCE) and not child.number(EXTERNAL):
            inner = types.target(child)
            while inner is not None and inner.tag in (TYPEDEF, CONST):
                inner = types.target(inner)
            if inner is not None and inner.tag in CLASSES and _is_copied_by_code(types, inner, depth + 1):
                return True
    return False


def _copies(types: DwarfTypes, owner: Entry, method: Entry) -> bool:
    """Whether a method is a destructor, or a constructor from another object, that somebody wrote."""
    if method.number(DEFAULTED) == 1 or method.number(ARTIFICIAL):
        return False
    if method.text().startswith("~"):
        return True
    given = [child for child in method.unit.children(method) if child.tag == PARAMETER]
    if method.text() != owner.text() or len(given) != 2:
        return False
    reference = types.target(given[1])
    if reference is None or reference.tag not in (REFERENCE, RVALUE):
        return False
    target = types.target(reference)
    while target is not None and target.tag == CONST:
        target = types.target(target)
    return target is not None and target.at == owner.at


def _words(kind: Type) -> int:
    """Integer registers of a value: 0 where it needs vector registers only, -1 in memory."""
    if isinstance(kind, Int | Bool | Pointer):
        return 1
    if kind == VOID:
        return 1  # nullptr_t
    if isinstance(kind, Opaque):
        # long double and its like go through memory
        return 2 if kind.integer else 0 if kind.bytes in (4, 8) else -1
    if kind.size > IN_MEMORY or not kind.size:
        return -1
    parts = list(_parts(kind, 0))
    if any(at % max(1, part.align) for at, part in parts):
        return -1
    integers = {at // EIGHTBYTE for at, part in parts if not isinstance(part, Opaque)}
    return len(integers)


def _parts(kind: Type, at: int) -> Iterator[tuple[int, Type]]:
    """The scalars of a value with their distances."""
    if isinstance(kind, Struct):
        for field in kind.fields.values():
            yield from _parts(field.type, at + field.offset)
    elif isinstance(kind, Array):
        for index in range(kind.count):
            yield from _parts(kind.element, at + index * kind.element.size)
    elif isinstance(kind, String):
        yield at, Int(1, True)
        if (at + kind.size - 1) // EIGHTBYTE != at // EIGHTBYTE:
            yield at + kind.size - 1, Int(1, True)
    else:
        yield at, kind
