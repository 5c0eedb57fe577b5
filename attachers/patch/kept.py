"""Placements kept by build-id: where the probes of one module went last time, with no address in it.

Choosing sites costs a hundred times what writing them costs. The same probes on the same file lead to the
same sites, so the choice is kept: in this process for the children of a traced program, and on disk. What is
kept is used only where the code in memory is, byte for byte, the code that was looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from attachers.patch.displace import Instruction
from attachers.patch.plan import Probe
from attachers.patch.site import Place
from attachers.patch.spot import Spot
from attachers.patch.thunk import KEPT, Moment
from runtime.agent.protocol import SiteKind
from runtime.errors import AttachProblem
from runtime.jit import cache as files
from runtime.symbols.modules import Module

ReadCode = Callable[[int, int], bytes]
Outcome = list[Spot] | AttachProblem
HOLE = 5
_known: dict[str, list[Any]] = {}


@cache
def _planner_version() -> str:
    """Name the planner by its sources: another one may choose otherwise."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        about = file.stat()
        digest.update(f"{file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def key_of(module: Module, probes: list[Probe], under: tuple[object, ...], read: ReadCode) -> str:
    """Name a set of probes on one file with the code they find there; empty where it has no build-id.

    `under`: what else the choice depends on.
    """
    build_id = module.elf.build_id
    if not build_id:
        return ""
    digest = hashlib.sha256(f"{_planner_version()} {build_id} {under}\n".encode())
    for p in probes:
        start = p.address - module.bias
        wants = sorted(word for word in p.image.words if word.startswith(KEPT))  # they need another thunk
        digest.update(f"{start:x} {p.size} {p.at - p.address} {p.when.value} {p.name} {wants}\n".encode())
        digest.update(read(p.address, p.size))
    return digest.hexdigest()


def load(key: str, probes: list[Probe], bias: int, read: ReadCode) -> list[Outcome] | None:
    """Return what was decided for these probes, or None where nothing is kept or the code differs.

    `read(address, size)` gives code of the process as the program came with it.
    """
    rows = _known.get(key)
    if rows is None:
        found = files.read("plan", key)
        if found is None:
            return None
        try:
            rows = json.loads(found[1])
        except ValueError:
            return None
        _known[key] = rows
    if len(rows) != len(probes):
        return None
    try:
        return [_outcome(row, probe, bias, read) for row, probe in zip(rows, probes, strict=True)]
    except (_Differs, LookupError, TypeError, ValueError):
        return None


def save(key: str, outcomes: list[Outcome], bias: int, read: ReadCode) -> None:
    """Keep what was decided."""
    rows = [_row(outcome, bias, read) for outcome in outcomes]
    _known[key] = rows
    files.write("plan", key, {}, json.dumps(rows, separators=(",", ":")).encode())


class _Differs(Exception):
    """The code in memory is not what the kept placement was made for."""


def _row(outcome: Outcome, bias: int, read: ReadCode) -> Any:  # noqa: ANN401 # JSON
    if isinstance(outcome, AttachProblem):
        return [str(outcome), outcome.errno, outcome.hint]
    return [[_spot_row(spot, bias, read)] for spot in outcome]


def _spot_row(spot: Spot, bias: int, read: ReadCode) -> list[Any]:
    place = spot.place
    return [
        spot.moment.value,
        spot.through,
        spot.swap,
        int(place.kind),
        place.address - bias,
        place.hole - bias if place.hole else 0,
        read(place.hole, HOLE).hex() if place.hole else "",
        [_insn_row(i, bias) for i in place.displaced],
        [_insn_row(i, bias) for i in place.walked],
        _insn_row(place.ret, bias) if place.ret else None,
        place.is_late,
        sorted(place.stale),
    ]


def _insn_row(insn: Instruction, bias: int) -> list[Any]:
    target = insn.target
    return [
        insn.address - bias,
        insn.data.hex(),
        insn.mnemonic,
        insn.operands if target is None else "",
        target - bias if target is not None else 0,
    ]


def _outcome(row: list[Any], probe: Probe, bias: int, read: ReadCode) -> Outcome:
    if row and isinstance(row[0], str):
        return AttachProblem(row[0], errno=row[1], hint=row[2])
    return [_spot(one[0], probe, bias, read) for one in row]


def _spot(row: list[Any], probe: Probe, bias: int, read: ReadCode) -> Spot:
    moment, through, swap, kind, address, hole, padding, displaced, walked, ret, is_late, stale = row
    at_hole = hole + bias if hole else 0
    if at_hole and read(at_hole, HOLE) != bytes.fromhex(padding):
        raise _Differs
    place = Place(
        SiteKind(kind),
        address + bias,
        at_hole,
        tuple(_insn(i, bias, read) for i in displaced),
        tuple(_insn(i, bias, read) for i in walked),
        _insn(ret, bias, read) if ret else None,
        is_late,
        frozenset(stale),
    )
    return Spot(probe, place, Moment(moment), through, swap)


def _insn(row: list[Any], bias: int, read: ReadCode) -> Instruction:
    offset, data, mnemonic, operands, target = row
    raw = bytes.fromhex(data)
    if read(offset + bias, len(raw)) != raw:
        raise _Differs
    return Instruction(offset + bias, raw, mnemonic, operands if not target else hex(target + bias))
