"""`list usdt:…`: the markers of files, one line a name, with their sites and the types of their arguments."""

from __future__ import annotations

from dataclasses import dataclass

from attachers.usdt import MarkerText, find_markers, unknown_marker
from bpftime_cli.console import Console
from bpftime_cli.render.json import value_json
from runtime.events import Value
from runtime.symbols.elf import ElfFile
from runtime.symbols.notes import Marker
from runtime.symbols.operands import operands_of


@dataclass(frozen=True, slots=True)
class Row:
    """One name: its probe text, how many sites it has, whether it has a counter, its arguments' types."""

    probe: str
    sites: int
    counted: bool
    types: tuple[str, ...]


def marker_text(rest: str) -> MarkerText:
    """Return what the words behind `usdt:` mean in a list: BINARY, BINARY:NAME or BINARY:PROVIDER:NAME."""
    parts = tuple(rest.split(":", 2))
    return MarkerText.of(parts if len(parts) > 1 else (rest, "*"))


def show_markers(
    files: list[tuple[str, ElfFile]], text: MarkerText, options: tuple[bool, str], console: Console
) -> None:
    """Print the markers of files that a pattern means; `options`: more columns, and the format.

    Raises:
        AttachProblem: there is none.
    """
    verbose, form = options
    rows = sorted((row for path, elf in files for row in _rows(path, elf, text)), key=lambda r: r.probe)
    if not rows:
        raise unknown_marker([elf for _, elf in files], text)
    if form == "json":
        for row in rows:
            about: Value = {
                "kind": "probe",
                "probe": row.probe,
                "sites": row.sites,
                "counter": row.counted,
                "arguments": list(row.types),
            }
            console.data(value_json(about).encode() + b"\n")
    elif verbose:
        cells = [(r.probe, str(r.sites), "yes" if r.counted else "", ", ".join(r.types)) for r in rows]
        console.table(("PROBE", "SITES", "COUNTER", "ARGUMENTS"), cells)
    else:
        console.data("".join(f"{row.probe}\n" for row in rows).encode("utf-8", "surrogateescape"))


def _rows(path: str, elf: ElfFile, text: MarkerText) -> list[Row]:
    named: dict[str, list[Marker]] = {}
    for marker in find_markers(elf, text):
        named.setdefault(marker.full_name, []).append(marker)
    return [
        Row(f"usdt:{path}:{name}", len(sites), any(m.semaphore for m in sites), _types(sites))
        for name, sites in named.items()
    ]


def _types(sites: list[Marker]) -> tuple[str, ...]:
    """Return the arguments' types: of the site with the most, as sites may differ in what they keep."""
    return max((tuple(o.type for o in operands_of(m.arguments)) for m in sites), key=len)
