"""The site of a probe at a marker's nop: one byte that does nothing, too short for any jump.

A nop has no effect, so its neighbours serve as well: the instruction behind it, reached with the same state
where nothing else jumps to it; or the instructions before it, which the thunk runs first. Where both fail
several instructions are overwritten at once, but only in a program that has not run yet: later, a thread
could be standing between them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from attachers.patch.assemble import JUMP
from attachers.patch.displace import Instruction, can_displace
from attachers.patch.function import Function
from attachers.patch.holes import Holes
from attachers.patch.plan import Probe
from attachers.patch.site import Place, choose_exit, fitting
from runtime.agent.protocol import SiteKind
from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.errors import AttachProblem
from runtime.symbols.elf import ElfFile
from runtime.symbols.operands import REGISTERS, operands_of

FARTHEST = 8  # instructions looked at behind a nop
FILLS = frozenset(("mov", "movabs", "lea", "movzx", "movsx", "movsxd", "xor"))
EFFECTLESS = ("nop", "test", "cmp")  # they change the flags at most, which no marker tells of
MOST_ENTRIES = 1024  # of a jump table
_RIP = re.compile(r"\[rip ([+-]) (0x[0-9a-f]+|\d+)\]")
_FAR_BRANCH = re.compile(rb"(?:\x0f[\x80-\x8f]|\xe9)(?=(.{4}))", re.S)
Read = Callable[[int, int], bytes]


def choose_nop(
    function: Function,
    probe: Probe,
    holes: Holes,
    sites: tuple[set[int], set[int]],
    read: Read,
    *,
    fresh: bool = False,
) -> Place:
    """Return the site for a probe at the nop `probe.at`. `fresh`: the program has not run yet.

    `sites`: where thunks run their programs first, and where they run them behind the displaced
    instructions; one site cannot do both. `read(address, size)` gives code as the program came with it.

    Raises:
        AttachProblem: there is no room for a jump.
    """
    index = next((n for n, i in enumerate(function.instructions) if i.address == probe.at), -1)
    if index < 0:
        raise AttachProblem(f"{_name(probe)}: no instruction starts at its place", errno=95)
    landings = _Landings(function, probe, read)
    early, late = sites
    holes.barred = late
    place = _behind(function, index, holes, landings)
    if place is None:
        holes.barred = early
        place = _at_return(function, index, holes, landings) or _before(function, index, holes, landings)
    if place is None and fresh:
        place = _together(function, index, landings, early | late)
    if place is None:
        raise AttachProblem(
            f"no room for a jump at {_name(probe)} in {function.name or 'a function without a name'}",
            errno=28,
            hint="its nop is one byte long and its neighbours have no room:"
            " launch the program instead, or probe the function",
        )
    return place


def _name(probe: Probe) -> str:
    return f"usdt {probe.marker.full_name}" if probe.marker else probe.name


def _behind(function: Function, index: int, holes: Holes, landings: _Landings) -> Place | None:
    """Return the nop itself, or an instruction behind it, if only the nop leads there with the same state."""
    run = _run_behind(function, index, landings)
    for wide in (True, False):
        for one, stale in run:
            place = fitting(one, holes, wide=wide)
            if place:
                return replace(place, stale=stale)
    return None


def _run_behind(
    function: Function, index: int, landings: _Landings
) -> list[tuple[Instruction, frozenset[str]]]:
    """Return the instructions from the nop on that only it leads to, with the registers changed by then.

    Registers that the marker's arguments need stay as they were, and those that programs get straight.
    """
    found: list[tuple[Instruction, frozenset[str]]] = [(function.instructions[index], frozenset())]
    needed = landings.needed | set(ARGUMENT_REGISTERS)
    for following in function.instructions[index + 1 : index + FARTHEST]:
        last, stale = found[-1]
        if landings.has(following.address):
            break
        if last.base not in EFFECTLESS:
            filled = _filled(last)
            if not filled or filled in needed:
                break
            stale |= {filled}
        found.append((following, stale))
    return found


def _filled(insn: Instruction) -> str:
    """Return the register that an instruction fills, empty for instructions that do anything else."""
    left, _, right = insn.operands.partition(", ")
    if insn.base not in FILLS or (insn.base == "xor" and left != right):
        return ""
    return REGISTERS[left][0] if left in REGISTERS and left not in ("rsp", "esp", "sp", "spl") else ""


def _together(function: Function, index: int, landings: _Landings, sites: set[int]) -> Place | None:
    """Return the nop with as many instructions behind it as a jump takes, if nothing leads between them."""
    first = function.instructions[index]
    moved = [first]
    for following in function.instructions[index + 1 : index + JUMP]:
        if moved[-1].end - first.address >= JUMP or landings.has(following.address):
            break
        moved.append(following)
    width = moved[-1].end - first.address
    if width < JUMP or first.address % 64 == 63 or not all(map(_may_move, moved)):
        return None
    if any(first.address <= site < first.address + width for site in sites):
        return None
    return Place(SiteKind.NEAR5, first.address, 0, tuple(moved))


def _may_move(insn: Instruction) -> bool:
    return can_displace(insn) and insn.falls_through and insn.base not in ("call", "syscall")


def _at_return(function: Function, index: int, holes: Holes, landings: _Landings) -> Place | None:
    """Return the site of a `ret` behind the nop, with its padding or what leads to it."""
    for one, stale in _run_behind(function, index, landings)[1:]:
        if not one.is_return:
            continue
        try:
            place = choose_exit(function, one, holes)
        except AttachProblem:
            return None
        return replace(place, is_late=True, stale=stale)
    return None


def _before(function: Function, index: int, holes: Holes, landings: _Landings) -> Place | None:
    """Return an instruction before the nop from which all threads come to it, unless they branch away."""
    run: list[Instruction] = []
    following = function.instructions[index]
    for one in reversed(function.instructions[:index]):
        if landings.has(following.address) or not one.falls_through or not can_displace(one):
            break
        if one.base in ("call", "syscall"):
            break
        run.insert(0, one)
        following = one
    for wide in (True, False):
        for start in range(len(run) - 1, -1, -1):
            place = fitting(run[start], holes, wide=wide)
            if place:
                return Place(place.kind, place.address, place.hole, tuple(run[start:]), is_late=True)
    return None


class _Landings:
    """Where branches go to: those of the function itself, by its jump tables, and from its other parts."""

    def __init__(self, function: Function, probe: Probe, read: Read) -> None:
        self._function = function
        self._probe = probe
        self._known = function.targets | _by_tables(function, read)
        # Parts that GCC has moved away are entered by jumps from the rest, as is code without a name.
        self.needed = _registers_of(probe)
        self._is_entered = not function.name or ".cold" in function.name or function.name.startswith("func_")

    def has(self, address: int) -> bool:
        if address in self._known:
            return True
        module = self._probe.module
        return self._is_entered and address - module.bias in far_targets(module.elf)


def _registers_of(probe: Probe) -> frozenset[str]:
    """Return the registers in which a marker's arguments are, or their addresses."""
    operands = operands_of(probe.marker.arguments) if probe.marker else ()
    named = {name for o in operands for name in (o.base, o.index) if name}
    return frozenset(REGISTERS[name][0] for name in named if name in REGISTERS)


def _by_tables(function: Function, read: Read) -> frozenset[int]:
    """Return the addresses inside that tables of a switch or of computed gotos hold.

    Tables are looked for where the function takes an address relative to rip: of 32-bit distances from
    the table, or of addresses.
    """
    if not any(i.base == "jmp" and i.target is None for i in function.instructions):
        return frozenset()
    found: set[int] = set()
    for one in function.instructions:
        taken = _RIP.search(one.operands) if one.base == "lea" else None
        if not taken:
            continue
        table = one.end + int(taken[2], 0) * (1 if taken[1] == "+" else -1)
        data = read(table, 8 * MOST_ENTRIES)
        found |= _inside(function, (table + d for (d,) in struct.iter_unpack("<i", data[: len(data) & -4])))
        found |= _inside(function, (a for (a,) in struct.iter_unpack("<Q", data[: len(data) & -8])))
    return frozenset(found)


def _inside(function: Function, addresses: object) -> set[int]:
    found = set()
    for address in addresses:  # type: ignore[attr-defined]
        if not function.start <= address < function.end:
            break
        found.add(address)
    return found


@lru_cache(maxsize=8)
def far_targets(elf: ElfFile) -> frozenset[int]:
    """Return the virtual addresses that may be targets of branches with a 32-bit distance, in all code.

    Bytes are looked at wherever they are, so some are no branches; none is missed.
    """
    found: set[int] = set()
    for segment in elf.segments:
        if not segment.flags & 1:
            continue
        code = bytes(elf.data[segment.offset : segment.offset + segment.file_bytes])
        for branch in _FAR_BRANCH.finditer(code):
            end = branch.end() + 4
            found.add(segment.address + end + struct.unpack("<i", branch[1])[0])
    return frozenset(found)
