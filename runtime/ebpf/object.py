"""An object: programs and maps, from an ELF file, a script or hex, with all relocations done.

Instructions are the raw bytes of RFC 9669 in little endian. A reference to a map stays symbolic: the
`ld_imm64` has source register 1 (map) or 2 (value of the map, its second imm is the offset), and
`map_refs` names the map by the index of the instruction (8-byte units, an `ld_imm64` takes two).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.types import ContextKind

if TYPE_CHECKING:
    from runtime.btf import Btf
    from runtime.errors import Span
    from runtime.maps.spec import MapSpec


@dataclass(frozen=True, slots=True)
class Program:
    """One entry function with the subprograms that it calls appended.

    `attach` is the rest of the section name or the probe text. `lines` maps an instruction index to
    source. `subprograms` maps the first instruction index of each appended function to its name.
    """

    name: str
    section: str
    context: ContextKind
    attach: str
    insns: bytes
    map_refs: dict[int, str] = field(default_factory=dict)
    lines: dict[int, Span] = field(default_factory=dict)
    subprograms: dict[int, str] = field(default_factory=dict)
    autoload: bool = True


@dataclass(frozen=True, slots=True)
class Object:
    """What was read from a file or compiled from a script; `origin` is `elf`, `script` or `hex`."""

    path: str
    origin: str
    license: str
    programs: tuple[Program, ...]
    maps: tuple[MapSpec, ...]
    btf: Btf | None = None
    notes: tuple[str, ...] = ()
