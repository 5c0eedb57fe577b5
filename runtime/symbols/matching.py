"""Which functions of a file a pattern means: exact, of a version, by wildcard, by source name, by stub.

`name@V1` is one version, `name#2` the second function of that name, `name@plt` the stub by which a file calls
it, `cpp:ns::f` the name in the source. Names in the source are looked at when nothing else fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from runtime.errors import AttachProblem, alternatives
from runtime.symbols.demangle import demangled, is_mangled, spellings
from runtime.symbols.elf import IFUNC, ElfFile, Symbol
from runtime.symbols.plt import stubs_of
from runtime.symbols.sources import functions_of, named_functions

_SUFFIX = re.compile(r"\.(cold|part|isra|constprop|lto_priv|llvm)(\.\d+)*$")
_MOVED = re.compile(r"\.cold(\.\d+)?$")
_NUMBERED = re.compile(r"(.+)#(\d{1,4})\Z")
CPP, PLT = "cpp:", "@plt"
Matches = Callable[[str], object]


def is_pattern(text: str) -> bool:
    """Return whether a text has wildcards: `*` is any run of characters, there is no other."""
    return "*" in text


def compiled(pattern: str) -> Matches:
    """Return what tells whether a name fits a pattern."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")) + r"\Z", re.S).match


def every_match(elf: ElfFile, text: str) -> list[Symbol]:
    """Return all names that a pattern means, several for one address where it has several.

    Raises:
        AttachProblem: the name has several versions and none of them is the default (22).
    """
    numbered = _NUMBERED.match(text)
    if numbered:
        found = chosen(every_match(elf, numbered[1]))
        index = int(numbered[2]) - 1
        return found[index : index + 1] if index >= 0 else []
    if text.startswith(CPP):
        return by_source_name(elf, text.removeprefix(CPP))
    if text.endswith(PLT):
        matches = compiled(text)
        return [s for s in stubs_of(elf) if matches(s.name)]
    return _by_wildcard(elf, text) if is_pattern(text) else _exact(elf, text)


def matching(elf: ElfFile, text: str) -> list[Symbol]:
    """Return one symbol for each address that a name or pattern means, by address.

    Raises:
        AttachProblem: as `every_match`.
    """
    return chosen(every_match(elf, text))


def chosen(symbols: Iterable[Symbol]) -> list[Symbol]:
    """Return the best known name of each address, by address."""
    first: dict[int, Symbol] = {}
    for symbol in sorted(symbols, key=_publicness):
        first.setdefault(symbol.value, symbol)
    return sorted(first.values(), key=lambda s: s.value)


def _publicness(symbol: Symbol) -> tuple[bool, int, int, str]:
    """Order the names of one address: `malloc` before `__libc_malloc`. An IFUNC's name goes first."""
    name = symbol.name
    return symbol.kind != IFUNC, len(name) - len(name.lstrip("_")), len(name), name


def _by_wildcard(elf: ElfFile, pattern: str) -> list[Symbol]:
    matches, with_parts = compiled(pattern), "." in pattern
    found = [
        s
        for s in functions_of(elf)
        if matches(s.name) and not (_MOVED if with_parts else _SUFFIX).search(s.name)
    ]
    return found or (by_source_name(elf, pattern) if re.search(r"[A-Za-z_]", pattern) else [])


def _exact(elf: ElfFile, text: str) -> list[Symbol]:
    name, at, version = text.partition("@")
    found = [s for s in elf.functions if s.name == name]
    if not found and not elf.has_symtab:
        found = [s for s in functions_of(elf) if s.name == name]
    if found:
        return _of_version(elf, found, version.lstrip("@") if at else None)
    return [] if at else by_source_name(elf, text)


def _of_version(elf: ElfFile, found: list[Symbol], version: str | None) -> list[Symbol]:
    """Return the symbols of the wanted version, of the default one where none is wanted.

    Raises:
        AttachProblem: there is no default among several (22), or no such version (2).
    """
    name = found[0].name
    versions = sorted({s.version for s in found if s.version})
    if version is not None:
        fitting = [s for s in found if s.version == version]
        if not fitting and versions:
            known = alternatives([f"{name}@{v}" for v in versions])
            raise AttachProblem(
                f"no version '{version}' of {name} in {elf.path}", errno=2, hint=f"it has {known}"
            )
        return fitting
    defaults = [s for s in found if s.is_default]
    if defaults:
        return defaults
    if len({s.value for s in found}) > 1:
        known = alternatives([f"{name}@{v}" for v in versions])
        raise AttachProblem(
            f"{name} has {len(versions)} versions in {elf.path}, and none is the default",
            errno=22,
            hint=f"name one: {known}",
        )
    return found


def by_source_name(elf: ElfFile, pattern: str) -> list[Symbol]:
    """Return the functions whose name in the source fits: with or without its parameters."""
    words = re.findall(r"\w+", pattern)
    matches = compiled(pattern)
    texts = source_names(elf)
    found = []
    for symbol in named_functions(elf):
        text = texts.get(symbol.name)
        if text is None or not all(word in text for word in words) or _MOVED.search(symbol.name):
            continue
        if any(matches(spelling) for spelling in spellings(text)):
            found.append(symbol)
    return found


@lru_cache(maxsize=16)
def source_names(elf: ElfFile) -> dict[str, str]:
    """Return the names in the source of all mangled symbols of a file."""
    return demangled({s.name for s in named_functions(elf) if is_mangled(s.name)})
