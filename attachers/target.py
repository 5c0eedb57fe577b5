"""One traced process: its modules, the agent's state in it, and what is done to it, apply and remove."""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from attachers.inject.frames import Channel, Hello, Reply, Request, map_request
from attachers.inject.visit import Visitor, target_facts
from attachers.stacks import directory_in
from runtime.agent import build, protocol
from runtime.agent.protocol import Op, SiteState
from runtime.errors import AttachProblem, TargetProblem
from runtime.shm.region import has_ended, process_start
from runtime.symbols.functions import data_symbol
from runtime.symbols.maps import Memory, read_maps
from runtime.symbols.modules import Module, modules_of

if TYPE_CHECKING:
    from runtime.shm.session import Session

REACH = 0x7900_0000  # 1.9 GiB: how far an arena may lie from what it serves
ARENA_STEP = 1 << 20
CANNOT_OPEN = (-13, -1, -2, -40)  # EACCES, EPERM, ENOENT, ELOOP
ARENA_BYTES = 1 << 20
PAGE = 4096
CONSTANTS = {"process": "process_page", "rseq_offset": "rseq_offset", "tid_offset": "tid_offset"}
HOLE = 5  # bytes of padding that a jump takes
_UNWINDERS = re.compile(r"/(libstdc\+\+|libc\+\+abi|libunwind)\.so")


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """An entry of the agent's site table."""

    index: int
    at: int
    hole: int
    kind: int
    width: int
    live: bytes
    want: bytes
    thunk: int
    link: int
    state: int
    flags: int = 0


@dataclass(slots=True)
class ArenaEntry:
    """An arena of the target: `used` bytes of `size` at `base` hold code.

    `is_kept`: some thunk in it calls a function's body, so a thread may come back to it at any time.
    """

    index: int
    base: int
    size: int
    used: int
    is_kept: bool = False


@dataclass
class Target:
    """A process that can be patched, over whatever channel carries frames to it."""

    pid: int
    channel: Channel
    start: int
    modules: list[Module] = field(default_factory=list)
    state: int = 0
    head: bytes = b""
    follow: bool = False  # its fork children are traced as well
    fresh: bool = False  # nothing but its loader has run, and it waits for us
    unrelocated: set[int] = field(default_factory=set)  # starts of modules whose code cannot be called yet
    postponed: set[int] = field(default_factory=set)  # of these: modules with IFUNCs that a probe means
    late: set[int] = field(default_factory=set)  # modules of which only IFUNCs are meant: the rest is probed
    asked: tuple[tuple[str, str], ...] = ()  # data whose addresses programs ask for: binary and name
    sites: list[SiteEntry] = field(default_factory=list)
    arenas: list[ArenaEntry] = field(default_factory=list)
    _regions: dict[bytes, int] = field(default_factory=dict)
    _rings: dict[tuple[bytes, int], int] = field(default_factory=dict)
    _texts: list[tuple[int, bytes]] = field(default_factory=list)
    _helpers: dict[int, int] = field(default_factory=dict)
    _memory: Memory | None = None

    @classmethod
    def open(cls, pid: int, channel: Channel | None = None) -> Target:
        """Bring the agent into a running process, or find the one that is there.

        Raises:
            TargetProblem: there is no such process, or it cannot be traced.
        """
        start = process_start(pid)
        if not start:
            raise TargetProblem(f"no process {pid}", hint="bpftime list --processes shows yours")
        if pid == os.getpid():
            raise TargetProblem("a process cannot trace itself")
        target = cls(pid, channel or Visitor(pid), start)
        if channel is not None and not isinstance(channel, Visitor):
            target._introduce()
        target.refresh()
        return target

    def _introduce(self) -> None:
        """Tell a preloaded agent what only the tracer can find out."""
        self.channel.exchange([target_facts(self.pid, self.memory, self.start).request()])

    @property
    def memory(self) -> Memory:
        """Return the process's memory, opened at first use."""
        if self._memory is None:
            self._memory = Memory(self.pid)
        return self._memory

    def refresh(self) -> None:
        """Read modules and the agent's state anew."""
        self.modules = modules_of(self.pid)
        known = self.memory.read(self.state, protocol.STATE.size) if self.state else b""
        if len(known) == protocol.STATE.size and protocol.STATE.get(known, "magic") == protocol.STATE_MAGIC:
            self.head = known
        else:
            [reply] = self.ask([Hello().request()])
            self.state = int.from_bytes(reply.payload[:8], "little")
            self.head = reply.payload[8 : 8 + protocol.STATE.size]
        ours = build.source_hash().encode()
        theirs = protocol.STATE.text(self.head, "build_id").rstrip(b"\0")
        if theirs != ours[: len(theirs)]:
            raise TargetProblem(
                f"the agent in {self.pid} is build {theirs.decode(errors='replace')}, ours {ours.decode()}",
                hint="detach with the version that attached",
            )
        self.read_tables()

    def read_tables(self) -> None:
        """Read the agent's tables of sites, arenas and regions anew."""
        count = min(protocol.STATE.get(self.head, "sites"), protocol.MAX_SITES)
        raw = self.memory.read(self.state + protocol.STATE_SITES, count * 64)
        self.sites = _sites(raw)
        raw = self.memory.read(self.state + protocol.STATE_ARENAS, protocol.MAX_ARENAS * 32)
        self.arenas = []
        for i in _used(raw, 32, 0):
            entry = protocol.ARENA.unpack(raw, 32 * i)
            self.arenas.append(
                ArenaEntry(i, entry["base"], entry["code_bytes"], entry["code_used"], bool(entry["spare"]))
            )
        raw = self.memory.read(self.state + protocol.STATE_REGIONS, protocol.MAX_REGIONS * 48)
        self._regions, self._rings = {}, {}
        for i in _used(raw, 48, 16):
            entry = protocol.STATE_REGION.unpack(raw, 48 * i)
            session = protocol.STATE_REGION.text(raw, "session", 48 * i)
            if entry["offset"]:
                self._rings[session, entry["offset"]] = entry["base"]
            else:
                self._regions[session] = entry["base"]

    def ask(self, requests: list[Request]) -> list[Reply]:
        """Exchange frames; all must be answered with status 0.

        Raises:
            TargetProblem: one was refused.
        """
        replies = self.channel.exchange(requests)
        for request, reply in zip(requests, replies, strict=True):
            if reply.status:
                raise TargetProblem(f"{self.pid} refused {request.op.name.lower()} (errno {-reply.status})")
        return replies

    # --- what images need to know ---

    @property
    def has_handlers(self) -> bool:
        """Return whether handlers of ours are installed in the process: of faults, of traps at sites."""
        flags = self.memory.read(self.state + protocol.STATE.fields["flags"].offset, 4)
        return bool(int.from_bytes(flags, "little") & (protocol.STATE_FAULTS | protocol.STATE_DETOURS))

    @property
    def is_sampled(self) -> bool:
        """Return whether programs of ours run now and then in the process."""
        flags = self.memory.read(self.state + protocol.STATE.fields["flags"].offset, 4)
        return bool(int.from_bytes(flags, "little") & protocol.STATE_SAMPLES)

    @property
    def is_dispatched(self) -> bool:
        """Return whether system calls of code made at run time are handed to us."""
        at = self.state + protocol.STATE_HOOKS + protocol.HOOKS.fields["dispatches"].offset
        return any(self.memory.read(at, 4))

    @property
    def build_kind(self) -> str:
        """Return which build of an image fits: `rseq` with a known thread block, else `plain`."""
        return "rseq" if self.constant("rseq_offset") and self.constant("tid_offset") else "plain"

    def constant(self, name: str) -> int:
        """Return a constant of the state: `rseq_offset`, `tid_offset`, `process_page`, `agent_base`."""
        return protocol.STATE.get(self.head, name)

    def map_session(self, session: Session) -> int:
        """Map a session's region into the process, once; returns its address there.

        Raises:
            TargetProblem: the process cannot open it.
        """
        region = session.region
        if region.id not in self._regions:
            self._regions[region.id] = self._map(0, session, 0, region.size)
        return self._regions[region.id]

    @property
    def sessions(self) -> frozenset[bytes]:
        """Return the ids of the sessions that the process has mapped."""
        return frozenset(self._regions)

    def forget(self, session: bytes) -> None:
        """Unmap a session's shared memory; no thread may be inside code that uses it."""
        self.ask([Request(Op.FORGET, session)])
        self._regions.pop(session, None)
        self._rings = {key: at for key, at in self._rings.items() if key[0] != session}

    def map_ring(self, session: Session, name: str) -> int:
        """Map a ring of the session with its data twice; returns the address of its first page."""
        offset, size = session.maps[name].ring
        key = (session.region.id, offset)
        if key not in self._rings:
            self._rings[key] = self._map(1, session, offset, size)
        return self._rings[key]

    def _map(self, kind: int, session: Session, offset: int, size: int) -> int:
        """Map a part of a session's memory: by its path, else by a descriptor that is handed over."""
        region = session.region
        [reply] = self.channel.exchange([map_request(kind, region.id, offset, size, region.path)])
        if reply.status in CANNOT_OPEN and isinstance(self.channel, Visitor):
            [reply] = self.channel.exchange_with(
                region.fd, lambda number: [map_request(kind, region.id, offset, size, f"#{number}")]
            )
        if reply.status:
            raise TargetProblem(
                f"{self.pid} cannot map the session's memory (errno {-reply.status})",
                hint="bpftime doctor -p PID tells what is in the way",
            )
        return int.from_bytes(reply.payload, "little")

    def place_helper(self, number: int, code: bytes) -> None:
        """Write a registered helper's machine code into the process, once, for programs attached later."""
        if number in self._helpers:
            return
        module = self.modules[0]
        arena = self.arena(module.start, module.end, len(code) + 16)
        at = (arena.base + arena.used + 15) & -16
        arena.used = at + len(code) - arena.base
        arena.is_kept = True
        self.ask([Request(Op.WRITE, struct.pack("<QII", at, arena.used, 1) + code)])
        self._helpers[number] = at

    def _helper(self, number: int) -> int:
        if number not in self._helpers:
            raise AttachProblem(
                f"helper {number} is no machine code: a program in another process cannot call it",
                errno=95,
                hint="register it as MachineCode, or attach to a type that runs in the tracer",
            )
        return self._helpers[number]

    def resolve(self, session: Session, symbol: str) -> int:
        """Return what a symbol of an image means in this process."""
        kind, _, name = symbol.partition(":")
        if kind == "agent":
            return self.constant("agent_base") + build.symbols()[name]
        if symbol in CONSTANTS:
            return self.constant(CONSTANTS[symbol])
        if kind in ("helper", "ring"):
            return self._helper(int(name)) if kind == "helper" else self.map_ring(session, name)
        if symbol == "unwind":
            return directory_in(self, session)
        if kind == "data":
            return self._data(*self.asked[int(name)])
        return self._in_region(session, symbol)

    def _data(self, binary: str, name: str) -> int:
        """Return where the data of a module lies."""
        from attachers.resolve import find_modules  # lazy: it needs this module

        for module in find_modules(self, binary):
            symbol = data_symbol(module.elf, name)
            if symbol is not None:
                return module.bias + symbol.value
        raise TargetProblem(f"Could not resolve symbol: {binary}:{name}")

    def _in_region(self, session: Session, symbol: str) -> int:
        offset = session.offset_of(symbol)
        if symbol.startswith("progs:"):
            raise TargetProblem("programs that call others by a program array are not served in processes")
        if offset is None:
            raise TargetProblem(f"nothing is known about symbol '{symbol}'")
        return self.map_session(session) + offset

    def register_frame(self, address: int) -> None:
        """Hand unwind entries at `address` to the process's unwinder, if it has one.

        It takes locks and allocates, so only a thread that holds none may do it.

        Raises:
            TargetProblem: there is an unwinder that does not offer it, or no thread is fit.
        """
        unwinder = next((m for m in self.modules if "/libgcc_s.so" in m.path), None)
        if unwinder is None:
            other = next((m for m in self.modules if _UNWINDERS.search(m.path)), None)
            if other is not None:
                raise TargetProblem(
                    f"{other.path} cannot be told of new frames", hint="probe the function's entry"
                )
            return
        symbol = next(s for s in unwinder.elf.functions if s.name == "__register_frame")
        request = Request(Op.CALL, struct.pack("<QQ", unwinder.bias + symbol.value, address))
        if isinstance(self.channel, Visitor):
            self.channel.exchange([request], lockless=True)
        else:
            self.channel.exchange([request])

    # --- memory for code ---

    def _near(self, low: int, high: int) -> list[ArenaEntry]:
        return [a for a in self.arenas if a.base + a.size - low < REACH and high - a.base < REACH]

    def has_room(self, low: int, high: int, size: int) -> bool:
        """Return whether code of `size` bytes fits near [low, high), or there is no arena yet."""
        near = self._near(low, high)
        return not near or any(a.size - a.used >= size for a in near)

    def arena(self, low: int, high: int, size: int) -> ArenaEntry:
        """Return an arena within reach of [low, high) with `size` free bytes, made when there is none.

        Raises:
            TargetProblem: there is no free address space near by.
        """
        for arena in self._near(low, high):
            if arena.size - arena.used >= size:
                return arena
        length = max(ARENA_BYTES, (size + PAGE - 1) & -PAGE)
        for hint in self._free_places(low, high, length):
            [reply] = self.channel.exchange([Request(Op.ARENA, struct.pack("<QII", hint, length, 0))])
            if not reply.status:
                self.arenas.append(ArenaEntry(len(self.arenas), hint, length, 0))
                return self.arenas[-1]
            if reply.status not in (-17, -12):
                break
        raise TargetProblem(f"no room for code near {low:#x} in {self.pid}")

    def _free_places(self, low: int, high: int, length: int) -> list[int]:
        """Return addresses of free gaps near a range: downwards first, as libraries are mapped downwards."""
        taken = sorted((m.start, m.end) for m in read_maps(self.pid))
        gaps = [(a[1], b[0]) for a, b in pairwise(taken)]
        if taken and taken[0][0] > 1 << 16:
            gaps.insert(0, (1 << 16, taken[0][0]))
        below = [((end - length) & -ARENA_STEP) for start, end in gaps if end <= low]
        above = [((start + ARENA_STEP - 1) & -ARENA_STEP) for start, end in gaps if start >= high]
        fits = [
            at
            for at in (*reversed(below), *above)
            if any(start <= at and at + length <= end for start, end in gaps)
            and high - at < REACH
            and at + length - low < REACH
        ]
        return fits[:16]

    def code_at(self, address: int, size: int) -> bytes:
        """Return code as the program came with it: bytes under our own sites are put back in the copy."""
        for start, text in self._texts:
            if start <= address and address + size <= start + len(text):
                return text[address - start : address - start + size]
        code = bytearray(self.memory.read(address, size))
        for site in self.sites:
            if site.state == SiteState.ARMED:
                _overlay(code, address, site.at, site.live[: site.width])
            if site.state != SiteState.FREE and site.hole and address - HOLE < site.hole < address + size:
                _overlay(code, address, site.hole, self._padding_at(site.hole))
        return bytes(code)

    def _padding_at(self, hole: int) -> bytes:
        """Return what a file has where a jump of ours stands: nops that a decoder reads as they were."""
        module = self.module_of(hole)
        offset = module.elf.to_offset(hole - module.bias) if module else -1
        return bytes(module.elf.data[offset : offset + HOLE]) if module and offset >= 0 else b"\xcc" * HOLE

    def keep_text(self, module: Module) -> None:
        """Read a module's whole code at once, for a plan of many probes; `forget_text` ends it."""
        for mapping in module.text:
            self._texts.append((mapping.start, self.code_at(mapping.start, mapping.end - mapping.start)))

    def forget_text(self) -> None:
        """Read code from the process again."""
        self._texts.clear()

    def module_of(self, address: int) -> Module | None:
        """Return the module whose text holds an address; the agent is one as well."""
        found = next((m for m in self.modules if m.contains(address)), None)
        base = self.constant("agent_base")
        if found is None and base <= address < base + self.constant("agent_bytes"):
            return self.agent_module
        return found

    @property
    def agent_module(self) -> Module:
        """Return the agent's library in the process, which is mapped from no file unless it was preloaded."""
        base, size = self.constant("agent_base"), self.constant("agent_bytes")
        mapped = next((m for m in self.modules if m.start <= base < m.end), None)
        if mapped is not None:
            return mapped
        text = tuple(m for m in read_maps(self.pid) if base <= m.start < base + size and m.protection & 4)
        path = str(build.library())
        return Module(path, path, base, base, base + size, text, "", 0, False)

    def text_ranges(self, addresses: list[int]) -> list[tuple[int, int, int]]:
        """Return the executable mappings (start, end, protection) that hold these addresses."""
        ranges = []
        wanted = sorted(addresses)
        for mapping in read_maps(self.pid):
            index = bisect_left(wanted, mapping.start)
            if index < len(wanted) and wanted[index] < mapping.end:
                ranges.append((mapping.start, mapping.end, mapping.protection))
        return ranges

    @property
    def is_alive(self) -> bool:
        """Return whether the process that was opened still runs: one that nobody has waited for does not."""
        return process_start(self.pid) == self.start and not has_ended(self.pid)

    def close(self) -> None:
        """Let go of the channel; nothing in the process changes."""
        self.channel.close()
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _used(table: bytes, size: int, base: int) -> Iterator[int]:
    """Give the numbers of the entries whose address, at `base` in each, is set."""
    empty = bytes(8)
    return (i for i in range(len(table) // size) if table[size * i + base : size * i + base + 8] != empty)


def _overlay(code: bytearray, base: int, at: int, data: bytes) -> None:
    for i, byte in enumerate(data):
        if 0 <= at + i - base < len(code):
            code[at + i - base] = byte


_SITE = struct.Struct("<QQIBBBB8s8sIIQII")  # protocol.SITE at once: thousands are read at a time


def _sites(raw: bytes) -> list[SiteEntry]:
    found = []
    for index, row in enumerate(_SITE.iter_unpack(raw[: len(raw) // _SITE.size * _SITE.size])):
        at, hole, _, kind, width, _, flags, live, want, _, _, thunk, link, state = row
        found.append(SiteEntry(index, at, hole, kind, width, live, want, thunk, link, state, flags))
    return found
