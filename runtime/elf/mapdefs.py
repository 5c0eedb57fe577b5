"""Map definitions: BTF structs in `.maps`, the older structs in `maps`, and data sections as maps.

Rules: libbpf `bpf_object__init_maps`. A definition's BTF members are types whose shape carries the numbers:
`__uint(name, n)` is a pointer to an array of n ints, `__type(name, T)` a pointer to T, `__array(name, T)` an
array of T.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field

from runtime.btf.types import Btf, Kind, Type
from runtime.elf.sections import SHT_NOBITS, STB_LOCAL, STT_FUNC, STT_SECTION, Elf, Section, Symbol
from runtime.errors import ObjectProblem
from runtime.maps.spec import MapKind, MapSpec

READ_ONLY, MAPPABLE = 0x80, 0x400
HASH_OF_MAPS, ARRAY_OF_MAPS, USER_RINGBUF = 13, 12, 31
MAX_DATA = 64 << 20
_NUMBERS = frozenset(
    ("type", "max_entries", "map_flags", "key_size", "value_size", "numa_node", "map_extra", "pinning")
)
_TYPES = frozenset(("key", "value"))
_RINGS = (MapKind.RINGBUF, USER_RINGBUF)
_NO_SIZES = (MapKind.RINGBUF, USER_RINGBUF, MapKind.PERF_EVENT_ARRAY, MapKind.PROG_ARRAY)
Place = tuple[int, int]  # section index, offset


@dataclass(slots=True)
class _Definition:
    """What one BTF map struct says."""

    numbers: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    inner: Type | None = None


def map_specs(elf: Elf, btf: Btf | None) -> dict[Place, MapSpec]:
    """All maps that are defined, by where their symbol lies.

    Raises:
        ObjectProblem: a definition that makes no sense.
    """
    out: dict[Place, MapSpec] = {}
    for section in elf.sections:
        if section.name == ".maps":
            out |= _btf_maps(elf, section, btf)
        elif section.name == "maps" or section.name.startswith("maps/"):
            out |= _legacy_maps(elf, section)
    names = [spec.name for spec in out.values()]
    for name in names:
        if names.count(name) > 1:
            raise ObjectProblem(f"map '{name}' is defined twice", file=elf.file)
    return out


# --- BTF


def _btf_maps(elf: Elf, section: Section, btf: Btf | None) -> dict[Place, MapSpec]:
    if btf is None:
        raise ObjectProblem("needs BTF", file=elf.file, section=".maps", hint="compile with -g")
    symbols = [s for s in elf.symbols if s.section == section.index and s.type not in (STT_SECTION, STT_FUNC)]
    data_section = btf.find(".maps", Kind.DATASEC)
    if data_section is None:
        raise ObjectProblem("has no section .maps", file=elf.file, section=".BTF")
    variables = {btf.type(member.type).name: btf.type(member.type) for member in data_section.members}
    out: dict[Place, MapSpec] = {}
    for symbol in symbols:
        if symbol.name not in variables:
            continue
        if symbol.binding == STB_LOCAL:
            raise ObjectProblem(f"map '{symbol.name}' is static", file=elf.file, hint="drop `static`")
        variable = variables[symbol.name]
        out[section.index, symbol.value] = _btf_map(btf, symbol.name, btf.resolve(variable.to), elf.file)
    return out


def _btf_map(btf: Btf, name: str, shape: Type, file: str) -> MapSpec:
    if shape.kind is not Kind.STRUCT:
        raise ObjectProblem(f"map '{name}' is not a struct", file=file, section=".maps")
    definition = _Definition()
    for position, member in enumerate(shape.members):
        _attribute(btf, definition, (name, member.name, file), btf.resolve(member.type))
        if member.name == "values" and position != len(shape.members) - 1:
            raise ObjectProblem(
                f"'values' must be the last member of map '{name}'", file=file, section=".maps"
            )
    inner = definition.inner
    inner_spec = (
        _btf_map(btf, f"{name}.inner", inner, file) if inner is not None and "." not in name else None
    )
    return _spec(name, definition, inner_spec, file)


def _attribute(btf: Btf, definition: _Definition, names: tuple[str, str, str], kind: Type) -> None:
    map_name, attribute, file = names
    if attribute in _NUMBERS:
        definition.numbers[attribute] = _number(btf, kind, names)
    elif attribute in _TYPES:
        if kind.kind is not Kind.PTR:
            raise ObjectProblem(
                f"'{attribute}' of map '{map_name}' is not a __type", file=file, section=".maps"
            )
        definition.types[attribute] = kind.to
        definition.sizes[attribute] = btf.size_of(kind.to)
    elif attribute == "values":
        element = btf.resolve(kind.to) if kind.kind is Kind.ARRAY else kind
        pointee = btf.resolve(element.to) if element.kind is Kind.PTR else element
        if kind.kind is not Kind.ARRAY or element.kind is not Kind.PTR:
            raise ObjectProblem(f"'values' of map '{map_name}' is not an __array", file=file, section=".maps")
        definition.inner = pointee if pointee.kind is Kind.STRUCT else None
    else:
        raise ObjectProblem(
            f"unknown attribute '{attribute}' in map '{map_name}'", file=file, section=".maps"
        )


def _number(btf: Btf, kind: Type, names: tuple[str, str, str]) -> int:
    target = btf.resolve(kind.to) if kind.kind is Kind.PTR else kind
    if kind.kind is not Kind.PTR or target.kind is not Kind.ARRAY:
        raise ObjectProblem(
            f"'{names[1]}' of map '{names[0]}' is not a __uint", file=names[2], section=".maps"
        )
    return target.elements


def _spec(name: str, definition: _Definition, inner: MapSpec | None, file: str) -> MapSpec:
    numbers, sizes = definition.numbers, dict(definition.sizes)
    if "type" not in numbers:
        raise ObjectProblem(f"map '{name}' has no type", file=file, section=".maps")
    kind = numbers["type"]
    for part in ("key", "value"):
        given = numbers.get(f"{part}_size")
        if given is not None and sizes.setdefault(part, given) != given and kind not in _NO_SIZES:
            raise ObjectProblem(
                f"conflicting {part} size in map '{name}': {sizes[part]} and {given}", file=file
            )
    key, value, entries = adjusted(
        kind, sizes.get("key", 0), sizes.get("value", 0), numbers.get("max_entries", 0)
    )
    pin = numbers.get("pinning", 0)
    if pin and "." in name:
        raise ObjectProblem(f"inner map '{name}' may not be pinned", file=file, section=".maps")
    return MapSpec(
        name=name,
        kind=kind,
        key_size=key,
        value_size=value,
        max_entries=entries,
        flags=numbers.get("map_flags", 0),
        extra=numbers.get("map_extra", 0),
        key_type=definition.types.get("key", 0),
        value_type=definition.types.get("value", 0),
        pin=bool(pin),
        inner=inner,
    )


def adjusted(kind: int, key: int, value: int, entries: int) -> tuple[int, int, int]:
    """Key size, value size and number of entries after the defaults of the map type."""
    if kind in _RINGS:
        pages = max(1, -(-entries // mmap.PAGESIZE))
        return 0, 0, mmap.PAGESIZE << (pages - 1).bit_length()
    if kind in (MapKind.PERF_EVENT_ARRAY, MapKind.PROG_ARRAY):
        default = os.cpu_count() or 1 if kind == MapKind.PERF_EVENT_ARRAY else 0
        return 4, 4, entries or default
    if kind in (ARRAY_OF_MAPS, HASH_OF_MAPS):
        return key or 4, value or 4, entries
    return key, value, entries


# --- the older form


def _legacy_maps(elf: Elf, section: Section) -> dict[Place, MapSpec]:
    symbols = [s for s in elf.symbols if s.section == section.index and s.type not in (STT_SECTION, STT_FUNC)]
    if not symbols:
        return {}
    size = len(section.data) // len(symbols)
    if size < 20 or size * len(symbols) != len(section.data):
        raise ObjectProblem("does not divide into map definitions", file=elf.file, section=section.name)
    out: dict[Place, MapSpec] = {}
    for symbol in symbols:
        body = section.data[symbol.value : symbol.value + size]
        if len(body) < size or any(body[20:]):
            raise ObjectProblem(
                f"map '{symbol.name}' has fields that are not known", file=elf.file, section=section.name
            )
        kind, key, value, entries, flags = struct.unpack_from("<IIIII", body)
        key, value, entries = adjusted(kind, key, value, entries)
        out[section.index, symbol.value] = MapSpec(symbol.name, kind, key, value, entries, flags)
    return out


# --- data sections


def data_maps(elf: Elf, btf: Btf | None, used: set[int]) -> dict[int, MapSpec]:
    """A map of one entry for each data section that symbols or relocations (`used`) refer to."""
    out: dict[int, MapSpec] = {}
    for section in elf.sections:
        if section.is_data and section.size and (section.index in used or _has_objects(elf, section)):
            if section.size > MAX_DATA:
                raise ObjectProblem(f"has {section.size} bytes", file=elf.file, section=section.name)
            data = bytes(section.size) if section.type == SHT_NOBITS else section.data
            flags = MAPPABLE | (READ_ONLY if section.name.startswith(".rodata") else 0)
            shape = btf.find(section.name, Kind.DATASEC) if btf else None
            out[section.index] = MapSpec(
                name=section.name,
                kind=MapKind.ARRAY,
                key_size=4,
                value_size=section.size,
                max_entries=1,
                flags=flags,
                value_type=shape.id if shape else 0,
                initial=data,
            )
    return out


def _has_objects(elf: Elf, section: Section) -> bool:
    return any(s.section == section.index and s.type not in (STT_SECTION, STT_FUNC) for s in elf.symbols)


def variables(elf: Elf, section: Section) -> dict[str, Symbol]:
    """Global variables of a data section by name."""
    return {s.name: s for s in elf.symbols if s.section == section.index and s.type != STT_SECTION and s.name}
