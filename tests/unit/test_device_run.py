"""Programs of CUDA probes, executed by many threads that part and meet again; results against a model."""

from __future__ import annotations

import random
import struct
from collections import Counter, defaultdict
from functools import reduce
from operator import or_, xor

import pytest

from runtime.events import text_of
from runtime.maps.spec import MapSpec
from runtime.nvptx import maps as device
from runtime.nvptx.compile import Device
from runtime.types import ContextKind
from tests.tools.bodies import program
from tests.tools.devicerun import SMS, DeviceRun, run_script
from tests.tools.script import Names

# Thread t runs the body t % 5 times, none of those with t % 5 == 0.
LOOPED = """
.reg .pred %q<2>; .reg .b32 %x<3>;
mov.u32 %x0, %tid.x;
rem.u32 %x1, %x0, 5;
AGAIN:
setp.eq.u32 %q0, %x1, 0;
@%q0 bra DONE;
{}
sub.u32 %x1, %x1, 1;
bra AGAIN;
DONE:
"""
BLOCKS, THREADS = 6, 75
EVERY = [(block, thread) for block in range(BLOCKS) for thread in range(THREADS)]
TIMES = [(block, thread) for block, thread in EVERY for _ in range(thread % 5)]


def shown(script, run: DeviceRun) -> dict[str, dict[object, object]]:
    """Give what the script's maps print: name → key → value."""
    found = {}
    for name, decoder in script.maps.items():
        event = decoder.decode(list(run.rows(name).items()), Names(script))
        rows = event.data.rows if event else ()
        found[name] = {str(key) if isinstance(key, dict) else key: value for key, value in rows}
    return found


def linear(block: int, thread: int) -> int:
    return block * THREADS + thread


def launched(text: str, around: str = "{}", **how: object):
    script, run = run_script(text, around=around, **how)
    run.launch(0, BLOCKS, THREADS)
    return shown(script, run)


@pytest.mark.parametrize(("around", "events"), [("{}", EVERY), (LOOPED, TIMES)])
def test_aggregations_are_exact_whoever_runs_together(around: str, events: list[tuple[int, int]]) -> None:
    text = """cuda:k {
        @n = count(); @sm[smid] = count(); @lane[lane] = count(); @sum = sum(tid); @bysum[bid] = sum(thread.x);
        @max = max(tid); @min = min(tid + 3); @avg = avg(thread.x); @h = hist(tid);
        @l = lhist(thread.x, 0, 60, 20); @k[bid, thread.x % 7] = count();
    }"""
    maps = launched(text, around)
    numbers = [linear(*one) for one in events]
    assert maps["@n"] == {None: len(events)}
    assert maps["@sm"] == Counter(block % SMS for block, _ in events)
    assert maps["@lane"] == Counter(thread % 32 for _, thread in events)
    assert maps["@sum"] == {None: sum(numbers)}
    assert maps["@bysum"] == {b: sum(t for block, t in events if block == b) for b in range(BLOCKS)}
    assert maps["@max"] == {None: max(numbers)}
    assert maps["@min"] == {None: min(numbers) + 3}
    assert maps["@avg"][None] == sum(t for _, t in events) // len(events)
    assert sum(b.count for b in maps["@h"][None].buckets) == len(events)
    assert [b.count for b in maps["@l"][None].buckets] == [
        count for _, count in sorted(Counter(t // 20 for _, t in events).items())
    ]
    assert maps["@k"] == Counter((block, thread % 7) for block, thread in events)


def test_values_that_are_written_and_read_back() -> None:
    text = """cuda:k { @t[tid] = tid * 3; @x[tid] = @t[tid] + 1; @y[tid]++; @y[tid] += 4; }"""
    maps = launched(text)
    assert maps["@x"] == {linear(*one): linear(*one) * 3 + 1 for one in EVERY}
    assert maps["@y"] == {linear(*one): 5 for one in EVERY}


def test_loops_filters_and_variables() -> None:
    text = """cuda:k /thread.x % 2 == 1 && bid != 3/ {
        $s = 0; for ($i : 0..(thread.x % 4)) { $s += $i + 1; }
        if ($s > 3) { @big = count() } else { @small[$s] = count() }
    }"""
    maps = launched(text)
    some = [t for b, t in EVERY if t % 2 == 1 and b != 3]
    sums = [sum(range(1, t % 4 + 1)) for t in some]
    assert maps["@big"] == {None: sum(s > 3 for s in sums)}
    assert maps["@small"] == Counter(s for s in sums if s <= 3)


def test_places_of_a_thread_in_three_dimensions() -> None:
    text = "cuda:k { @b[block.x, block.y, block.z] = count(); @t[thread.x, thread.y, thread.z] = count(); @r[thread] = count(); @all[tid] = count(); @g = sum(grid.y); }"
    script, run = run_script(text)
    run.launch(0, (2, 3, 2), (4, 3, 5))
    maps = shown(script, run)
    assert len(maps["@b"]) == 12
    assert set(maps["@b"].values()) == {60}
    assert len(maps["@t"]) == len(run.rows("@r")) == 60
    assert maps["@all"] == dict.fromkeys(range(720), 1)
    assert maps["@g"] == {None: 720 * 3}


def test_what_a_kernel_was_given_and_how_long_it_took() -> None:
    script, run = run_script(
        "cudaret:k { @a[arg0, arg2] = count(); @kernel[kernel] = count(); @h = hist(elapsed); }"
    )
    run.launch(0, 1, 40, struct.pack("<4Q", 11, 22, 33, 44))
    maps = shown(script, run)
    assert maps["@a"] == {(11, 33): 40}
    assert maps["@kernel"] == {"kernel9": 40}
    assert sum(b.count for b in maps["@h"][None].buckets) == 40


def test_what_a_memory_instruction_did() -> None:
    script, run = run_script(
        "cudamem:k { @[op, space, size, line] = count(); @a = sum(addr); @d = sum(data); }"
    )
    run.launch(0, 1, 10, struct.pack("<4Q", 4096, 7, 0, 0))
    maps = shown(script, run)
    ((key, value),) = maps["@"].items()
    assert ([text_of(part) for part in key[:2]], key[2:], value) == ([b"st", b"shared"], (4, 42), 10)
    assert maps["@a"] == {None: 40960}
    assert maps["@d"] == {None: 70}


def test_keys_that_are_taken_away_come_back() -> None:
    text = "cuda:k { @t[tid] = tid; if (tid % 2) { delete(@t[tid]); } if (tid % 4 == 1) { @t[tid] = 5; } }"
    maps = launched(text)
    numbers = [linear(*one) for one in EVERY]
    assert maps["@t"] == {n: 5 if n % 4 == 1 else n for n in numbers if n % 4 != 3}


def test_a_full_hash_counts_each_update_that_it_loses() -> None:
    script, run = run_script("let @m = hash(100); cuda:k { @m[tid] = tid; }")
    run.launch(0, BLOCKS, THREADS)
    rows = shown(script, run)["@m"]
    assert len(rows) == 100
    assert all(key == value for key, value in rows.items())
    assert run.dropped("@m") == BLOCKS * THREADS - 100
    run.launch(0, BLOCKS, THREADS)
    assert len(shown(script, run)["@m"]) == 100
    assert run.dropped("@m") == 2 * (BLOCKS * THREADS - 100)


def test_colliding_keys_of_any_size_are_kept_apart() -> None:
    text = "cuda:k { @w[tid, smid, bid, lane] = count(); @s[(uint8)tid] = count(); }"
    maps = launched(text)
    assert set(maps["@w"].values()) == {1}
    assert len(maps["@w"]) == len(EVERY)
    assert maps["@s"] == Counter(linear(*one) & 255 for one in EVERY)


# Rings


def record_program(size: int, end: str = "ringbuf_submit"):
    text = f"""call linear_thread
    *(u64 *)(r10 - 8) = r0
    r1 = map[ring] ll
    r2 = {size}
    r3 = 0
    call ringbuf_reserve
    if r0 == 0 goto end
    r1 = *(u64 *)(r10 - 8)
    *(u64 *)(r0 + 0) = r1
    *(u64 *)(r0 + {size - 8}) = r1
    r1 = r0
    r2 = 0
    call {end}
    end: r0 = 0
    exit"""
    return program(text)


@pytest.mark.parametrize("size", [8, 24, 40])
@pytest.mark.parametrize("around", ["{}", LOOPED])
def test_a_full_ring_loses_exactly_what_it_counts(size: int, around: str) -> None:
    run = DeviceRun([record_program(size)], [MapSpec("ring", 27, 0, 0, 4096)], around=around)
    every = Counter(linear(*one) for one in (EVERY if around == "{}" else TIMES))
    got: Counter[int] = Counter()
    sent = 0
    for _ in range(3):
        run.launch(0, BLOCKS, THREADS)
        sent += every.total()
        payloads = run.rings["ring"].payloads()
        assert all(len(p) == size and p[:8] == p[-8:] for p in payloads)
        got.update(int.from_bytes(p[:8], "little") for p in payloads)
        assert got.total() + run.dropped("ring") == sent
    assert all(got[number] <= 3 * every[number] for number in got)
    assert run.dropped("ring") > 0


def test_records_that_are_discarded_are_not_seen() -> None:
    run = DeviceRun([record_program(16, "ringbuf_discard")], [MapSpec("ring", 27, 0, 0, 1 << 16)])
    run.launch(0, 3, 40)
    assert run.rings["ring"].payloads() == []
    assert run.rings["ring"].position == 3 * 40 * 24


def test_printed_lines_come_through_the_ring() -> None:
    script, run = run_script(
        'cuda:k /lane == 0/ { printf("%d of %s\\n", tid, kernel); } cudaret:k { emit(tid, 1) }'
    )
    run.launch(0, 2, 70)
    resolver = Names(script)
    records = run.rings[".events"].payloads()
    texts = [script.decode_record(one, resolver).data for one in records]
    assert sorted(texts) == sorted(
        f"{b * 70 + t} of kernel9\n".encode() for b in range(2) for t in range(0, 70, 32)
    )
    run.launch(1, 1, 3)
    values = [script.decode_record(one, resolver).data for one in run.rings[".events"].payloads()]
    assert values == [(0, 1), (1, 1), (2, 1)]


def test_texts_of_objects_are_put_together_by_the_tracer() -> None:
    data = b"x=%d y=%llx %s\n\0".ljust(16, b"\0")
    text = "r1 = value[.rodata] ll\nr2 = 16\nr3 = -5\nr4 = 0xfffffffff ll\nr5 = 0\ncall trace_printk\nr0 = 0\nexit"
    maps = [MapSpec(".events", 27, 0, 0, 4096), MapSpec(".rodata", 2, 4, 16, 1, 0x80, initial=data)]
    run = DeviceRun([program(text), program("r1 = value[.rodata] ll\ncall puts\nr0 = 0\nexit")], maps)
    run.launch(0, 1, 1)
    run.launch(1, 1, 1)
    texts = [one[8:] for one in run.rings[".events"].payloads()]
    assert texts == [b"x=-5 y=fffffffff %s\n", data[:15]]


# Maps of objects

KEYED = "*(u32 *)(r10 - 4) = 1\nr2 = r10\nr2 += -4\n"


@pytest.mark.parametrize(("kind", "per"), [(6, SMS), (1502, 256), (1512, 256), (2, 1), (1503, 1), (1513, 1)])
def test_each_multiprocessor_or_thread_has_its_own_value(kind: int, per: int) -> None:
    text = f"{KEYED}r1 = map[m] ll\ncall map_lookup_elem\nif r0 == 0 goto end\nr1 = 2\n"
    text += "lock add u64 (r0 + 0) r1\nend: r0 = 0\nexit"
    run = DeviceRun([program(text)], [MapSpec("m", kind, 4, 8, 3)])
    run.launch(0, BLOCKS, THREADS)
    rows = run.rows("m")
    assert set(rows) == {n.to_bytes(4, "little") for n in range(3)}
    values = struct.unpack(f"<{per}Q", rows[(1).to_bytes(4, "little")])
    if per == 256:
        assert values == (2,) * 256
        assert run.dropped("m") == BLOCKS * THREADS - 256
    else:
        assert sum(values) == 2 * BLOCKS * THREADS
        assert all(values)
    assert not any(rows[bytes(4)])


@pytest.mark.parametrize(("flags", "first", "second"), [(0, 0, 0), (1, 0, -17), (2, -2, -2)])
def test_flags_of_updates_are_kept(flags: int, first: int, second: int) -> None:
    text = f"""*(u64 *)(r10 - 8) = 5
    *(u64 *)(r10 - 16) = 7
    r1 = map[m] ll
    r2 = r10
    r2 += -8
    r3 = r10
    r3 += -16
    r4 = {flags}
    call map_update_elem
    r6 = r0
    *(u32 *)(r10 - 20) = 0
    r1 = map[out] ll
    r2 = r10
    r2 += -20
    call map_lookup_elem
    if r0 == 0 goto end
    *(u64 *)(r0 + 0) = r6
    end: r0 = 0
    exit"""
    run = DeviceRun([program(text)], [MapSpec("m", 1501, 8, 8, 16), MapSpec("out", 1503, 4, 8, 1)])
    for want in (first, second):
        run.launch(0, 1, 1)
        assert struct.unpack("<q", run.rows("out")[bytes(4)])[0] == want
    assert len(run.rows("m")) == (0 if flags == 2 else 1)


ATOMICS = {
    "add": sum,
    "or": lambda values: reduce(or_, values, 0),
    "xor": lambda values: reduce(xor, values, 0),
    "fetch_add": sum,
}


@pytest.mark.parametrize("name", ATOMICS)
@pytest.mark.parametrize("bits", [32, 64])
def test_atomics_lose_nothing(name: str, bits: int) -> None:
    text = f"""call linear_thread
    *(u64 *)(r10 - 16) = r0
    {KEYED}r1 = map[m] ll
    call map_lookup_elem
    if r0 == 0 goto end
    r1 = *(u64 *)(r10 - 16)
    lock {name} u{bits} (r0 + 0) r1
    end: r0 = 0
    exit"""
    run = DeviceRun([program(text)], [MapSpec("m", 1503, 4, 8, 2)], around=LOOPED)
    run.launch(0, BLOCKS, THREADS)
    assert run.number("m", 1) == ATOMICS[name]([linear(*one) for one in TIMES])


def test_old_architectures_do_without_what_they_lack() -> None:
    script, run = run_script(
        "cuda:k { @k[tid % 9] = count(); @n = count(); @s = sum(tid); } cudaret:k { emit(tid) }",
        how=Device(61),
    )
    assert all("match." not in body.text and "release" not in body.text for body in run.bodies)
    run.launch(0, BLOCKS, THREADS)
    run.launch(1, 1, 5)
    maps = shown(script, run)
    assert maps["@k"] == Counter(linear(*one) % 9 for one in EVERY)
    assert maps["@n"] == {None: len(EVERY)}
    assert len(run.rings[".events"].payloads()) == 5


# The tracer's side


class Kept:
    """A view that does what the session's map does."""

    def __init__(self) -> None:
        self.values: dict[bytes, int] = defaultdict(int)

    def set(self, key: bytes, value: bytes, flags: int = 0) -> None:
        if not flags or key not in self.values:
            self.values[key] = int.from_bytes(value, "little")

    def delete(self, key: bytes) -> None:
        del self.values[key]

    def take(self, items) -> None:
        for key, value in items:
            self.values[key] = (self.values[key] - int.from_bytes(value, "little")) & (1 << 64) - 1


def test_what_devices_add_joins_what_the_host_added() -> None:
    spec = MapSpec("m", 1, 8, 8, 10, added_only=True)
    (placed,) = device.place([spec], 4, 1)
    mirror, view, rng = device.Mirror(placed), Kept(), random.Random(3)
    key, total = bytes(8), 0
    for step in range(20):
        more = rng.randrange(100)
        view.values[key] += more
        total += more
        count = step * 10
        mirror.store(view, [(key, count.to_bytes(8, "little"))])
        assert view.values[key] == total + count


def test_what_devices_delete_is_deleted_here() -> None:
    for added_only in (True, False):
        (placed,) = device.place([MapSpec("m", 1, 8, 8, 10, added_only=added_only)], 4, 1)
        mirror, view = device.Mirror(placed), Kept()
        keys = [n.to_bytes(8, "little") for n in range(3)]
        mirror.store(view, [(key, (5).to_bytes(8, "little")) for key in keys])
        mirror.store(view, [(keys[0], (5).to_bytes(8, "little"))])
        assert {key: value for key, value in view.values.items() if value} == {keys[0]: 5}
        mirror.store(view, [(key, (2).to_bytes(8, "little")) for key in keys])
        assert dict(view.values) == dict.fromkeys(keys, 2)


def test_the_highest_of_several_contexts_counts() -> None:
    (placed,) = device.place([MapSpec("m", 2, 4, 16, 1)], 3, 1)
    copies = [bytes(128) + struct.pack("<2Q", number, 1) + bytes(112) for number in (7, 9, 3)]
    assert device.fold(placed, copies, raised=True) == [(bytes(4), struct.pack("<2Q", 9, 1))]


def test_copies_of_several_contexts_are_one_map() -> None:
    spec = MapSpec("m", 2, 4, 16, 1, added_only=True)
    (placed,) = device.place([spec], 3, 1)
    copies = []
    for number in (1, 5):
        copy = bytearray(placed.size)
        for slot in range(placed.slots):
            struct.pack_into("<2Q", copy, 128 + slot * placed.layout.block, number, 1)
        copies.append(bytes(copy))
    assert device.fold(placed, copies) == [(bytes(4), struct.pack("<2Q", 24, 8))]


def test_memory_probes_know_their_place_in_the_context() -> None:
    text = "r0 = *(u32 *)(r1 + 8)\nr2 = *(u8 *)(r1 + 12)\nr3 = *(u64 *)(r1 + 24)\nr0 += r2\nr0 += r3\n"
    out = f"*(u64 *)(r10 - 16) = r0\n{KEYED}r1 = map[m] ll\ncall map_lookup_elem\nif r0 == 0 goto end\n"
    text += f"{out}r1 = *(u64 *)(r10 - 16)\n*(u64 *)(r0 + 0) = r1\nend: r0 = 0\nexit"
    run = DeviceRun([program(text, ContextKind.CUDA_MEMORY)], [MapSpec("m", 1503, 4, 8, 2)])
    run.launch(0, 1, 1, struct.pack("<4Q", 1, 2, 100, 3))
    assert run.number("m", 1) == 4 + 1 + 100
