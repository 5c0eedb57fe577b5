"""Markers (USDT) of one process: from the text of a probe to their sites."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

from attachers.patch.plan import Probe, When
from attachers.resolve import find_modules
from attachers.target import Target
from runtime.errors import AttachProblem, alternatives
from runtime.jit.image import Image
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import covering
from runtime.symbols.modules import Module
from runtime.symbols.notes import Marker, markers_of
from runtime.symbols.operands import MOST, operands_of


@dataclass(frozen=True, slots=True)
class MarkerText:
    """What a probe names: a binary, a provider and a name; each may hold wildcards."""

    binary: str
    provider: str
    name: str

    @classmethod
    def of(cls, parts: tuple[str, ...]) -> MarkerText:
        """Return the parts behind `usdt:`: NAME, BINARY:NAME or BINARY:PROVIDER:NAME; an empty one is `*`."""
        *front, name = parts
        binary, provider = (*front, "*", "*")[:2]
        return cls(binary or "*", provider or "*", name)

    def __str__(self) -> str:
        return self.name if self.provider == "*" else f"{self.provider}:{self.name}"


def find_markers(elf: ElfFile, text: MarkerText) -> list[Marker]:
    """Return the markers of a file that a probe means; every site of each."""
    return [
        m
        for m in markers_of(elf)
        if fnmatch.fnmatchcase(m.provider, _literal(text.provider))
        and fnmatch.fnmatchcase(m.name, _literal(text.name))
    ]


def _literal(pattern: str) -> str:
    """Only `*` and `?` are wildcards: brackets are not."""
    return re.sub(r"\[", "[[]", pattern)


def resolve(target: Target, session: bytes, text: MarkerText, image: Image) -> list[Probe]:
    """Return the sites of a marker probe in a process.

    Raises:
        AttachProblem: no mapped file has such a marker.
    """
    modules = find_modules(target, text.binary)
    found = [
        _probe(module, marker, image, session)
        for module in modules
        for marker in find_markers(module.elf, text)
    ]
    if not found:
        raise unknown_marker([m.elf for m in modules], text)
    return found


def _probe(module: Module, marker: Marker, image: Image, session: bytes) -> Probe:
    start, size, name = covering(module.elf, marker.address)
    return Probe(
        name,
        module,
        start + module.bias,
        size,
        marker.address + module.bias,
        When.MARKER,
        image,
        0,
        0,
        session,
        marker=marker,
    )


def too_many_arguments(probes: list[Probe]) -> list[str]:
    """Return a line for each marker that has more arguments than can be used."""
    counts = {p.marker.full_name: len(operands_of(p.marker.arguments)) for p in probes if p.marker}
    return [
        f"usdt {name} has {n} arguments: only the first {MOST} can be used"
        for name, n in counts.items()
        if n > MOST
    ]


def unknown_marker(files: list[ElfFile], text: MarkerText) -> AttachProblem:
    """Return the error for a marker that no file has, with near names."""
    import difflib  # lazy: only for the message

    known = sorted({m.full_name for elf in files for m in markers_of(elf)})
    names = sorted({m.name for elf in files for m in markers_of(elf)})
    near = difflib.get_close_matches(str(text), known, 3, 0.6) or difflib.get_close_matches(
        text.name, names, 3, 0.6
    )
    where = files[0].path if len(files) == 1 else f"{len(files)} mapped files"
    if near:
        hint = f"did you mean {alternatives(near)}?"
    elif known:
        hint = f"it has: {', '.join(known[:8])}"
    else:
        hint = "it was built without markers (sys/sdt.h)"
    return AttachProblem(f"no marker '{text}' in {where} ({len(known)} markers)", errno=2, hint=hint)
