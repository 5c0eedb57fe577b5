"""Random kernels: woven and not woven they leave the same memory, and no event is lost or made up."""

from __future__ import annotations

import random
import struct

import pytest

from attachers.cuda.assemble import tools
from attachers.cuda.assemble.ptxas import assemble
from attachers.cuda.ptx.probe import Op
from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.weave import weave
from tests.fuzz import cuda as fuzz
from tests.tools.cudaprobes import PLACES, bind, entry, leaving, memory
from tests.tools.ptxrun import Machine, Memory
from tests.tools.randptx import SLOT, kernel

THREADS = 40
OPS = {"ld": Op.LOAD, "st": Op.STORE, "atom": Op.ATOMIC, "red": Op.REDUCE}
EVENTS = (entry(), leaving(), memory(("z", "o")))


def run(text, *, woven=False):
    machine = Machine(Memory(), limit=200_000)
    loaded = machine.load(text)
    words = bind(machine, loaded) if woven else tuple
    own, memory_ = machine.memory.allocate(THREADS * SLOT)
    both, common = machine.memory.allocate(64)
    for index in range(THREADS * SLOT // 4):
        struct.pack_into("<I", memory_, index * 4, index * 2654435761 & 0xFFFF)
    loaded.launch("k", (1, 1, 1), (THREADS, 1, 1), struct.pack("<QQ", own, both))
    return bytes(memory_), bytes(common), words(), machine.accesses


def check(seed):
    text = kernel(seed)
    plain = run(text)
    woven = run(weave(parse(text), EVENTS).text, woven=True)
    assert woven[:2] == plain[:2]
    words, accesses = woven[2], plain[3]
    assert words[:2] == (THREADS, THREADS)
    assert words[2] == accesses.total()
    assert words[3] == sum(size * count for (_, size), count in accesses.items())
    assert words[4] == sum(OPS[op] * count for (op, _), count in accesses.items())


@pytest.mark.parametrize("seed", range(60))
def test_random_kernels_do_the_same_and_are_seen(seed):
    check(seed)


@pytest.mark.parametrize("seed", range(4))
def test_random_kernels_assemble(seed):
    tool = next((tool for tool in tools.found() if tool.name == "ptxas"), None)
    if tool is None:
        pytest.skip("no ptxas on this machine")
    for probes in PLACES.values():
        assemble(weave(parse(kernel(seed)), probes).text.encode(), "sm_75", (), tool)


@pytest.mark.parametrize("seed", range(150))
def test_damaged_images_never_raise(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("BPFTIME_CACHE", str(tmp_path))
    rng = random.Random(seed)
    fuzz.one(fuzz.damaged(rng.choice(fuzz.seeds()), rng))
