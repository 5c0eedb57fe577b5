"""Place the agent in a running process: its image is written by us, no loader or libc of the target is used.

The first system calls are made from a *cave*: unused bytes behind a file-backed text segment, put back to
zero at once. From then on everything happens on a landing of our own (`borrow.py`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from attachers.inject.borrow import LANDING_BYTES, TRAP, Borrowed
from runtime.agent import build, protocol
from runtime.errors import TargetProblem
from runtime.symbols.maps import Mapping, Memory

MMAP, MPROTECT = 9, 10
SYSCALL = b"\x0f\x05"
PRIVATE_ANONYMOUS_NORESERVE = 0x4022
PAGE = 4096
STACK_BYTES = 64 << 10  # a signal frame with all vector state is up to 11 KiB


@dataclass(frozen=True, slots=True)
class Landing:
    """Memory of ours in the target: code at `at`, top of a stack, and an inbox for frames."""

    at: int
    stack: int
    inbox: int


def find_cave(maps: list[Mapping], memory: Memory) -> int:
    """Return the address of unused executable bytes for a landing, 0 where there are none."""
    for mapping in maps:
        if mapping.protection & 5 != 5 or not mapping.private or not mapping.inode:
            continue
        at = mapping.end - LANDING_BYTES
        if at >= mapping.start and memory.read(at, LANDING_BYTES) == bytes(LANDING_BYTES):
            return at
    return 0


def find_syscall(maps: list[Mapping], memory: Memory) -> int:
    """Return the address of a `syscall` instruction: the vDSO has some, and any process has that (vdso(7)).

    Raises:
        TargetProblem: there is none.
    """
    for mapping in maps:
        if mapping.path == "[vdso]":
            at = memory.read(mapping.start, mapping.end - mapping.start).find(SYSCALL)
            if at >= 0:
                return mapping.start + at
    raise TargetProblem("no room for the first system call in this process", hint="use --inject frida")


def _use_first_place(thread: Borrowed, memory: Memory, maps: list[Mapping]) -> int:
    """Choose where the first system calls are made; returns the cave that has to be wiped, 0 for none.

    Without a cave the registers come back by our hand alone, until the landing is there.
    """
    cave = find_cave(maps, memory)
    if cave:
        thread.use_landing(cave, 0)
    else:
        thread.use_landing(find_syscall(maps, memory) - TRAP, 0, write=False)
    return cave


def make_landing(thread: Borrowed, memory: Memory, maps: list[Mapping]) -> Landing:
    """Make the landing of a process with system calls from a cave, and move the thread there."""
    cave = _use_first_place(thread, memory, maps)
    size = PAGE + STACK_BYTES + protocol.INBOX_BYTES
    at = thread.syscall(MMAP, 0, size, 3, PRIVATE_ANONYMOUS_NORESERVE, -1 & (1 << 64) - 1, 0)
    if -4096 < at < 0:
        if cave:
            memory.write(cave, bytes(LANDING_BYTES))
        raise TargetProblem(f"the process may not map memory (errno {-at})")
    landing = Landing(at, at + PAGE + STACK_BYTES, at + PAGE + STACK_BYTES)
    thread.syscall(MPROTECT, at, PAGE, 5)
    thread.use_landing(landing.at, landing.stack)
    thread.syscall(39)  # the thread stands in the landing now: the cave can be wiped
    if cave:
        memory.write(cave, bytes(LANDING_BYTES))
    return landing


def find_landing(state: bytes) -> Landing | None:
    """Return the landing that an earlier visit made, from the head of the agent's state."""
    at = protocol.STATE.get(state, "landing")
    return Landing(at, at + PAGE + STACK_BYTES, at + PAGE + STACK_BYTES) if at else None


def load_agent(thread: Borrowed, memory: Memory) -> int:
    """Map the agent's segments into the process and relocate them; returns the base address.

    Source: ELF-64 program headers; the library has only relative relocations.
    """
    data = build.library().read_bytes()
    offset, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + 56 * i) for i in range(count)]
    loads = [h for h in headers if h[0] == 1]
    span = (max(h[3] + h[6] for h in loads) + PAGE - 1) & -PAGE
    base = thread.syscall(MMAP, 0, span, 3, PRIVATE_ANONYMOUS_NORESERVE, -1 & (1 << 64) - 1, 0)
    if -4096 < base < 0:
        raise TargetProblem(f"the process may not map memory (errno {-base})")
    image = _relocated(data, headers, base, span)
    for _, flags, _, address, _, file_bytes, memory_bytes, _ in loads:
        memory.write(base + address, bytes(image[address : address + file_bytes]))
        start, end = address & -PAGE, (address + memory_bytes + PAGE - 1) & -PAGE
        protection = (flags & 4) >> 2 | flags & 2 | (flags & 1) << 2
        error = thread.syscall(MPROTECT, base + start, end - start, protection)
        if error:
            raise TargetProblem(
                f"the process may not run new code (errno {-error})",
                hint="a policy such as SELinux execmem forbids it",
            )
    return base


def _relocated(data: bytes, headers: list[tuple[int, ...]], base: int, span: int) -> bytearray:
    """Return the library's memory image with R_X86_64_RELATIVE applied for `base`."""
    image = bytearray(span)
    for kind, _, offset, address, _, file_bytes, _, _ in headers:
        if kind == 1:
            image[address : address + file_bytes] = data[offset : offset + file_bytes]
    dynamic = next(h for h in headers if h[0] == 2)
    tags = dict(struct.iter_unpack("<QQ", bytes(image[dynamic[3] : dynamic[3] + dynamic[5] // 16 * 16])))
    start, size = tags.get(7, 0), tags.get(8, 0)  # DT_RELA, DT_RELASZ
    for where, info, addend in struct.iter_unpack("<QQQ", bytes(image[start : start + size])):
        if info != 8:
            raise TargetProblem(
                f"the agent has a relocation of type {info & 0xFFFFFFFF}", hint="rebuild the agent"
            )
        struct.pack_into("<Q", image, where, base + addend)
    return image
