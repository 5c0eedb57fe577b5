"""Parameters of a function: names, types, and which of the argument registers each begins in.

Sources: System V ABI for x86-64, section 3.2.3; Itanium C++ ABI, 3.1 (classes that are not trivially
copyable go by reference); Go's internal ABI, src/cmd/compile/abi-internal.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.dwarf.info import CLASS, PARAMETER, STRUCTURE, SUBPROGRAM, TYPEDEF, UNION, DebugInfo
from runtime.dwarf.types import CONST, EXTERNAL, INHERITANCE, MEMBER, REFERENCE, RVALUE, TYPE, DwarfTypes
from runtime.dwarf.units import LANGUAGE, NAME, Entry
from runtime.lang.c.types import Opaque, Struct
from runtime.lang.types import VOID, Array, Bool, Int, Pointer, String, Type

ABSTRACT_ORIGIN, SPECIFICATION, CALLING, VARIABLE_PARAMETER = 0x31, 0x47, 0x36, 0x4B
ARTIFICIAL, VIRTUALITY, DEFAULTED = 0x34, 0x4C, 0x8B
CLASSES = (STRUCTURE, CLASS, UNION)
MAX_DEPTH = 8  # parts of parts of a class
BY_REFERENCE = 4  # DW_CC_pass_by_reference
GO = 0x16
REGISTERS, GO_REGISTERS = 6, 9
SEEN_GO = 6  # of Go's registers, those that a program gets
EIGHTBYTE = 8
IN_MEMORY = 16  # bytes; what is longer goes through memory
ON_STACK = "is passed on the stack"
BY_VALUE = "is a struct passed by value"
FLOATING = "is passed in a vector register"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `register`: index of the argument register, -1 with the reason in `why`."""

    name: str
    type: Type
    register: int
    why: str = ""


def parameters_of(types: DwarfTypes, function: Entry) -> list[Parameter]:
    """Parameters of a function in their order.

    Raises:
        ObjectProblem: the debug info is damaged.
    """
    return types.info.guarded(lambda: _parameters(types, function))


def _parameters(types: DwarfTypes, function: Entry) -> list[Parameter]:
    is_go = function.unit.top.number(LANGUAGE) == GO
    registers = _GoRegisters() if is_go else _Registers()
    result = attribute_entry(types.info, function, TYPE)
    if not is_go and result is not None and _is_in_memory(types, result):
        registers.take(1)  # the caller says where the result is to be
    found = []
    for entry in formal_parameters(types.info, function):
        if is_go and entry.number(VARIABLE_PARAMETER):
            continue
        name = name_of(types.info, entry)
        target = attribute_entry(types.info, entry, TYPE)
        found.append(_placed(types, name, target, registers))
    return found


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


class _Registers:
    """Integer registers that are left for the next parameter."""

    def __init__(self, count: int = REGISTERS) -> None:
        self.count = count
        self.used = 0

    def take(self, wanted: int) -> int:
        """Take some in a row: the first one's index, -1 where not enough are left."""
        if self.used + wanted > self.count:
            return -1
        self.used += wanted
        return self.used - wanted

    def words(self, kind: Type) -> int:
        """How many a value takes, -1 for one in memory."""
        return _words(kind)


class _GoRegisters(_Registers):
    def __init__(self) -> None:
        super().__init__(GO_REGISTERS)

    def words(self, kind: Type) -> int:
        """Each part of a value takes one of its own."""
        if isinstance(kind, Struct):
            counts = [self.words(field.type) for field in kind.fields.values()]
            return -1 if -1 in counts else sum(counts)
        if isinstance(kind, Array):
            return self.words(kind.element) if kind.count == 1 else -1 if kind.count else 0
        return 0 if isinstance(kind, Opaque) else 1


def _placed(types: DwarfTypes, name: str, target: Entry | None, registers: _Registers) -> Parameter:
    kind = types.of(target)
    if target is not None and isinstance(kind, Struct) and _by_reference(types, target):
        index = registers.take(1)
        return Parameter(name, Pointer(kind), index, "" if index >= 0 else ON_STACK)
    words = registers.words(kind)
    if words == 0:
        return Parameter(name, kind, -1, FLOATING)
    index = registers.take(words) if words > 0 else -1
    if isinstance(kind, Struct | Array | String | Opaque):
        return Parameter(name, kind, -1, BY_VALUE if index >= 0 or words < 0 else ON_STACK)
    if index < 0 or (isinstance(registers, _GoRegisters) and index >= SEEN_GO):
        return Parameter(name, kind, -1, ON_STACK)
    return Parameter(name, kind, index)


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


def _is_in_memory(types: DwarfTypes, target: Entry) -> bool:
    kind = types.of(target)
    if isinstance(kind, Struct):
        return _words(kind) < 0 or _by_reference(types, target)
    return False


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
