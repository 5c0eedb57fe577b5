"""Call stacks as text: a newline, then one line a frame, innermost first."""

from __future__ import annotations

import struct

from runtime.events import Resolver, Value
from runtime.lang.types import Stack
from runtime.types import Location

HEAD = struct.Struct("<IIQ")
INDENT = " " * 8


def read_stack(kind: Stack, data: bytes, at: int, resolver: Resolver) -> Value:
    """Return the text of a stack that lies at an offset of a record, a key or a value."""
    pid, _, count = HEAD.unpack_from(data, at)
    count = min(count, kind.limit)
    addresses = struct.unpack_from(f"<{count}Q", data, at + HEAD.size)
    lines = [_line(kind.mode, resolver, pid, a, number) for number, a in enumerate(addresses)]
    return "".join(["\n", *lines])


def _line(mode: str, resolver: Resolver, pid: int, address: int, number: int) -> str:
    if mode == "raw":
        return f"{address:x}\n"
    # All but the innermost are return addresses: the call, maybe the function's last one, is before them.
    before = 1 if number else 0
    found = resolver.locate(pid, address - before)
    if mode == "build_id":
        return _by_build_id(found, address, before)
    name = f"{found.name}+{found.offset + before}" if found and found.name else ""
    if mode == "perf":
        module = f" ({found.path})" if found and found.path else ""
        return f"\t{address:x} {name}{module}\n" if name else f"\t{address:x} 0x{address:x} ([unknown])\n"
    source = resolver.source(pid, address - before) if name else ""
    return f"{INDENT}{name or f'0x{address:x}'}{'@' if source else ''}{source}\n"


def _by_build_id(found: Location | None, address: int, before: int) -> str:
    if found is None or not found.build_id:
        return f"{'0' * 40} 0x{address:x}\n"
    return f"{found.build_id:0<40} 0x{found.file_offset + before:x}\n"
