"""Damaged programs and libraries: reading their symbols and markers may only raise `Problem`, and must end soon."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

from runtime.errors import Problem
from runtime.symbols.debugfiles import symbols_beside
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import covering, find
from runtime.symbols.gotable import go_functions
from runtime.symbols.notes import markers_of
from runtime.symbols.operands import operands_of
from runtime.symbols.plt import stubs_of
from runtime.symbols.sources import functions_of, nameless
from tests.tools.target import build

SLOW = 5.0  # seconds that one file may take
HEAD, SECTION = 64, 64  # bytes of the file's header and of a section's


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, most of them in headers; sometimes cut short, or without section headers."""
    out = bytearray(data)
    sections = struct.unpack_from("<Q", out, 40)[0]
    for _ in range(rng.choice([1, 2, 5, 20])):
        kind = rng.random()
        at = rng.randrange(HEAD) if kind < 0.35 else rng.randrange(len(out))
        if 0.35 <= kind < 0.7:
            at = min(sections + rng.randrange(SECTION * 40), len(out) - 1)
        out[at] = rng.choice([0, 0xFF, rng.randrange(256)])
    if rng.random() < 0.1:
        del out[rng.randrange(HEAD, len(out)) :]
    if rng.random() < 0.2:
        out[40:48] = bytes(8)
    return bytes(out)


def read_all(elf: ElfFile) -> None:
    """Ask for everything that probes ask for."""
    for marker in markers_of(elf)[:20]:
        operands_of(marker.arguments)
        covering(elf, marker.address)
    for ask in (stubs_of, functions_of, nameless, go_functions, symbols_beside):
        ask(elf)
    find(elf, "*")


def run(seconds: float, seed: int) -> str:
    """Damage and read until the time is over; gives what was done."""
    libc = next(Path("/usr/lib").glob("*/libc.so.6"))
    whole = [p.read_bytes() for p in (build("markers"), build("shop"), build("plain", "-static"), libc)]
    rng, end, count, refused = random.Random(seed), time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        data, start = damaged(rng.choice(whole), rng), time.monotonic()
        try:
            read_all(ElfFile.of_bytes(data, "damaged"))
        except Problem:
            refused += 1
        assert time.monotonic() - start < SLOW, f"number {count} of seed {seed} takes too long"
        count += 1
    return f"{count} files, {refused} refused"
