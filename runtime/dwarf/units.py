"""Units of debug info and the entries in them.

All offsets count from the start of `.debug_info`; the type units of DWARF 4, which have a section of their
own, lie behind it as if they were one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.dwarf import forms
from runtime.dwarf.forms import Abbreviation, Damaged, abbreviations, skip, text_at, uleb, word
from runtime.symbols.elf import ElfFile

NAMES = (
    "info",
    "abbrev",
    "str",
    "line_str",
    "str_offsets",
    "addr",
    "aranges",
    "ranges",
    "rnglists",
    "line",
    "types",
    "loc",
    "loclists",
)
COMPRESSED = 0x800  # SHF_COMPRESSED
# Attributes
SIBLING, NAME, STATEMENTS, LOW_PC, HIGH_PC, LANGUAGE = 1, 3, 0x10, 0x11, 0x12, 0x13
DIRECTORY, RANGES, SIGNATURE = 0x1B, 0x55, 0x69
STR_OFFSETS_BASE, ADDR_BASE, RNGLISTS_BASE = 0x72, 0x73, 0x74
UNIT_TYPE, UNIT_SPLIT_TYPE, UNIT_SKELETON, UNIT_SPLIT = 2, 6, 4, 5
MOST_UNITS = 1 << 20
MOST_BYTES = 2 << 30  # of a section that is unpacked

Value = int | bytes | str


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of debug info, unpacked; empty where there are none."""

    data: dict[str, bytes]

    def __getitem__(self, name: str) -> bytes:
        return self.data[name]


def sections_of(elf: ElfFile) -> Sections:
    """Read the sections of a file."""
    return Sections({name: _content(elf, f".debug_{name}") for name in NAMES})


def _content(elf: ElfFile, name: str) -> bytes:
    section = elf.section(name)
    if section is None:
        return b""
    data = elf.content(section)
    if not section.flags & COMPRESSED or len(data) < 24:
        return data
    import zlib  # lazy: few files are packed

    kind, size = word(data, 0, 4), word(data, 8, 8)
    if kind != 1 or size > MOST_BYTES:
        return b""
    try:
        return zlib.decompressobj().decompress(data[24:], size)
    except zlib.error:
        return b""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One debugging information entry. References are offsets; `end`: where what follows begins."""

    unit: Unit
    at: int
    tag: int
    attributes: dict[int, Value]
    children: bool
    end: int

    def number(self, attribute: int, default: int = 0) -> int:
        """An attribute that is a number."""
        value = self.attributes.get(attribute, default)
        return value if isinstance(value, int) else default

    def text(self, attribute: int = NAME) -> str:
        """An attribute that is text."""
        value = self.attributes.get(attribute, "")
        return value if isinstance(value, str) else ""


class Hop(NamedTuple):
    """An entry's outlines: where its attributes end, and where what follows it and its children begins."""

    tag: int
    end: int
    behind: int
    children: bool


@dataclass(slots=True, eq=False)
class Unit:
    """One unit: `start` to `end` in the data, entries from `first` on."""

    sections: Sections
    data: bytes
    start: int
    end: int
    first: int
    version: int
    offset: int  # bytes of an offset
    address: int  # bytes of an address
    abbreviations_at: int
    tables: dict[int, dict[int, Abbreviation]]  # of all units, by where they are
    signature: int = 0
    type_at: int = 0
    signatures: dict[int, int] = field(default_factory=dict)  # of all type units
    str_offsets: int = -1
    addresses: int = 0
    _top: Entry | None = None

    @property
    def top(self) -> Entry:
        """The entry of the unit itself."""
        if self._top is None:
            top = self.entry(self.first)
            if top is None:
                raise Damaged("a unit without entries")
            self._top = top
            # Names by index need the base, which may stand behind them: read once more.
            self.str_offsets = top.number(STR_OFFSETS_BASE, 8 if self.version >= 5 else 0)
            self.addresses = top.number(ADDR_BASE, 8 if self.version >= 5 else 0)
            self._top = self.entry(self.first) or top
        return self._top

    def entry(self, at: int) -> Entry | None:
        """Decode an entry, None for the mark behind the last child."""
        data, begin = self.data, at
        code, at = uleb(data, at)
        if code == 0:
            return None
        kind = self._kind(code)
        attributes: dict[int, Value] = {}
        for name, form, implicit in kind.parts:
            attributes[name], at = self._value(at, form, implicit)
        return Entry(self, begin, kind.tag, attributes, kind.children, at)

    def _kind(self, code: int) -> Abbreviation:
        table = self.tables.get(self.abbreviations_at)
        if table is None:
            data = self.sections["abbrev"]
            table = abbreviations(data, self.abbreviations_at, self.address, self.offset)
            self.tables[self.abbreviations_at] = table
        kind = table.get(code)
        if kind is None:
            raise Damaged(f"no abbreviation {code}")
        return kind

    def _value(self, at: int, form: int, implicit: int) -> tuple[Value, int]:
        data = self.data
        if form == forms.INDIRECT:
            form, at = uleb(data, at)
        end = skip(data, at, form, self.address, self.offset)
        if end > self.end:
            raise Damaged("a value behind the end of its unit")
        if form in (forms.IMPLICIT_CONST, forms.FLAG_PRESENT):
            return implicit if form == forms.IMPLICIT_CONST else 1, end
        if form == forms.SDATA:
            return forms.sleb(data, at)[0], end
        if form == forms.STRING:
            return data[at : end - 1].decode("utf-8", "replace"), end
        if form not in forms.LEB and forms.fixed_size(form, self.address, self.offset) < 0:
            length, begin = forms.block_length(data, at, form)
            return data[begin : begin + length], end
        number = uleb(data, at)[0] if form in forms.LEB else int.from_bytes(data[at:end], "little")
        meaning = MEANINGS.get(form)
        return meaning(self, number) if meaning else number, end

    def indexed_address(self, index: int) -> int:
        """An address of the unit's table."""
        at = self.addresses + index * self.address
        return int.from_bytes(self.sections["addr"][at : at + self.address], "little")

    def _indexed_string(self, index: int) -> str:
        if self.str_offsets < 0:
            return ""
        table, at = self.sections["str_offsets"], self.str_offsets + index * self.offset
        where = int.from_bytes(table[at : at + self.offset], "little")
        return text_at(self.sections["str"], where)

    def hop(self, at: int) -> Hop | None:
        """Look at an entry without decoding it; None for the mark behind the last child."""
        code, begin = uleb(self.data, at)
        if code == 0:
            return None
        kind = self._kind(code)
        end, children = self.skip(at)
        if not children:
            return Hop(kind.tag, end, end, False)
        place, size = kind.sibling
        if place >= 0:
            sibling = self.start + word(self.data, begin + place, size)
            if end < sibling <= self.end:
                return Hop(kind.tag, end, sibling, True)
        return Hop(kind.tag, end, self._behind_children(end), True)

    def skip(self, at: int) -> tuple[int, bool]:
        """Return the place behind an entry's attributes, and whether children follow; -1 for the end mark."""
        data = self.data
        code, at = uleb(data, at)
        if code == 0:
            return -1, False
        kind = self._kind(code)
        if kind.size >= 0:
            return at + kind.size, kind.children
        for _, form, _ in kind.parts:
            at = skip(data, at, form, self.address, self.offset)
        return at, kind.children

    def behind(self, entry: Entry) -> int:
        """Where the entry behind this one and its children begins."""
        if not entry.children:
            return entry.end
        sibling = entry.number(SIBLING)
        if entry.at < sibling < self.end:
            return sibling
        return self._behind_children(entry.end)

    def _behind_children(self, at: int) -> int:
        depth = 1
        while depth and at < self.end:
            behind, children = self.skip(at)
            if behind < 0:
                depth -= 1
                at += 1
            else:
                depth += children
                at = behind
        return at

    def children(self, entry: Entry) -> Iterator[Entry]:
        """The entries directly below one."""
        at = entry.end
        while entry.children and at < self.end:
            child = self.entry(at)
            if child is None:
                return
            yield child
            at = self.behind(child)


# What a number of some forms stands for: a string, an address, an entry.
MEANINGS: dict[int, Callable[[Unit, int], Value]] = {
    **dict.fromkeys(forms.LOCAL_REFS, lambda unit, number: number + unit.start),
    **dict.fromkeys(forms.STRING_INDEXES, Unit._indexed_string),
    **dict.fromkeys(forms.ADDRESS_INDEXES, Unit.indexed_address),
    **dict.fromkeys(forms.ELSEWHERE, lambda _unit, _number: -1),
    forms.STRP: lambda unit, number: text_at(unit.sections["str"], number),
    forms.LINE_STRP: lambda unit, number: text_at(unit.sections["line_str"], number),
    forms.REF_SIG8: lambda unit, number: unit.signatures.get(number, -1),
}


def units_of(sections: Sections) -> list[Unit]:
    """All units of a file."""
    data = sections["info"] + sections["types"]
    split = len(sections["info"])
    found: list[Unit] = []
    signatures: dict[int, int] = {}
    tables: dict[int, dict[int, Abbreviation]] = {}
    at = 0
    while at + 11 <= len(data) and len(found) < MOST_UNITS:
        unit, at = _unit(sections, data, at, split)
        if unit is None:
            continue
        unit.tables, unit.signatures = tables, signatures
        if unit.type_at:
            signatures[unit.signature] = unit.start + unit.type_at
        found.append(unit)
    return found


def _unit(sections: Sections, data: bytes, start: int, split: int) -> tuple[Unit | None, int]:
    """Read a unit's head, and where the next unit begins; None for a kind that is not read."""
    length, at, offset = word(data, start, 4), start + 4, 4
    if length == 0xFFFFFFFF:
        length, at, offset = word(data, at, 8), at + 8, 8
    end = at + length
    if end > len(data) or length < 7:
        raise Damaged("a unit behind the end")
    version, at = word(data, at, 2), at + 2
    kind = UNIT_TYPE if start >= split else 1
    if version >= 5:
        kind, address, table = data[at], data[at + 1], word(data, at + 2, offset)
        at += 2 + offset
    else:
        table, address = word(data, at, offset), data[at + offset]
        at += offset + 1
    if not 2 <= version <= 5 or address not in (4, 8) or kind in (UNIT_SPLIT, UNIT_SPLIT_TYPE):
        return None, end
    signature = type_at = 0
    if kind == UNIT_TYPE:
        signature, type_at = word(data, at, 8), word(data, at + 8, offset)
        at += 8 + offset
    elif kind == UNIT_SKELETON:
        at += 8
    return Unit(sections, data, start, end, at, version, offset, address, table, {}, signature, type_at), end
