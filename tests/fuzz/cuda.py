"""Damaged images: PTX and fatbins with pieces cut, changed and swapped are replaced or stay; nothing raises or hangs."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

from attachers.cuda.files import images_in, kernels_in
from attachers.cuda.images import swap
from tests.tools.cudacorpus import FOLDER
from tests.tools.cudaprobes import PLACES

SLOWEST = 10  # seconds for one image
_WORDS = re.compile(rb"[.%$@]?\w+|[{}();,:\[\]]|\s+")
_TOKENS = (
    b'{ } ( ) ; , : [ ] @ @! .reg .entry .func .param .global .b32 .u64 ret; %p1 /* // " \0 .loc 1 2 3'.split(
        b" "
    )
)


@dataclass(frozen=True)
class Device:
    arch: int = 90
    driver: int = 0


def seeds():
    return [path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.is_file()]


def damaged(data, rng):
    """Some bytes or words changed, moved, doubled or cut out."""
    text = rng.random() < 0.8 and b".version" in data[:4096]
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 10])):
        if len(out) < 8:
            break
        at = rng.randrange(len(out))
        if text:
            words = [m.span() for m in _WORDS.finditer(out, at, min(len(out), at + 200))]
            start, end = rng.choice(words) if words else (at, at + 1)
            piece = bytes(out[start:end])
            new = rng.choice(
                [b"", rng.choice(_TOKENS), piece + piece, b" " + rng.choice(_TOKENS) + b" " + piece]
            )
            out[start:end] = new
        else:
            _damage_bytes(out, at, rng)
    if rng.random() < 0.1:
        del out[rng.randrange(len(out)) :]
    return bytes(out)


def _damage_bytes(out, at, rng):
    kind = rng.random()
    if kind < 0.4:
        out[at] = rng.randrange(256)
    elif kind < 0.7:
        out[at & ~3 : (at & ~3) + 4] = rng.choice([0, 1, 0xFF, 0xFFFF, 0xFFFFFFFF, 1 << 31, 64]).to_bytes(
            4, "little"
        )
    elif kind < 0.85:
        del out[at : at + rng.randrange(1, 64)]
    else:
        out[at:at] = rng.randbytes(rng.randrange(1, 16))


def one(data):
    """Take an image in; returns what became of it."""
    for index, image in enumerate(images_in(data)):
        kernels_in(index, image)
    return swap(data, Device(), PLACES["all"], "driver").action.value


def run(seconds, seed):
    """Damage images until the time is over."""
    counts = {}
    pool = seeds()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rng = random.Random(seed)
        data = damaged(rng.choice(pool), rng)
        began = time.monotonic()
        try:
            outcome = one(data)
            assert time.monotonic() - began < SLOWEST, "takes too long"
        except BaseException:
            Path(f"/tmp/fuzz-cuda-{seed}").write_bytes(data)
            print(f"cuda: seed {seed}, kept as /tmp/fuzz-cuda-{seed}")
            raise
        counts[outcome] = counts.get(outcome, 0) + 1
        seed += 1
    return counts
