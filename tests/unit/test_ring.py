"""Rings: order and completeness with several producers, losses counted, unfinished records skipped."""

from __future__ import annotations

import os
import struct
import threading

from runtime.maps.spec import MapKind, MapSpec
from runtime.shm import ring as ringbuf
from runtime.shm.ring import RingReader
from tests.tools.programs import box, emit_record, linked

PAIR = struct.Struct("<QQ")


def ring_of(size: int, **options):
    sandbox = box(MapSpec("ring", MapKind.RINGBUF, 0, 0, size))
    view = sandbox.views["ring"]
    return sandbox, RingReader(sandbox.region.buffer, view.offset + 4096, size, **options)


def test_records_come_back_in_order_over_many_laps():
    sandbox, reader = ring_of(1 << 14)
    programs = {size: linked(emit_record(size), sandbox) for size in (16, 24, 33, 200)}
    got, sent = [], 0
    for lap in range(400):
        for _ in range(20):
            size = (16, 24, 33, 200)[(sent * 7 + lap) % 4 if lap % 3 else 0]
            assert programs[size](sent, size) == 1
            sent += 1
        got += reader.drain()
    assert [PAIR.unpack_from(record) for record in got] == [(i, len(record)) for i, record in enumerate(got)]
    assert len(got) == sent
    assert reader.lost == 0


def test_each_producer_keeps_its_order_and_sums_are_exact():
    sandbox, reader = ring_of(1 << 16)
    program, ended, counts = linked(emit_record(48), sandbox), [], {}

    def produce(number: int) -> None:
        done = sum(program(number, value) for value in range(5000))
        ended.append(done)

    workers = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    received = 0
    while len(ended) < 4 or reader.pending():
        for record in reader.drain(1000):
            number, value = PAIR.unpack_from(record)
            assert value > counts.get(number, -1)
            counts[number] = value
            received += 1
    assert received == sum(ended)
    assert received + reader.lost == 20000


def test_a_full_ring_counts_what_it_loses():
    sandbox, reader = ring_of(4096)
    program = linked(emit_record(48), sandbox)
    stored = sum(program(1, 2) for _ in range(500))
    assert stored == 4096 // 56
    assert reader.lost == 500 - stored
    assert reader.lost_bytes == 48 * (500 - stored)
    assert len(reader.drain()) == stored


def test_a_record_of_a_dead_process_is_skipped():
    alive = {0: True}
    sandbox, reader = ring_of(1 << 14, is_alive=lambda slot: alive[slot])
    program = linked(emit_record(48), sandbox)
    program(1, 1)
    program(2, 2)
    header = sandbox.views["ring"].offset + 4096 + ringbuf.DATA
    length = struct.unpack_from("<I", sandbox.region.buffer, header)[0]
    struct.pack_into("<I", sandbox.region.buffer, header, length | ringbuf.BUSY)
    assert reader.drain() == []
    reader.stalled -= 1
    assert reader.drain() == []
    alive[0] = False
    assert [PAIR.unpack_from(record) for record in reader.drain()] == [(2, 2)]
    assert reader.abandoned == 1


def test_garbage_in_a_ring_never_raises():
    sandbox, reader = ring_of(1 << 14)
    start = sandbox.views["ring"].offset + 4096
    for _ in range(300):
        noise = os.urandom(1 << 14)
        sandbox.region.buffer[start + ringbuf.DATA : start + ringbuf.DATA + len(noise)] = noise
        sandbox.region.buffer[start : start + 8] = os.urandom(8)
        assert all(len(record) <= 1 << 14 for record in reader.drain(10000))


def test_patient_producers_lose_nothing_to_a_slow_reader():
    sandbox, reader = ring_of(1 << 12, patience=20_000)
    program, done = linked(emit_record(64), sandbox), []
    worker = threading.Thread(target=lambda: done.append(sum(program(1, n) for n in range(2000))))
    worker.start()
    got = []
    while not done or reader.pending():
        threading.Event().wait(0.001)
        got += reader.drain()
    worker.join()
    assert done == [2000]
    assert [PAIR.unpack_from(record)[0] for record in got] == [1] * 2000
    assert reader.lost == 0


def test_producers_give_up_on_a_reader_that_is_gone():
    sandbox, reader = ring_of(1 << 12, patience=20)
    program = linked(emit_record(64), sandbox)
    sent = sum(program(1, n) for n in range(200))
    assert 0 < sent < 200
    assert reader.lost == 200 - sent
