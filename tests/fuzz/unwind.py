"""Unwind tables from broken .eh_frame contents: whatever the bytes, the builder stays inside them.

The rows that come out must be sorted and name rules that exist: a walk relies on that.
"""

from __future__ import annotations

import os
import random
import struct
import time
from functools import cache
from pathlib import Path

from runtime.symbols.elf import ElfFile
from runtime.symbols.modules import modules_of
from runtime.unwind.table import HEADER, build_table, search_table


@cache
def seeds() -> list[tuple[bytes, int, int, bytes]]:
    """Contents of the smaller libraries of this very process."""
    found = []
    for module in modules_of(os.getpid()):
        elf = ElfFile(module.readable)
        section = elf.section(".eh_frame")
        table = search_table(elf)
        if (
            section is not None
            and table is not None
            and 64 < section.size < 60_000
            and Path(module.path).exists()
        ):
            found.append((elf.content(section), section.address, *table))
    return found


def one(rng: random.Random) -> None:
    """Break one file's contents in some places and build its table."""
    frame, address, base, fdes = rng.choice(seeds())
    broken, table = bytearray(frame), bytearray(fdes)
    for _ in range(rng.choice((1, 4, 64))):
        place = broken if rng.random() < 0.8 else table
        at = rng.randrange(len(place))
        place[at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    if rng.random() < 0.2:
        del broken[rng.randrange(len(broken)) :]
    check(build_table(bytes(broken), address, base, bytes(table)))


def check(data: bytes) -> None:
    """Hold a table against its layout."""
    if not data:
        return
    rows, rules, _, pages = HEADER.unpack_from(data)
    at = HEADER.size + (4 * (pages + 1) + 7 & -8)
    pcs = struct.unpack_from(f"<{rows}I", data, at)
    kinds = struct.unpack_from(f"<{rows}H", data, at + (4 * rows + 7 & -8))
    assert list(pcs) == sorted(set(pcs))
    assert max(kinds) < rules


def run(seconds: float, seed: int) -> dict[str, int]:
    """Break tables until the time is over."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        one(random.Random(seed + count))
        count += 1
    return {"tables": count}
