"""Costs of the runtime's pieces, against baselines of the same run: python -m tests.bench.core

Each figure is the minimum of several runs; ns include about 1 ns of the calling loop, which `empty` shows.
"""

from __future__ import annotations

import ctypes
import time

from runtime.jit.compile import compile_program
from runtime.jit.local import agent
from runtime.jit.sandbox import Sandbox
from runtime.maps.spec import MapKind, MapSpec
from runtime.shm.ring import RingReader
from runtime.verify.check import verify
from tests.tools.programs import (
    ADD_ONE,
    EXIT,
    UPDATE,
    Part,
    box,
    call,
    copy,
    emit_record,
    here,
    insn,
    linked,
    load,
    program,
    stack,
)
from tests.tools.randprog import random_program

RUNS, CALLS = 5, 1_000_000
RING = 1 << 22
MAPS = (
    MapSpec("count", MapKind.ARRAY, 4, 8, 1, added_only=True),
    MapSpec("hash", MapKind.HASH, 8, 8, 10240),
    MapSpec("slot", MapKind.HASH, 8, 8, 10240, thread_keyed=True),
    MapSpec("hist", MapKind.ARRAY, 4, 512, 1, added_only=True),
    MapSpec("ring", MapKind.RINGBUF, 0, 0, RING),
)
KEY: tuple[Part, ...] = (insn(0x7B, 10, 1, -8), stack(2, -8))
LOOKUP: tuple[Part, ...] = (*KEY, (1, "hash"), call(1), EXIT)
PAIR: tuple[Part, ...] = (*UPDATE[:-1], stack(2, -8), (1, "hash"), call(3), EXIT)
READ: tuple[Part, ...] = (copy(3, 1), stack(1, -8), load(2, 8), call(4), insn(0x79, 0, 10, -8), EXIT)


def latency(name: str) -> tuple[Part, ...]:
    """Stamp at entry; at exit look up, delete and add to a histogram of the time."""
    tail: tuple[Part, ...] = (
        *(insn(0x79, 6, 0, 0), stack(2, -8), (1, name), call(3), call(5), insn(0x1F, 0, 6), copy(1, 0)),
        *(call(100001), insn(0x67, 0, imm=3), copy(7, 0), insn(0x62, 10, off=-20), stack(2, -20)),
        *((1, "hist"), call(1), insn(0x15, 0, off=3), insn(0x0F, 0, 7), load(1, 1), insn(0xDB, 0, 1)),
    )
    size = sum(len(part) // 8 if isinstance(part, bytes) else 2 for part in tail)
    entry = (call(14), insn(0x7B, 10, 0, -8), call(5), insn(0x7B, 10, 0, -16))
    stamp = (stack(2, -8), stack(3, -16), load(4, 0), (1, name), call(2))
    found = (stack(2, -8), (1, name), call(1), insn(0x15, 0, off=size))
    return (*entry, *stamp, *found, *tail, load(0, 0), EXIT)


def best(parts: tuple[Part, ...], sandbox: Sandbox, *arguments: int, calls: int = CALLS) -> float:
    made = linked(parts, sandbox)
    return min(made.repeat(calls, *arguments)[1] for _ in range(RUNS))


def show(name: str, value: float, base: float, goal: str = "") -> None:
    print(f"{name:34} {value:9.2f} ns  x{value / base:6.1f}  {goal}")


def programs(sandbox: Sandbox) -> None:
    empty = best((load(0, 0), EXIT), sandbox)
    target = ctypes.create_string_buffer(4096)
    place = ctypes.addressof(target)
    show("empty program", empty, empty)
    show("count() on a per-CPU cell", best(ADD_ONE, sandbox), empty, "at most 2.5")
    best(UPDATE, sandbox, 0x1234, 1, calls=10)
    show("hash look-up, found", best(LOOKUP, sandbox, 0x1234), empty, "at most 8")
    show("hash update, found", best(UPDATE, sandbox, 0x1234, 1), empty, "at most 10")
    show("hash insert and delete", best(PAIR, sandbox, 0x999, 1), empty, "at most 30")
    show("clock", best((call(5), EXIT), sandbox), empty)
    show("latency pair, hash", best(latency("hash"), sandbox), empty)
    show("latency pair, thread slots", best(latency("slot"), sandbox), empty, "at most 35 with the TSC clock")
    show("guarded read by system call", best(READ, sandbox, place, calls=20000), empty)
    agent().function("fault_handler", 1)(1)
    show("guarded read behind the handler", best(READ, sandbox, place), empty)
    show("guarded read that faults", best(READ, sandbox, 8, calls=20000), empty)
    agent().function("fault_handler", 1)(0)


def ring(sandbox: Sandbox) -> None:
    made = linked(emit_record(48), sandbox)
    reader = RingReader(sandbox.region.buffer, sandbox.views["ring"].offset + 4096, RING)
    costs, records, seconds = [], 0, 0.0
    for _ in range(8):
        costs.append(made.repeat(RING // 64)[1])
        start = time.perf_counter()
        records += len(reader.drain())
        seconds += time.perf_counter() - start
    print(f"{'ring reserve, fill, submit':34} {min(costs):9.2f} ns           at most 20")
    print(f"{'ring consumer':34} {records / seconds / 1e6:9.2f} M records/s")


def compiling() -> None:
    for length in (10, 40, 200, 1000):
        verified = verify(program([random_program(1, length)]), {})
        times = []
        for _ in range(RUNS):
            build = here()
            start = time.perf_counter()
            # A fuel of its own makes each a different image, so that none comes from the cache.
            compile_program(
                verified,
                {},
                type(build)(build.kind, build.cpus, build.clock, 1000 + time.perf_counter_ns() % 10**9),
            )
            times.append(time.perf_counter() - start)
        print(f"compile {len(verified.reachable):5} instructions {min(times) * 1000:18.2f} ms")


if __name__ == "__main__":
    main_box = box(*MAPS)
    programs(main_box)
    ring(main_box)
    compiling()
