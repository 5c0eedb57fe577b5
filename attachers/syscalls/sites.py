"""The places of a file that make system calls: looked for once, kept by build-id, with no address in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from attachers.patch.displace import Instruction
from attachers.patch.function import Function
from attachers.syscalls.caller import behind_return
from attachers.syscalls.constants import numbers_in
from attachers.syscalls.scan import Bounds, calls_in
from attachers.syscalls.trail import Trail, trail_of
from runtime.jit import cache as files
from runtime.symbols.elf import ElfFile

_found: dict[str, tuple[CallSite, ...]] = {}


@dataclass(frozen=True, slots=True)
class CallSite:
    """One `syscall` of a file, or of a process once it was moved there by a bias.

    `start`, `end`, `name`: its function. `padding`: bytes behind that function which nobody executes.
    """

    trail: Trail
    start: int
    end: int
    padding: int
    name: str

    def at(self, bias: int) -> CallSite:
        """Return the same place where the file is mapped with a bias."""
        trail = self.trail
        moved = replace(
            trail,
            address=trail.address + bias,
            before=tuple(_moved(i, bias) for i in trail.before),
            behind=tuple(_moved(i, bias) for i in trail.behind),
        )
        return replace(self, trail=moved, start=self.start + bias, end=self.end + bias)

    def serves(self, numbers: frozenset[int] | None) -> bool:
        """Return whether calls of these numbers (None: all) may be made here."""
        return numbers is None or self.trail.number < 0 or self.trail.number in numbers


def _moved(insn: Instruction, bias: int) -> Instruction:
    target = insn.target
    operands = insn.operands if target is None else hex(target + bias)
    return Instruction(insn.address + bias, insn.data, insn.mnemonic, operands)


def call_sites(elf: ElfFile) -> tuple[CallSite, ...]:
    """Return all places of a file."""
    key = _key(elf)
    if key in _found:
        return _found[key]
    kept = files.read("plan", key) if key else None
    sites = _unpacked(kept[1]) if kept else None
    if sites is None:
        sites = tuple(_look(elf))
        if key:
            files.write("plan", key, {}, _packed(sites))
    if key:
        _found[key] = sites
    return sites


def _look(elf: ElfFile) -> list[CallSite]:
    found = []
    numbers: dict[int, dict[int, int]] = {}
    bounds = Bounds(elf)
    for function, address in calls_in(elf, bounds):
        known = numbers.setdefault(function.start, {}) or numbers_in(function)
        numbers[function.start] = known
        trail = trail_of(function, address, known.get(address, -1))
        if trail.number < 0 and _ends_at_once(trail, function):
            trail = replace(trail, behind=trail.behind + behind_return(elf, bounds, address))
        found.append(CallSite(trail, function.start, function.end, function.padding, function.name))
    return found


def _ends_at_once(trail: Trail, function: Function) -> bool:
    """Return whether a `ret` follows the call, and nothing that a jump could take beside it."""
    if len(trail.behind) != 1 or not trail.behind[0].is_return:
        return False
    return trail.behind[0].end != function.end or not function.padding


@cache
def _version() -> str:
    """Name the search by its sources: another one may find otherwise."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        about = file.stat()
        digest.update(f"{file.name} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _key(elf: ElfFile) -> str:
    build_id = elf.build_id
    return hashlib.sha256(f"calls {_version()} {build_id}".encode()).hexdigest() if build_id else ""


def _packed(sites: tuple[CallSite, ...]) -> bytes:
    rows = [
        [
            [s.trail.address, s.trail.number, *(_rows(side) for side in (s.trail.before, s.trail.behind))],
            s.trail.is_shared,
            [s.start, s.end, s.padding, s.name],
        ]
        for s in sites
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def _rows(instructions: tuple[Instruction, ...]) -> list[list[Any]]:
    return [[i.address, i.data.hex(), i.mnemonic, i.operands] for i in instructions]


def _unpacked(data: bytes) -> tuple[CallSite, ...] | None:
    try:
        return tuple(
            CallSite(
                Trail(address, number, _instructions(before), _instructions(behind), shared),
                *function,
            )
            for (address, number, before, behind), shared, function in json.loads(data)
        )
    except (ValueError, TypeError, LookupError):
        return None


def _instructions(rows: list[list[Any]]) -> tuple[Instruction, ...]:
    return tuple(Instruction(at, bytes.fromhex(data), name, operands) for at, data, name, operands in rows)
