"""Functions of a native ELF file by name: exact, versioned, wildcard, with an offset, or by address."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

from runtime.errors import AttachProblem, alternatives
from runtime.symbols.demangle import spellings
from runtime.symbols.elf import IFUNC, ElfFile, Symbol
from runtime.symbols.gotable import go_functions
from runtime.symbols.matching import CPP, PLT, matching, source_names
from runtime.symbols.plt import stubs_of
from runtime.symbols.ranges import ranges_of
from runtime.symbols.sources import NAMELESS, named_functions

LONGEST = 1 << 16  # bytes of a function that is still searched for padding
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+")
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class FunctionPoint:
    """A place in a file: function `name` at virtual address `address` of `size` bytes, probed at `offset`.

    `indirect`: the symbol is an IFUNC, so `address` is its resolver. `others`: parts elsewhere (`.cold`).
    """

    name: str
    address: int
    size: int
    offset: int = 0
    indirect: bool = False
    others: tuple[tuple[int, int], ...] = ()


DATA_KINDS = (0, 1)  # STT_NOTYPE, STT_OBJECT


def find(elf: ElfFile, text: str) -> list[FunctionPoint]:
    """Return the places that a function pattern means, sorted by address; wildcards may give many.

    Raises:
        AttachProblem: nothing matches (2), or the offset is wrong (22).
    """
    if _NUMBER.fullmatch(text):
        return [at_address(elf, int(text, 0))]
    name, plus, offset = _split_offset(text)
    if name.startswith(NAMELESS) and _HEX.fullmatch(name.removeprefix(NAMELESS)) and not elf.has_symtab:
        return [_nameless(elf, int(name.removeprefix(NAMELESS), 16), int(offset, 0) if plus else 0)]
    matches = matching(elf, name)
    if not matches:
        raise unknown_function(elf, name)
    points = [_point(elf, s, int(offset, 0) if plus else 0) for s in matches]
    for point in points:
        if point.offset and point.offset >= point.size:
            raise AttachProblem(
                f"Offset outside the function bounds ('{point.name}' size is {point.size})", errno=22
            )
    return [p for p in points if p.size]


def _nameless(elf: ElfFile, address: int, offset: int) -> FunctionPoint:
    """Return the place of a function that is known by its address alone.

    Raises:
        AttachProblem: no function starts there (2), or the offset is behind its end (22).
    """
    point = at_address(elf, address)
    if point.offset:
        raise AttachProblem(
            f"no function starts at {address:#x} in {elf.path}",
            errno=2,
            hint=f"the one around it starts at {address - point.offset:#x}",
        )
    if offset >= point.size:
        raise AttachProblem(
            f"Offset outside the function bounds ('{point.name}' size is {point.size})", errno=22
        )
    return replace(point, offset=offset)


def _split_offset(text: str) -> tuple[str, bool, str]:
    """Return name, whether an offset follows, and it; the plus of `operator+` is part of the name.

    Raises:
        AttachProblem: what follows the plus is no number (22).
    """
    name, plus, offset = text.rpartition("+")
    if plus and _NUMBER.fullmatch(offset):
        return name, True, offset
    if plus and "operator" not in text:
        offset = text.partition("+")[2]
        raise AttachProblem(
            f"Invalid offset '{offset}'", errno=22, hint="write FUNCTION+NUMBER, such as main+16"
        )
    return text, False, ""


def _point(elf: ElfFile, symbol: Symbol, offset: int) -> FunctionPoint:
    size = symbol.size or _size_at(elf, symbol.value)
    others = _cold_parts(elf).get(symbol.name, ())
    return FunctionPoint(symbol.name, symbol.value, size, offset, symbol.kind == IFUNC, others)


@lru_cache(maxsize=64)
def _cold_parts(elf: ElfFile) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the ranges that GCC has moved away from each function (`name.cold`)."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for symbol in elf.functions:
        if symbol.name.endswith(".cold"):
            name = symbol.name.removesuffix(".cold")
            found[name] = (*found.get(name, ()), (symbol.value, symbol.value + symbol.size))
    return found


@lru_cache(maxsize=64)
def _all_starts(elf: ElfFile) -> list[int]:
    functions = elf.functions or go_functions(elf)
    return sorted({s.value for s in functions} | set(ranges_of(elf).starts()))


def _size_at(elf: ElfFile, address: int) -> int:
    """Return the bytes from an address to the end of its function: by unwind entry or next symbol."""
    covering = ranges_of(elf).containing(address)
    if covering:
        return covering[1] - address
    following = [s.value for s in elf.functions if s.value > address]
    return min(following) - address if following else 0


def at_address(elf: ElfFile, address: int) -> FunctionPoint:
    """Return the place of a virtual address of the file.

    Raises:
        AttachProblem: it is in no function.
    """
    name, offset = name_at(elf, address)
    for symbol in (
        s for s in named_functions(elf) if name and s.value == address - offset and s.name == name
    ):
        return _point(elf, symbol, offset)
    covering = ranges_of(elf).containing(address)
    if covering:
        start, end = covering
        return FunctionPoint(f"{NAMELESS}{start:x}", start, end - start, address - start)
    raise AttachProblem(
        f"{address:#x} is in no function of {elf.path}",
        errno=22,
        hint="give an ELF virtual address inside a function",
    )


def covering(elf: ElfFile, address: int) -> tuple[int, int, str]:
    """Return start, size and name (empty: unknown) of the code around a virtual address.

    Raises:
        AttachProblem: it is in no code.
    """
    name, offset = name_at(elf, address)
    found = ranges_of(elf).containing(address)
    if found is None and name:
        start = address - offset
        size = next((s.size for s in named_functions(elf) if s.value == start and s.size), 0)
        found = (start, start + (size or _size_at(elf, start)))
    if found is None:
        found = next((b for b in bodies_in(elf, address, address + 1) if b[0] <= address < b[1]), None)
    if found is None:
        raise AttachProblem(f"{address:#x} is in no function of {elf.path}", errno=22)
    return found[0], found[1] - found[0], name


def unknown_function(elf: ElfFile, name: str) -> AttachProblem:
    """Return the error for a name that no function has, with near ones."""
    import difflib  # lazy: only for the message

    names = sorted({s.name for s in elf.functions or named_functions(elf)})
    # What the compiler has made of it goes first: `f.isra.0`, `f.part.0`.
    near = [n for n in names if n.startswith(f"{name}.") and not n.endswith(".cold")][:3]
    if not near and len(names) < 200_000:
        near = difflib.get_close_matches(name, names, 3, 0.7) or _near_in_source(elf, name)
    hint = f"did you mean {alternatives(near)}? " if near else ""
    if any(stub.name == f"{name}{PLT}" for stub in stubs_of(elf)):
        hint = f"it calls {name} of another file: probe it there, or the stub {name}{PLT}. "
    if not names:
        hint = "the file has no symbols: give an address, or install its debug symbols. "
        if ranges_of(elf).starts():
            hint += f"Its functions are called {NAMELESS}ADDRESS. "
    return AttachProblem(
        f"no symbol '{name.removeprefix(CPP)}' in {elf.path} ({len(names):,} functions)",
        errno=2,
        hint=f"{hint}See: bpftime list 'uprobe:{elf.path}:*{name.removeprefix(CPP).strip('*')[1:4]}*'",
    )


def _near_in_source(elf: ElfFile, name: str) -> list[str]:
    import difflib  # lazy: only for the message

    bare = {spellings(text)[-1] for text in source_names(elf).values()}
    return difflib.get_close_matches(name.removeprefix(CPP), sorted(bare), 3, 0.7)


@lru_cache(maxsize=4096)
def name_at(elf: ElfFile, address: int) -> tuple[str, int]:
    """Return the function at a virtual address and the offset in it; an empty name when there is none."""
    best = _covering(elf.functions, address)
    if best is None and not elf.has_symtab:
        best = _covering(named_functions(elf), address)
        if best is None and ranges_of(elf).starts_at(address):
            return f"{NAMELESS}{address:x}", 0
    return (best.name, address - best.value) if best else ("", 0)


def _covering(functions: tuple[Symbol, ...], address: int) -> Symbol | None:
    """Return the function around an address among some that are in order of theirs."""
    index = bisect_right(functions, address, key=lambda s: s.value)
    near = functions[max(index - 8, 0) : index]
    return next((s for s in reversed(near) if s.value <= address < s.value + max(s.size, 1)), None)


def bodies_in(elf: ElfFile, low: int, high: int) -> list[tuple[int, int]]:
    """Return (start, end) of the code between function starts that overlaps [low, high], in one section each.

    Between two known starts lies one function and its padding: hand-written code without sizes as well.
    """
    starts = _all_starts(elf)
    found = []
    for section in elf.sections:
        if not section.flags & 4 or section.address >= high or section.address + section.size <= low:
            continue
        end = section.address + section.size
        first = bisect_right(starts, max(low, section.address)) - 1
        for index in range(
            max(first, bisect_left(starts, section.address)), bisect_left(starts, min(high, end))
        ):
            stop = min(starts[index + 1], end) if index + 1 < len(starts) else end
            if stop - starts[index] < LONGEST:
                found.append((starts[index], stop))
    return found


def data_symbol(elf: ElfFile, name: str) -> Symbol | None:
    """Return the variable of a file that has this name, None where there is none."""
    return next((s for s in elf.symbols() if s.name == name and s.kind in DATA_KINDS), None)
