"""Names of flags and enumerations of system calls, read from `flags.tsv`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("flags.tsv")
WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class FlagSet:
    """One set: `names` with values, in the order in which they are shown; `widest`: those of most bits first.

    `mask`: bits that are a number of their own.
    """

    is_enum: bool
    mask: int
    names: tuple[tuple[str, int], ...]
    widest: tuple[tuple[str, int], ...]

    def text(self, value: int) -> str:
        """Return names joined by `|`, what has none in hex."""
        if self.is_enum:
            return next((name for name, known in self.names if known & WORD == value & WORD), f"{value:#x}")
        found, rest = self._found(value & ~self.mask & WORD)
        texts = [self._number(value & self.mask)] if self.mask else []
        texts += [name for name, _ in self.names if name in found] + ([f"{rest:#x}"] if rest else [])
        return "|".join(filter(None, texts)) or next((name for name, known in self.names if known == 0), "0")

    def _found(self, rest: int) -> tuple[set[str], int]:
        """Return the flags that are set, those of many bits before their parts; and what has no name."""
        found: set[str] = set()
        for name, known in self.widest:
            bits = known & WORD
            if bits and not bits & self.mask and rest & bits == bits:
                found.add(name)
                rest &= ~bits
        return found, rest

    def _number(self, value: int) -> str:
        return next((name for name, known in self.names if known == value), f"{value:#x}" if value else "")


def read_rows() -> list[list[str]]:
    """Return the rows: set, kind, names with their values."""
    if not FILE.exists():
        return []
    lines = FILE.read_text(encoding="ascii").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@cache
def sets() -> dict[str, FlagSet]:
    """Return all sets by name."""
    return {name: _set(kind, names) for name, kind, names in read_rows()}


@lru_cache(1 << 14)
def names_of(name: str, value: int) -> str:
    """Return a value of a set as names; in hex where there is no such set."""
    known = sets().get(name)
    return known.text(value) if known else f"{value:#x}" if value else "0"


def _set(kind: str, text: str) -> FlagSet:
    word, _, mask = kind.partition(":")
    pairs = (pair.split("=") for pair in text.split(",") if pair)
    names = tuple((name, int(value, 0)) for name, value in pairs)
    widest = tuple(sorted(names, key=lambda pair: -(pair[1] & WORD).bit_count()))
    return FlagSet(word == "enum", int(mask or "0", 0), names, widest)
