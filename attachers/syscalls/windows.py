"""Which instruction before and behind a `syscall` is replaced by a jump.

An enter probe stands at one of the instructions that lead to it, an exit probe at one of those behind it, up
to the first that changes rax. Each is a single instruction, so it is patched while threads run, also while
threads are blocked in the call: they come back to its first byte. Where other code jumps behind the call,
the call itself moves into the thunk, unless somebody asks where it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from attachers.patch.assemble import JUMP
from attachers.patch.displace import Instruction, can_displace
from attachers.patch.holes import Holes
from attachers.patch.site import Place, fitting
from attachers.syscalls.scan import SYSCALL
from attachers.syscalls.sites import CallSite
from attachers.syscalls.trail import Trail
from runtime.agent.protocol import SiteKind
from runtime.errors import AttachProblem
from runtime.jit.disasm import registers

# mov [rsp+8], r11: before a C library's one call that can be cancelled; a handler looks where the thread is.
CANCELLABLE = bytes.fromhex("4c895c2408")
_MOVES = re.compile(r"(add|sub) rsp, (0x[0-9a-f]+|\d+)")
# clone, fork, vfork, clone3: two come back from these. rt_sigreturn: it looks at the stack.
NOT_MOVED = frozenset((56, 57, 58, 435, 15))


def choose_enter(site: CallSite, holes: Holes) -> Place:
    """Return the place of programs that run before the call.

    Where no single instruction has room, it is several: to be written while no thread is between them.

    Raises:
        AttachProblem: no instruction leads there alone (28).
    """
    run = site.trail.before
    for wide in (True, False):
        for index in range(len(run) - 1, -1, -1):
            place = fitting(run[index], holes, wide=wide)
            if place:
                late = not _is_number(run[index:], site.trail)
                return Place(place.kind, place.address, place.hole, run[index:], is_late=late)
    return _several(run, holes) or _itself(site, holes)


def _itself(site: CallSite, holes: Holes) -> Place:
    """Return the call itself as a place, where code jumps straight to it: two bytes that lead to padding.

    A thread that is blocked in it comes back to what follows, which stays.

    Raises:
        AttachProblem: there is no padding near by, or it may not move (28).
    """
    trail = site.trail
    call = Instruction(trail.address, SYSCALL, "syscall", "")
    place = None if trail.number in NOT_MOVED else fitting(call, holes, wide=False)
    if place is None:
        raise no_room(site, "before")
    return place


def _several(run: tuple[Instruction, ...], holes: Holes) -> Place | None:
    """Return several instructions as a place: whoever reaches the call passes the first of them."""
    for index in range(len(run) - 2, -1, -1):
        start = run[index].address
        fits = run[-1].end - start >= JUMP and start % 64 != 63
        if fits and start not in holes.barred:
            return Place(SiteKind.NEAR5, start, 0, run[index:], is_late=True)
    return None


def _is_number(run: tuple[Instruction, ...], trail: Trail) -> bool:
    """Return whether a run is only the load of a known number: programs may then run before it."""
    return (
        len(run) == 1 and trail.number >= 0 and run[0].base == "mov" and run[0].operands.startswith("eax, ")
    )


def choose_exit(site: CallSite, holes: Holes) -> Place:
    """Return the place of programs that run after the call.

    Raises:
        AttachProblem: there is none (28), and the call may not be moved.
    """
    trail = site.trail
    place = None if trail.is_shared else _behind(site, holes)
    return place or _moved(site, holes)


def _behind(site: CallSite, holes: Holes) -> Place | None:
    run: list[Instruction] = []
    for instruction in site.trail.behind:
        run.append(instruction)
        if not instruction.is_return and "rax" in registers(instruction.data)[1]:
            break
    for wide in (True, False):
        for instruction in run:
            place = None if instruction.is_return else fitting(instruction, holes, wide=wide)
            if place:
                return place
    if run and run[-1].is_return:
        return _at_return(site, run[-1], holes)
    return _several_behind(run, holes)


def _several_behind(run: list[Instruction], holes: Holes) -> Place | None:
    """Return several instructions as a place: a thread that is in the call comes back to the first."""
    rest = tuple(run[1 + max((n for n, one in enumerate(run) if one.is_return), default=-1) :])
    if not rest or rest[0].address in holes.barred or rest[0].address % 64 == 63:
        return None
    while rest and not can_displace(rest[-1]):
        rest = rest[:-1]
    used = next((n for n in range(1, len(rest) + 1) if rest[n - 1].end - rest[0].address >= JUMP), 0)
    if not used or not all(can_displace(one) and one.base != "call" for one in rest[:used]):
        return None
    return Place(SiteKind.NEAR5, rest[0].address, 0, rest[:used])


def _at_return(site: CallSite, ret: Instruction, holes: Holes) -> Place | None:
    """Return a `ret` as a place, with padding behind the function."""
    room = site.padding if ret.end == site.end else 0
    if ret.address in holes.barred or ret.address % 64 == 63:
        return None
    if len(ret.data) + room >= JUMP and holes.claim(ret.end, JUMP - len(ret.data)):
        return Place(SiteKind.TAIL, ret.address, 0, (), ret=ret, is_late=True)
    if len(ret.data) + room >= 2 and holes.claim(ret.end, 2 - len(ret.data)):
        hole = holes.take(ret.address)
        if hole:
            return Place(SiteKind.HOP2, ret.address, hole, (), ret=ret, is_late=True)
    return None


def _moved(site: CallSite, holes: Holes) -> Place:
    """Return the place before the call, with the call among what moves into the thunk."""
    trail = site.trail
    if trail.number in NOT_MOVED or (trail.before and trail.before[-1].data == CANCELLABLE):
        raise no_room(site, "behind")
    place = choose_enter(site, holes)
    if is_moved(place):
        return replace(place, is_late=True)
    call = Instruction(trail.address, SYSCALL, "syscall", "")
    return Place(place.kind, place.address, place.hole, (*place.displaced, call), is_late=True)


def is_moved(place: Place) -> bool:
    """Return whether the call itself has moved into the thunk."""
    return bool(place.displaced) and place.displaced[-1].base == "syscall"


def pushed_between(trail: Trail, place: Place) -> int:
    """Return how much lower the stack pointer is at a place behind a call than it was at the call.

    Raises:
        AttachProblem: it is not known (95).
    """
    if is_moved(place):
        return 0
    low = 0
    for instruction in trail.behind:
        if instruction.address == place.address:
            return low
        if "rsp" in registers(instruction.data)[1]:
            moved = _lowers(instruction)
            if not moved:
                break
            low += moved
    raise AttachProblem(f"the stack behind the system call at {trail.address:#x} is not known", errno=95)


def _lowers(instruction: Instruction) -> int:
    """Return by how much an instruction lowers the stack pointer, 0 where that is not known."""
    if instruction.base in ("pop", "ret"):
        return 0 if instruction.operands and instruction.is_return else -8
    if instruction.base == "push":
        return 8
    found = _MOVES.fullmatch(f"{instruction.base} {instruction.operands}")
    return (1 if found[1] == "sub" else -1) * int(found[2], 0) if found else 0


def covered(trail: Trail) -> Iterator[tuple[int, bytes]]:
    """Yield the code around a call that the choice depends on: address and bytes of each piece."""
    yield from ((i.address, i.data) for i in trail.before)
    yield trail.address, SYSCALL
    yield from ((i.address, i.data) for i in trail.behind)


def no_room(site: CallSite, side: str) -> AttachProblem:
    """Return the error for a call that has no place before or behind it."""
    where = site.name or "a function without a name"
    return AttachProblem(
        f"no room for a jump {side} the system call at {site.trail.address:#x} in {where}", errno=28
    )
