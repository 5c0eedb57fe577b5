"""Line tables: which addresses begin the code of a source line.

Source: DWARF 5, section 6.2. Only rows that are recommended as places for breakpoints count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.dwarf.forms import (
    BLOCK,
    DATA16,
    LINE_STRP,
    STRING,
    STRP,
    UDATA,
    Damaged,
    block_length,
    fixed_size,
    sleb,
    text_at,
    uleb,
    word,
)
from runtime.dwarf.info import DebugInfo
from runtime.dwarf.units import DIRECTORY, NAME, STATEMENTS, Sections, Unit

COPY, ADVANCE_PC, ADVANCE_LINE, SET_FILE, SET_COLUMN, NEGATE, BASIC, CONST_ADD, FIXED = range(1, 10)
END_SEQUENCE, SET_ADDRESS, DEFINE_FILE = 1, 2, 3
PATH, DIRECTORY_INDEX = 1, 2  # content types of file entries
MOST_ROWS = 1 << 24
MOST_FILES = 1 << 16


@dataclass(frozen=True, slots=True)
class Row:
    """One row that is a statement's beginning."""

    address: int
    file: int
    line: int
    column: int


@dataclass(slots=True)
class _Head:
    """What a table says of itself: `files` are full paths by their numbers."""

    start: int
    end: int
    shortest: int
    default: bool
    base: int
    span: int
    first: int
    lengths: tuple[int, ...]
    files: dict[int, str]


def addresses_of(info: DebugInfo, file: str, line: int, column: int = 0) -> list[int]:
    """Addresses where the code of a line begins: the first of each run of rows, one for each table.

    `file` is a path or its end. A `column` of 0 takes the whole line.

    Raises:
        ObjectProblem: the debug info is damaged.
    """
    return info.guarded(lambda: sorted(set(_addresses(info, file, line, column))))


def lines_near(info: DebugInfo, file: str, line: int) -> list[int]:
    """Lines of a file that have code, nearest first; none where the file is not known."""
    found = info.guarded(lambda: {row.line for _, row in _rows_of_file(info, file)})
    return sorted(found, key=lambda other: (abs(other - line), other))


def rows_of(info: DebugInfo, unit: Unit) -> Iterator[tuple[int, str, int]]:
    """Address, file and line of each row of a unit."""
    at = unit.top.attributes.get(STATEMENTS)
    if not isinstance(at, int):
        return
    head = _head(info.sections, unit, at)
    for row in _rows(info.sections["line"], head):
        if row is not None:
            yield row.address, head.files.get(row.file, ""), row.line


def _addresses(info: DebugInfo, file: str, line: int, column: int) -> Iterator[int]:
    before: Row | None = None
    for begins, row in _rows_of_file(info, file):
        wanted = row.line == line and column in (0, row.column)
        continues = not begins and before is not None and before.line == line and not column
        if wanted and not continues:
            yield row.address
        before = row


def _rows_of_file(info: DebugInfo, file: str) -> Iterator[tuple[bool, Row]]:
    """Rows of a file, and whether each begins something: a sequence, or what follows another file's row."""
    for unit in info.units:
        at = unit.top.attributes.get(STATEMENTS)
        if not isinstance(at, int):
            continue
        head = _head(info.sections, unit, at)
        numbers = {number for number, path in head.files.items() if _is_named(path, file)}
        if not numbers:
            continue
        begins = True
        for row in _rows(info.sections["line"], head):
            if row is None or row.file not in numbers:
                begins = True
            else:
                yield begins, row
                begins = False


def _is_named(path: str, wanted: str) -> bool:
    wanted = wanted.removeprefix("./")
    return path == wanted or path.endswith("/" + wanted.removeprefix("/"))


# The head


def _head(sections: Sections, unit: Unit, at: int) -> _Head:
    data = sections["line"]
    length, here, size = word(data, at, 4), at + 4, 4
    if length == 0xFFFFFFFF:
        length, here, size = word(data, here, 8), here + 8, 8
    end = here + length
    version = word(data, here, 2)
    if end > len(data) or not 2 <= version <= 5:
        raise Damaged("a line table that is not known")
    here += 2 + (2 if version >= 5 else 0)
    start = here + size + word(data, here, size)
    here += size
    shortest, here = data[here], here + 1 + (1 if version >= 4 else 0)
    default, span = data[here] != 0, data[here + 2]
    base = data[here + 1] - 256 if data[here + 1] > 127 else data[here + 1]
    first, here = data[here + 3], here + 4
    if not span or not first:
        raise Damaged("a line table without steps")
    lengths = tuple(data[here : here + first - 1])
    here += first - 1
    files = _files5(sections, here, size) if version >= 5 else _files4(data, here, unit)
    return _Head(start, end, shortest, default, base, span, first, lengths, files)


def _files4(data: bytes, at: int, unit: Unit) -> dict[int, str]:
    own = unit.top.text(DIRECTORY)
    folders = [own]
    while data[at]:
        text = text_at(data, at)
        folders.append(_joined(own, text))
        at += len(data[at : data.index(b"\0", at)]) + 1
    at += 1
    files = {0: _joined(own, unit.top.text(NAME))}
    while data[at] and len(files) < MOST_FILES:
        text = text_at(data, at)
        at = data.index(b"\0", at) + 1
        folder, at = uleb(data, at)
        _, at = uleb(data, at)
        _, at = uleb(data, at)
        files[len(files)] = _joined(folders[folder] if folder < len(folders) else own, text)
    return files


def _files5(sections: Sections, at: int, size: int) -> dict[int, str]:
    folders: list[str] = []
    tables: list[list[tuple[str, int]]] = []
    for _ in range(2):
        rows, at = _entries(sections, at, size)
        tables.append(rows)
    for text, _ in tables[0]:
        folders.append(_joined(folders[0], text) if folders else text)
    return {
        number: _joined(folders[folder] if folder < len(folders) else "", text)
        for number, (text, folder) in enumerate(tables[1])
    }


def _entries(sections: Sections, at: int, size: int) -> tuple[list[tuple[str, int]], int]:
    """Read a table of folders or files: path and folder of each."""
    data = sections["line"]
    count, at = data[at], at + 1
    forms: list[tuple[int, int]] = []
    for _ in range(count):
        content, at = uleb(data, at)
        form, at = uleb(data, at)
        forms.append((content, form))
    entries, at = uleb(data, at)
    rows: list[tuple[str, int]] = []
    for _ in range(min(entries, MOST_FILES)):
        path, folder = "", 0
        for content, form in forms:
            value, at = _value(sections, at, form, size)
            if content == PATH:
                path = str(value)
            elif content == DIRECTORY_INDEX and isinstance(value, int):
                folder = value
        rows.append((path, folder))
    return rows, at


def _value(sections: Sections, at: int, form: int, size: int) -> tuple[int | str, int]:
    data = sections["line"]
    if form in (LINE_STRP, STRP):
        table = sections["line_str" if form == LINE_STRP else "str"]
        return text_at(table, word(data, at, size)), at + size
    if form == STRING:
        return text_at(data, at), data.index(b"\0", at) + 1
    if form == UDATA:
        return uleb(data, at)
    if form == BLOCK:
        length, at = block_length(data, at, form)
        return 0, at + length
    wide = fixed_size(form, 8, size)
    if wide < 0:
        raise Damaged(f"unknown form {form:#x} in a line table")
    return (0 if form == DATA16 else word(data, at, wide)), at + wide


def _joined(folder: str, name: str) -> str:
    return name if name.startswith("/") or not folder else f"{folder.rstrip('/')}/{name}"


# The program


def _rows(data: bytes, head: _Head) -> Iterator[Row | None]:
    """Run a table's program; None ends a sequence."""
    at = head.start
    state = _State(head)
    for _ in range(MOST_ROWS):
        if at >= head.end:
            return
        code, at = data[at], at + 1
        if code >= head.first:
            state.special(code - head.first)
            yield from state.row()
        elif code == 0:
            length, at = uleb(data, at)
            ends = state.extended(data, at, length)
            at += length
            if ends:
                yield None
        elif code == COPY:
            yield from state.row()
        else:
            at = state.standard(data, at, code)


class _State:
    def __init__(self, head: _Head) -> None:
        self.head = head
        self.reset()

    def reset(self) -> None:
        """Begin a sequence."""
        self.address, self.file, self.line, self.column = 0, 1, 1, 0
        self.statement = self.head.default

    def row(self) -> Iterator[Row]:
        """The row that the state describes, if it is a statement's."""
        if self.statement and self.line:
            yield Row(self.address, self.file, self.line, self.column)

    def special(self, code: int) -> None:
        """Move on by address and line in one byte."""
        self.address += code // self.head.span * self.head.shortest
        self.line += self.head.base + code % self.head.span

    def extended(self, data: bytes, at: int, length: int) -> bool:
        """Carry out an instruction with a length; True at a sequence's end."""
        code = data[at] if length else 0
        if code == SET_ADDRESS:
            self.address = word(data, at + 1, length - 1)
        elif code == END_SEQUENCE:
            self.reset()
            return True
        return False

    def standard(self, data: bytes, at: int, code: int) -> int:
        """Carry out a standard instruction; where the next one begins."""
        if code == ADVANCE_LINE:
            step, at = sleb(data, at)
            self.line += step
        elif code == CONST_ADD:
            self.address += (255 - self.head.first) // self.head.span * self.head.shortest
        elif code == FIXED:
            self.address, at = self.address + word(data, at, 2), at + 2
        elif code == NEGATE:
            self.statement = not self.statement
        elif code in (ADVANCE_PC, SET_FILE, SET_COLUMN):
            value, at = uleb(data, at)
            self._set(code, value)
        else:
            for _ in range(self.head.lengths[code - 1]):
                _, at = uleb(data, at)
        return at

    def _set(self, code: int, value: int) -> None:
        if code == ADVANCE_PC:
            self.address += value * self.head.shortest
        elif code == SET_FILE:
            self.file = value
        else:
            self.column = value
