"""The door: from a verified program to the body that is pasted into kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import Bug, Unsupported
from runtime.jit.memory import READ_ONLY
from runtime.maps.spec import MapKind
from runtime.nvptx import worker
from runtime.nvptx.body import Body
from runtime.nvptx.layout import PINNED
from runtime.nvptx.lift import lift
from runtime.nvptx.text import ALONE, body_text
from runtime.nvptx.unit import FUEL, MODERN, Unit
from runtime.types import DEVICE_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runtime.ebpf.object import Program
    from runtime.maps.spec import MapSpec
    from runtime.verify.result import Verified

OLDEST = 50  # architecture
ISA = {MODERN: (6, 3), OLDEST: (6, 2)}  # least architecture → least PTX version of bodies for it


@dataclass(frozen=True, slots=True)
class Device:
    """What bodies are compiled for.

    `arch`: the `.target` of the module, at least 50; bodies for 70 serve all later ones. `pinned`: maps in
    memory of the host. `unsafe`: any address may be read. `fuel`: back jumps of loops without a proven bound.
    """

    arch: int = MODERN
    pinned: frozenset[str] = frozenset()
    unsafe: bool = False
    fuel: int = FUEL


DEFAULT = Device()


def shared_maps(programs: Iterable[Program], maps: Mapping[str, MapSpec]) -> frozenset[str]:
    """Name the plain arrays that programs of the host and of devices both use: one memory serves both.

    Arrays that are only added to are not among them: each side has its own, and the sums are put together.
    """
    sides = {True: set[str](), False: set[str]()}
    for program in programs:
        sides[program.context in DEVICE_KINDS].update(program.map_refs.values())
    return frozenset(
        name
        for name in sides[True] & sides[False]
        if maps[name].kind == MapKind.ARRAY and not maps[name].added_only and not maps[name].flags & READ_ONLY
    )


def body(
    verified: Verified, maps: Mapping[str, MapSpec], order: Sequence[str], device: Device = DEFAULT
) -> Body:
    """Compile one program; see `bodies`."""
    return bodies([verified], maps, order, device)[0]


def bodies(
    programs: Iterable[Verified], maps: Mapping[str, MapSpec], order: Sequence[str], device: Device = DEFAULT
) -> list[Body]:
    """Compile programs for a device.

    `maps`: by name. `order`: names of all maps of the session that devices have, in the order of their index.

    Raises:
        Unsupported: a program asks for what a device cannot do; with its place.
    """
    arch = MODERN if device.arch >= MODERN else OLDEST
    pinned = device.pinned | {name for name, spec in maps.items() if spec.kind in PINNED}
    units = []
    for verified in programs:
        if verified.program.context not in DEVICE_KINDS:
            raise Bug(f"program '{verified.program.name}' is not for devices")
        unit = Unit(verified, dict(maps), tuple(order), arch, pinned, device.unsafe, device.fuel)
        units.append((unit, lift(unit)))
    isa = ISA[arch]
    jobs = [(text, f"sm_{arch}", f"+ptx{isa[0]}{isa[1]}") for _, text in units]
    return [_body(unit, text) for (unit, _), text in zip(units, worker.assemblies(jobs), strict=True)]


def _body(unit: Unit, assembly: str) -> Body:
    name = unit.verified.program.name
    try:
        text, inputs, local = body_text(assembly)
    except Bug as bug:
        if str(bug).startswith(ALONE):
            raise Unsupported(f"program '{name}' calls itself, which a device cannot do") from None
        raise
    arch, isa = max(unit.arch, unit.least[0]), max(ISA[unit.arch], unit.least[1])
    return Body(name, text, inputs, unit.order, isa, arch, unit.exits, local)
