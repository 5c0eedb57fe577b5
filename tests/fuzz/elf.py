"""Damaged objects: loading and verifying them may only raise `Problem`, and must end soon."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

from runtime.elf import load_object
from runtime.errors import Problem
from runtime.verify import verify
from tests.tools.compile_bpf import compile_bpf, sources

SEEDS = Path(__file__).parent / "seeds"
WORDS = [0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 1 << 24]


def seeds() -> list[bytes]:
    """Objects to damage: compiled ones where clang is there, else those kept in `seeds/`."""
    found = [data for source in sources() if (data := compile_bpf(source)) is not None]
    return found or [path.read_bytes() for path in sorted(SEEDS.glob("*.o"))]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed: single ones, whole words, or pieces cut out."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 30])):
        at = rng.randrange(len(out))
        kind = rng.random()
        if kind < 0.35:
            out[at] = rng.randrange(256)
        elif kind < 0.5:
            out[at] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            at &= ~3
            out[at : at + 4] = struct.pack("<I", rng.choice(WORDS))
        elif kind < 0.9:
            struct.pack_into("<H", out, min(at, len(out) - 2), rng.choice(WORDS) & 0xFFFF)
        elif kind < 0.93:
            del out[at:]
        elif kind < 0.96:
            del out[at : at + rng.randrange(1, 64)]
        else:
            other = rng.randrange(len(out))
            size = rng.randrange(1, 64)
            out[at : at + size] = out[other : other + size]
        if len(out) < 4:
            break
    return bytes(out)


def one(data: bytes) -> str:
    """Load and verify; returns what became of it."""
    try:
        found = load_object(data, "fuzz")
    except Problem as problem:
        str(problem)
        return "not loaded"
    outcome = "accepted"
    maps = {spec.name: spec for spec in found.maps}
    for program in found.programs:
        try:
            verify(program, maps, found.btf)
        except Problem as problem:
            str(problem)
            outcome = "refused"
    return outcome


def run(seconds: float, seed: int) -> dict[str, int]:
    """Damage seeds until the time is over."""
    counts: dict[str, int] = {}
    pool = seeds()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rng = random.Random(seed)
        data = damaged(rng.choice(pool), rng)
        started = time.monotonic()
        try:
            outcome = one(data)
            assert time.monotonic() - started < 20, "takes too long"
        except BaseException:
            Path(f"/tmp/fuzz-elf-{seed}.o").write_bytes(data)
            print(f"elf: seed {seed}, kept as /tmp/fuzz-elf-{seed}.o")
            raise
        counts[outcome] = counts.get(outcome, 0) + 1
        seed += 1
    return counts
