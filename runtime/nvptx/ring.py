"""Records: room is taken once for a group of threads, each publishes its own; lost ones are counted exactly.

Where the writers are, what was lost, and the last known place of the reader lie in the map's header in device
memory; where the reader is, and the data, in memory of the host. A record is a head, `u32 bytes | flags` and
`u32 sequence`, and its payload, a multiple of 8. The sequence is the record's place in units of 8, plus 1.
The reader zeroes what it has read, so a head that is there is a head.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.maps.layout import up
from runtime.nvptx import warp
from runtime.nvptx.layout import RING, RING_DATA, ring_places, ring_size
from runtime.nvptx.template import filled

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.nvptx.call import Site

RECORD_HEAD = 8
DISCARDED, PADDING = 1 << 31, 1 << 30  # flags beside a record's length
TRIES = 32
PRINTK, PUTS = 0xFE00, 0xFE01  # events of records that the tracer turns into text
MOST_TEXT = 1024  # bytes
ENOSPC, FULL = -28, 2  # results of ringbuf_output, and of a device ring of type 1527
EVENTS = ".events"
GPU_RING = 1527

RESERVE = Path(__file__).with_name("ring_reserve.ll")


def _pinned(site: Site, name: str) -> str:
    """Give where a ring lies in the host's memory, as an i64."""
    unit = site.unit
    offset = ring_places(unit.maps[one] for one in unit.order)[name]
    return site.code.op(f"add i64 {unit.context(site.code, RING)}, {offset}")


def reserve(site: Site, name: str, size: int) -> tuple[str, str]:
    """Take room for a record of `size` bytes; gives its payload's address, 0 for none, and its head."""
    code, unit = site.code, site.unit
    record, total = RECORD_HEAD + up(size, 8), ring_size(unit.maps[name])
    function = f"ring_reserve_{unit.index(name)}"
    text = filled(
        RESERVE, name=function, tries=TRIES, padding=PADDING, data=RING_DATA, size=total, mask=total - 1
    )
    unit.declare(f"@{function}", text)
    control, pinned = unit.head(code, name), _pinned(site, name)
    mask = warp.active(unit, code)
    number = warp.count(unit, code, mask)
    group = code.op(f"mul i64 {number}, {record}")
    one, done, start = (code.label() for _ in range(3))
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(warp.is_first(unit, code, mask), one, done)
    code.inner(one)
    taken = code.op(f"call i64 @{function}(i64 {control}, i64 {pinned}, i64 {group}, i64 {number})")
    last = code.label()
    code.add(f"br label %{last}")
    code.inner(last)
    code.add(f"br label %{done}")
    code.inner(done)
    own = code.op(f"phi i64 [ 0, %{start} ], [ {taken}, %{last} ]")
    begin = warp.from_lane(unit, code, mask, own, warp.first(unit, code, mask))
    shift = code.op(f"mul i64 {warp.rank(unit, code, mask)}, {record}")
    position = code.op(f"add i64 {begin}, {shift}")
    wrapped = code.op(f"and i64 {position}, {total - 1}")
    payload = code.op(f"add i64 {code.op(f'add i64 {pinned}, {wrapped}')}, {RING_DATA + RECORD_HEAD}")
    there = code.op(f"icmp ne i64 {begin}, -1")
    sequence = code.op(f"add i64 {code.op(f'lshr i64 {position}, 3')}, 1")
    head = code.op(f"or i64 {code.op(f'shl i64 {sequence}, 32')}, {size}")
    return code.op(f"select i1 {there}, i64 {payload}, i64 0"), head


def _publish(site: Site, payload: str, head: str) -> None:
    place = site.code.op(f"add i64 {payload}, {-RECORD_HEAD}")
    warp.publish(site.unit, site.code, place, head, "sys")


def _reserve(site: Site) -> str:
    """Emit ringbuf_reserve; where the record is, and its head, are kept for the call that ends it."""
    payload, head = reserve(site, site.known().name, site.call.constants[2])
    site.code.add(f"store i64 {payload}, ptr {site.unit.slot(site.code, f'record{site.index}')}")
    site.code.add(f"store i64 {head}, ptr {site.unit.slot(site.code, f'sequence{site.index}')}")
    return payload


def _finish(flags: int) -> Callable[[Site], str]:
    def emit(site: Site) -> str:
        code, unit = site.code, site.unit
        payload, head = code.get(1), "0"
        calls = unit.verified.calls
        for index in sorted(at for at, call in calls.items() if call.helper == RESERVE_HELPER):
            held = code.op(f"load i64, ptr {unit.slot(code, f'record{index}')}")
            word = code.op(f"load i64, ptr {unit.slot(code, f'sequence{index}')}")
            head = code.op(f"select i1 {code.op(f'icmp eq i64 {held}, {payload}')}, i64 {word}, i64 {head}")
        _publish(site, payload, code.op(f"or i64 {head}, {flags}"))
        return "0"

    return emit


def _send(site: Site, name: str, words: list[str], size: int) -> str:
    """Write a whole record; gives the i1 that says whether there was room."""
    code = site.code
    payload, head = reserve(site, name, size)
    there = code.op(f"icmp ne i64 {payload}, 0")
    write, done = code.label(), code.label()
    code.split(there, write, done)
    code.inner(write)
    for number, word in enumerate(words):
        warp.store(code, code.op(f"add i64 {payload}, {8 * number}"), word)
    _publish(site, payload, head)
    code.add(f"br label %{done}")
    code.inner(done)
    return there


def _output(data: int, size: int, full: int) -> Callable[[Site], str]:
    """Emit ringbuf_output or perf_event_output: numbers of the arguments, and the result where it is full."""

    def emit(site: Site) -> str:
        if size not in site.call.constants:
            raise site.unit.refused(site.index, f"{site.name}: the size must be a constant on a device")
        spec, count = site.known(), site.call.constants[size]
        there = _send(site, spec.name, site.words(data, count), count)
        return site.code.op(f"select i1 {there}, i64 0, i64 {FULL if spec.kind == GPU_RING else full}")

    return emit


def _query(site: Site) -> str:
    """Emit ringbuf_query: bytes not yet read, size, position of the reader, position of the next record."""
    name, code = site.known().name, site.code
    head = warp.load(code, site.unit.head(code, name))
    size = str(ring_size(site.unit.maps[name]))
    tail = warp.load(code, _pinned(site, name))
    values = (code.op(f"sub i64 {head}, {tail}"), size, tail, head)
    result = "0"
    for number, value in enumerate(values):
        same = code.op(f"icmp eq i64 {site.arg(2)}, {number}")
        result = code.op(f"select i1 {same}, i64 {value}, i64 {result}")
    return result


def _text(site: Site, event: int, size: int, arguments: list[str]) -> str:
    """Send a text that is known here or on the stack, with numbers for it; the tracer puts them together."""
    if size > MOST_TEXT:
        raise site.unit.refused(site.index, f"{site.name}: a text has at most {MOST_TEXT} bytes on a device")
    if EVENTS not in site.unit.order:
        return "0"
    words = [str(event | size << 16), *arguments, *site.words(1, size)]
    there = _send(site, EVENTS, words, 8 * (1 + len(arguments)) + size)
    return site.code.op(f"select i1 {there}, i64 {size}, i64 {ENOSPC}")


def _printk(site: Site) -> str:
    if 2 not in site.call.constants:
        raise site.unit.refused(site.index, f"{site.name}: the size must be a constant on a device")
    return _text(site, PRINTK, site.call.constants[2], [site.arg(n) for n in (3, 4, 5)])


def _puts(site: Site) -> str:
    text = site.constant(1)
    if text is None or b"\0" not in text:
        raise site.unit.refused(site.index, f"{site.name}: the text must be a constant in the program's data")
    return _text(site, PUTS, text.index(b"\0"), [])


RESERVE_HELPER = 131
EMIT: dict[int, Callable[[Site], str]] = {
    6: _printk,
    25: _output(4, 5, ENOSPC),
    130: _output(2, 3, ENOSPC),
    RESERVE_HELPER: _reserve,
    132: _finish(0),
    133: _finish(DISCARDED),
    134: _query,
    501: _puts,
}
