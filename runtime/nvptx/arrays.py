"""Array maps: a look-up is address arithmetic and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.nvptx import special, warp
from runtime.nvptx.layout import DROPPED, THREADED, THREADS, has_slots, stride_of

if TYPE_CHECKING:
    from runtime.maps.spec import MapSpec
    from runtime.nvptx.call import Site

NOEXIST = 1
E2BIG, EEXIST = -7, -17
READ_ONLY = 0x80


def lookup(site: Site, spec: MapSpec) -> str:
    """Emit map_lookup_elem."""
    return _place(site, spec, _key(site))


def _key(site: Site) -> str:
    """Give the index as an i64."""
    if site.call.key is not None:
        return str(int.from_bytes(site.call.key, "little"))
    return site.words(2, 4)[0]


def _place(site: Site, spec: MapSpec, index: str) -> str:
    """Give the address of a value as an i64, 0 where there is none."""
    code, unit = site.code, site.unit
    inside = code.op(f"icmp ult i64 {index}, {spec.max_entries}")
    if spec.kind in THREADED:
        return _of_thread(site, spec, index, inside)
    distance = code.op(f"mul i64 {index}, {stride_of(spec)}")
    address = code.op(f"add i64 {unit.data(code, spec.name)}, {distance}")
    if has_slots(spec):
        address = code.op(f"add i64 {address}, {unit.own_block(code, spec.name)}")
    return code.op(f"select i1 {inside}, i64 {address}, i64 0")


def _of_thread(site: Site, spec: MapSpec, index: str, inside: str) -> str:
    """Give the address of this thread's value; threads without a slot are counted."""
    code, unit = site.code, site.unit
    threads = unit.context(code, THREADS, 32)
    thread = special.linear_thread(site)
    known, lost, start, done = (code.label() for _ in range(4))
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(code.op(f"icmp ult i64 {thread}, {threads}"), known, lost)
    code.inner(lost)
    dropped = code.op(f"add i64 {unit.head(code, spec.name)}, {DROPPED}")
    warp.add(unit, code, (dropped, unit.scope(spec.name)), "1", uniform=True, constant=True)
    last = code.label()
    code.add(f"br label %{last}")
    code.inner(last)
    code.add(f"br label %{done}")
    code.inner(known)
    row = code.op(f"add i64 {code.op(f'mul i64 {index}, {threads}')}, {thread}")
    distance = code.op(f"mul i64 {row}, {stride_of(spec)}")
    address = code.op(f"add i64 {unit.data(code, spec.name)}, {distance}")
    found = code.op(f"select i1 {inside}, i64 {address}, i64 0")
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i64 [ 0, %{last} ], [ {found}, %{known} ]")


def update(site: Site, spec: MapSpec) -> str:
    """Emit map_update_elem: an array has all its keys, so it never adds one."""
    code = site.code
    flags, index = site.arg(4), _key(site)
    write, done, start = (code.label() for _ in range(3))
    place = _place(site, spec, index)
    code.add(f"br label %{start}")
    code.inner(start)
    missing = code.op(f"icmp eq i64 {place}, 0")
    exists = code.op(f"icmp eq i64 {flags}, {NOEXIST}")
    refused = code.op(f"select i1 {missing}, i64 {E2BIG}, i64 {EEXIST}")
    code.split(code.op(f"or i1 {missing}, {exists}"), done, write)
    code.inner(write)
    store_value(site, spec, place)
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i64 [ {refused}, %{start} ], [ 0, %{write} ]")


def store_value(site: Site, spec: MapSpec, place: str) -> None:
    """Store the value that argument 3 points to."""
    code = site.code
    for number, word in enumerate(site.words(3, spec.value_size)):
        address = code.op(f"add i64 {place}, {8 * number}")
        left = spec.value_size - 8 * number
        for at, size in _pieces(min(left, 8)):
            part = code.narrow(code.op(f"lshr i64 {word}, {8 * at}"), 8 * size)
            warp.store(code, code.op(f"add i64 {address}, {at}"), part, 8 * size)


def _pieces(size: int) -> list[tuple[int, int]]:
    """Split up to eight bytes into aligned powers of two: (offset, size)."""
    pieces, at = [], 0
    for part in (8, 4, 2, 1):
        if size - at >= part:
            pieces.append((at, part))
            at += part
    return pieces
