"""Where one probe can be placed: the choice of a single instruction to replace.

A site is one existing instruction: of five bytes or more (`jmp rel32` over it), or of two with a hole near by
(`jmp rel8` into the hole, from there `jmp rel32`). Nobody can stand inside it and no branch can land in it,
so it is patched while threads run. Its first two bytes lie in one 64-byte line, else a core could see halves.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachers.patch.assemble import JUMP
from attachers.patch.displace import Instruction, can_displace
from attachers.patch.function import Function
from attachers.patch.holes import Holes
from attachers.patch.walk import Walk, walk
from runtime.agent.protocol import SiteKind
from runtime.errors import AttachProblem

PUSHES = {bytes([0x50 | n]): r for n, r in enumerate("rax rcx rdx rbx rsp rbp rsi rdi".split())} | {
    bytes([0x41, 0x50 | n]): f"r{8 + n}" for n in range(8)
}
MOVE_FRAME = {bytes.fromhex("4889e5"), bytes.fromhex("488bec")}  # mov rbp, rsp
# Instructions that leave no trace but on the stack: known by their bytes, so they need no decoder.
_WALKABLE = {
    **{data: ("push", register) for data, register in PUSHES.items()},
    **dict.fromkeys(MOVE_FRAME, ("mov", "rbp, rsp")),
    bytes.fromhex("f30f1efa"): ("endbr64", ""),
}
WIDTHS = {SiteKind.HOP2: 2, SiteKind.PAGE: 2, SiteKind.TRAP: 1}  # bytes written at a site; else a jump's
WALK = 16  # instructions looked at from the start of a function


@dataclass(frozen=True, slots=True)
class Place:
    """A chosen site.

    `walked` are the instructions between the function's start and the site that have run already when the
    thunk is reached (pushes, `endbr64`, `mov rbp, rsp`). `displaced` move into the thunk; the first is
    replaced. `ret` ends an exit's run. `is_late`: programs run behind the displaced instructions.
    `stale`: registers that have changed since the probed instruction.
    """

    kind: SiteKind
    address: int
    hole: int
    displaced: tuple[Instruction, ...]
    walked: tuple[Instruction, ...] = ()
    ret: Instruction | None = None
    is_late: bool = False
    stale: frozenset[str] = frozenset()

    @property
    def walk(self) -> Walk:
        """Return what the walked instructions have done to the stack and the registers."""
        return walk(self.walked)

    @property
    def width(self) -> int:
        """Return how many bytes are written at the site."""
        return WIDTHS.get(self.kind, JUMP)


def _in_line(address: int) -> bool:
    return address % 64 != 63


def _walk(function: Function) -> list[Instruction]:
    """Return the instructions that may carry the entry probe: the leading pushes and the first other one."""
    found: list[Instruction] = []
    at = 0
    while len(found) < WALK:
        data = next((d for d in _heads(function.code[at : at + 4]) if d in _WALKABLE), b"")
        if found and function.is_targeted(function.start + at):
            break
        if not data:
            found += function.one_at(at)
            break
        found.append(Instruction(function.start + at, data, *_WALKABLE[data]))
        at += len(data)
    return found


def _heads(code: bytes) -> tuple[bytes, ...]:
    return code[:1], code[:2], code[:3], code[:4]


def _walk_on(function: Function, start: list[Instruction]) -> list[Instruction]:
    """Return more candidates: past instructions that make room on the stack or fill saved registers."""
    state = Walk()
    found: list[Instruction] = []
    for insn in start:
        found.append(insn)
        if not state.step(insn):
            return found
    at = found[-1].end - function.start if found else 0
    while len(found) < WALK and not function.is_targeted(function.start + at):
        following = function.one_at(at)
        found += following
        if not following or not state.step(following[0]):
            break
        at += len(following[0].data)
    return found


def choose_entry(function: Function, holes: Holes) -> Place:
    """Return the site for a probe at the start of a function.

    Raises:
        AttachProblem: none of its first instructions can be replaced.
    """
    heads = _walk(function)
    place = _first_place(heads, holes)
    if place is None and heads and heads[0].base == "endbr64":
        place = fitting(heads[0], holes, wide=False)
    if place is None:
        longer = _walk_on(function, heads)
        place = _first_place(longer, holes) if len(longer) > len(heads) else None
    if place is not None:
        return place
    whole = _short_body(function, holes)
    if whole and holes.claim(function.end, max(0, JUMP - len(function.code))):
        return whole
    raise _no_room(function, function.start)


def _first_place(candidates: list[Instruction], holes: Holes) -> Place | None:
    """Return the first candidate that is wide enough for a jump, else the first with a hole near by."""
    for wide in (True, False):
        for index, instruction in enumerate(candidates):
            if index == 0 and instruction.base == "endbr64" and len(candidates) > 1:
                continue  # keep the landing pad of indirect branches
            place = fitting(instruction, holes, wide=wide)
            if place:
                return Place(place.kind, place.address, place.hole, (instruction,), tuple(candidates[:index]))
    return None


def fitting(instruction: Instruction, holes: Holes, *, wide: bool) -> Place | None:
    """Return an instruction as a site: `wide` takes a jump of five bytes, else two and a hole near by."""
    if not can_displace(instruction) or not _in_line(instruction.address) or instruction.base == "call":
        return None
    if instruction.address in holes.barred:
        return None
    if wide:
        if len(instruction.data) >= 5:
            return Place(SiteKind.NEAR5, instruction.address, 0, (instruction,))
        return None
    if len(instruction.data) < 2:
        return None
    hole = holes.take(instruction.address)
    return Place(SiteKind.HOP2, instruction.address, hole, (instruction,)) if hole else None


def _short_body(function: Function, holes: Holes) -> Place | None:
    """A function that is one instruction, such as `ret`, is replaced together with its own padding."""
    first = function.instructions[0] if function.instructions else None
    if first is None or first.falls_through or not function.is_whole or first.address in holes.barred:
        return None
    rest = function.instructions[1:]
    if any(i.base not in ("nop", "int3") for i in rest) or not _in_line(first.address):
        return None
    if len(function.code) + function.padding < JUMP:
        return None
    return Place(SiteKind.TAIL, first.address, 0, (first,))


def choose_at(function: Function, address: int, holes: Holes) -> Place:
    """Return the site for a probe at one instruction inside a function.

    Raises:
        AttachProblem: the address is no instruction's start, or the instruction cannot be replaced.
    """
    if address == function.start:
        return choose_entry(function, holes)
    instruction = function.instructions[boundary(function, address)]
    place = fitting(instruction, holes, wide=True) or fitting(instruction, holes, wide=False)
    if not place:
        raise _no_room(function, address)
    return place


def boundary(function: Function, address: int) -> int:
    """Return the index of the instruction that starts at an address.

    Raises:
        AttachProblem: none does (22); it names the nearest.
    """
    starts = [i.address for i in function.instructions]
    if address not in starts:
        below = max((s for s in starts if s < address), default=function.start) - function.start
        above = min((s for s in starts if s > address), default=function.end) - function.start
        raise AttachProblem(
            f"{function.name}+{address - function.start} is inside an instruction",
            errno=22,
            hint=f"instructions start at +{below} and +{above}",
        )
    return starts.index(address)


def choose_exit(function: Function, ret: Instruction, holes: Holes) -> Place:
    """Return the site for a probe at one `ret`: with its padding, or an instruction that leads to it.

    Raises:
        AttachProblem: neither is possible.
    """
    if ret.address in holes.barred:
        raise _no_room(function, ret.address)
    if not _in_line(ret.address) and len(ret.data) == 1:
        run = _straight_run(function, ret, holes)
    else:
        room = function.padding if ret.end == function.end else 0
        if len(ret.data) + room >= 5 and holes.claim(ret.end, 5 - len(ret.data)):
            return Place(SiteKind.TAIL, ret.address, 0, (), ret=ret)
        if len(ret.data) + room >= 2 and holes.claim(ret.end, 2 - len(ret.data)):
            hole = holes.take(ret.address)
            if hole:
                return Place(SiteKind.HOP2, ret.address, hole, (), ret=ret)
        run = _straight_run(function, ret, holes)
    for wide in (True, False):
        for index in range(len(run) - 1, -1, -1):
            place = fitting(run[index], holes, wide=wide)
            if place:
                return Place(place.kind, place.address, place.hole, tuple(run[index:]), ret=ret)
    raise _no_room(function, ret.address)


def _straight_run(function: Function, ret: Instruction, holes: Holes) -> list[Instruction]:
    """Return the instructions before `ret` that always lead to it: no branch or probe is among them."""
    run: list[Instruction] = []
    index = function.instructions.index(ret)
    if ret.address in function.targets:
        return run
    for instruction in reversed(function.instructions[:index]):
        if (
            not instruction.falls_through
            or instruction.is_conditional
            or instruction.base in ("call", "syscall")
        ):
            break
        if not can_displace(instruction) or instruction.address in holes.barred:
            break
        run.insert(0, instruction)
        if instruction.address in function.targets:
            break
    return run


def _no_room(function: Function, address: int) -> AttachProblem:
    place = f"{function.name}+{address - function.start}" if address != function.start else function.name
    size = f" ({len(function.code)} bytes long)" if len(function.code) < 16 else ""
    return AttachProblem(
        f"no room for a jump at {place}{size}",
        errno=28,
        hint="probe another instruction of it: FUNCTION+OFFSET",
    )
