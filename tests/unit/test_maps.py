"""Maps: operations against a plain dict, counters under threads and signals, writers that are killed."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import struct
import threading
import time

import pytest

from runtime.errors import Problem, Unsupported
from runtime.jit.local import agent
from runtime.maps.layout import MapLayout
from runtime.maps.spec import MapKind, MapSpec
from tests.tools.programs import ADD_ONE, DELETE, UPDATE, box, linked

THREADS, ROUNDS = 4, 200_000
KINDS = [(MapKind.HASH, False, False), (MapKind.HASH, True, False), (MapKind.HASH, False, True)]
SIZES = [(4, 8), (8, 8), (16, 24), (5, 3), (24, 40)]


def operate(view, name: str, *buffers: bytes, flags: int | None = None) -> int:
    held = [ctypes.create_string_buffer(buffer, len(buffer) + 8) for buffer in buffers]
    start = ctypes.addressof(ctypes.c_char.from_buffer(view.region, view.offset))
    numbers = [ctypes.addressof(buffer) for buffer in held] + ([] if flags is None else [flags])
    return agent().function(name, 1 + len(numbers))(start, *numbers)


def expected_update(model: dict[bytes, bytes], key: bytes, flags: int, room: int) -> int:
    if flags > 2:
        return -22
    if key in model:
        return -17 if flags == 1 else 0
    if flags == 2:
        return -2
    return 0 if len(model) < room else -7


@pytest.mark.parametrize(("kind", "added", "threads"), KINDS)
@pytest.mark.parametrize(("key_size", "value_size"), SIZES)
def test_a_hash_does_what_a_dict_does(kind, added, threads, key_size, value_size):
    spec = MapSpec("m", kind, key_size, value_size, 60, added_only=added, thread_keyed=threads)
    view = box(spec).views["m"]
    pick, model = random.Random(key_size), {}
    keys = 60 if threads else 90  # a map keyed by threads has room for more than its size
    for _ in range(4000):
        key, flags = pick.randrange(keys).to_bytes(key_size, "little"), pick.choice((0, 0, 1, 2, 3))
        value = pick.randbytes(value_size)
        if pick.random() < 0.6:
            want = expected_update(model, key, flags, 60)
            assert operate(view, "map_update", key, value, flags=flags) == want
            model |= {key: value} if want == 0 else {}
        else:
            assert operate(view, "map_delete", key) == (0 if model.pop(key, None) is not None else -2)
    assert dict(view.items()) == model
    assert view.count() == len(model)
    assert all(view.get(key) == value for key, value in model.items())
    assert view.get((1 << 30).to_bytes(key_size, "little")) is None
    view.zero()
    assert set(view.items()) == {(key, bytes(value_size)) for key in model}
    view.clear()
    assert view.items() == []


def test_the_tracer_writes_cells_and_cpus_as_it_reads_them():
    sandbox = box(
        MapSpec("cells", 2, 4, 16, 3, added_only=True), MapSpec("cpus", MapKind.PERCPU_HASH, 4, 4, 3)
    )
    cells, cpus = sandbox.views["cells"], sandbox.views["cpus"]
    cells.set(struct.pack("<I", 1), struct.pack("<QQ", 5, 6))
    assert cells.get(struct.pack("<I", 1)) == struct.pack("<QQ", 5, 6)
    count = cpus.layout.cells
    whole = b"".join(struct.pack("<II", cpu + 1, 0) for cpu in range(count))
    cpus.set(b"abcd", whole)
    assert cpus.get(b"abcd") == whole
    with pytest.raises(Problem, match="no such key"):
        cpus.delete(b"efgh")
    with pytest.raises(Problem, match="4 bytes"):
        cpus.set(b"abcd", b"123")


@pytest.mark.parametrize("build", ["rseq", "plain"])
def test_no_addition_is_lost_among_threads(build):
    if build == "rseq" and agent().build_kind != "rseq":
        pytest.skip("this libc registers no rseq area")
    sandbox = box(MapSpec("count", MapKind.ARRAY, 4, 8, 1, added_only=True))
    program = linked(ADD_ONE, sandbox, build)
    workers = [threading.Thread(target=program.repeat, args=(ROUNDS,)) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sandbox.views["count"].items()[0][1] == struct.pack("<Q", THREADS * ROUNDS)


def test_signals_do_not_lose_additions():
    sandbox = box(MapSpec("count", MapKind.ARRAY, 4, 8, 1, added_only=True))
    program, hits = linked(ADD_ONE, sandbox), []
    before = signal.signal(signal.SIGALRM, lambda *_: hits.append(program()))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(50):
            program.repeat(ROUNDS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sandbox.views["count"].items()[0][1] == struct.pack("<Q", 50 * ROUNDS + len(hits))


def writer(update, delete, seed: int) -> None:
    agent().refresh()
    pick = random.Random(seed)
    while True:
        key = pick.randrange(40)
        update(key, seed)
        if pick.random() < 0.5:
            delete(key)


def test_writers_may_be_killed_at_any_time():
    sandbox = box(MapSpec("hash", MapKind.HASH, 8, 8, 64))
    update, delete, view = linked(UPDATE, sandbox), linked(DELETE, sandbox), sandbox.views["hash"]
    deadline, number = time.monotonic() + 2, 0
    while time.monotonic() < deadline:
        children = []
        for _ in range(3):
            number += 1
            pid = os.fork()
            if not pid:
                writer(update, delete, number)
            children.append(pid)
        time.sleep(0.01)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        start = time.monotonic()
        assert update(1000, number) == 0
        assert view.get(struct.pack("<Q", 1000)) == struct.pack("<Q", number)
        assert time.monotonic() - start < 0.2
        keys = [key for key, _ in view.items()]
        assert len(keys) == len(set(keys))


def test_what_cannot_be_a_map_is_refused_by_name():
    with pytest.raises(Unsupported, match="type 26"):
        MapLayout.of(MapSpec("ops", 26, 4, 4, 1), 2)
    with pytest.raises(Problem, match="4 bytes"):
        MapLayout.of(MapSpec("a", 2, 8, 8, 1), 2)
    with pytest.raises(Problem, match="would need"):
        MapLayout.of(MapSpec("a", 1, 8, 1 << 20, 1 << 30), 2)


@pytest.mark.parametrize("kind", [MapKind.LRU_HASH, MapKind.LRU_PERCPU_HASH])
def test_an_lru_map_is_never_full(kind):
    view = box(MapSpec("m", kind, 8, 8, 50)).views["m"]
    for number in range(500):
        assert operate(view, "map_update", struct.pack("<Q", number), struct.pack("<Q", number), flags=0) == 0
        assert view.get(struct.pack("<Q", number)) is not None
    assert view.count() == 50
    assert view.drops() == 0
