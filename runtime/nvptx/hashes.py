"""Hash maps in device memory: open addressing, entries claimed by compare-and-swap, graves for deleted ones.

An entry begins with its state: the key's hash without its low bits, and EMPTY, BUSY, GRAVE or READY. Threads
of a warp with one key choose one of them to look, so none waits for another of its own warp; those of other
warps that meet a BUSY entry of their hash wait for a bounded time. A grave is taken again only by its key,
so a key never has two entries. Source for the hash: splitmix64.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.helpers.device import FIND_UNIFORM
from runtime.maps.layout import up
from runtime.nvptx import warp
from runtime.nvptx.arrays import store_value
from runtime.nvptx.layout import DATA, DROPPED, PROBES, USED, layout_of
from runtime.nvptx.special import GOLDEN, mixed
from runtime.nvptx.template import filled
from runtime.nvptx.unit import MODERN

if TYPE_CHECKING:
    from runtime.maps.spec import MapSpec
    from runtime.nvptx.call import Site

EMPTY, BUSY, GRAVE, READY, STATES = 0, 1, 2, 4, 7
POLLS = 64
ANY, NOEXIST, EXIST = 0, 1, 2  # flags of an update
ENOENT, EEXIST, E2BIG, EINVAL = -2, -17, -7, -22
TAG = ~STATES

FIND = Path(__file__).with_name("hash_find.ll")


def _find(site: Site, spec: MapSpec) -> str:
    """Declare the search in a map; give its name."""
    unit = site.unit
    name = f"find_{unit.index(spec.name)}"
    keys, layout = up(spec.key_size, 8) // 8, layout_of(spec, 1, 1)
    values = layout.stride // 8
    scope = ".sys" if unit.scope(spec.name) == "sys" else ""
    release = f"st.release.{unit.scope(spec.name)}.global.u64 [$0], $1;"
    if unit.arch < MODERN:
        release = "membar.sys;\\0A\\09st.volatile.global.u64 [$0], $1;"
    sleep = '  call void asm sideeffect "nanosleep.u32 100;", ""()' if unit.arch >= MODERN else ""
    names = [*(f"k{n}" for n in range(keys)), *(f"v{n}" for n in range(values))]
    text = filled(
        FIND,
        name=name, tag=TAG, data=DATA, used=USED, mask=layout.entries - 1, entry=layout.entry, limit=POLLS,
        empty=EMPTY, busy=BUSY, grave=GRAVE, ready=READY, states=STATES, probes=PROBES, most=spec.max_entries,
        scope=scope, release=release, sleep=sleep, compare=_compare(keys),
        parameters="".join(f", i64 %{one}" for one in names),
        keys=_stores("a", "k", keys, 8), keys2=_stores("b", "k", keys, 8),
        values=_stores("c", "v", values, layout.value),
    )  # fmt: skip
    unit.declarations.setdefault(f"@{name}", text)
    return f"@{name}"


def _compare(keys: int) -> str:
    lines = []
    for n in range(keys):
        lines += [
            f"  %ka{n} = add i64 %place, {8 + 8 * n}",
            f"  %kp{n} = inttoptr i64 %ka{n} to ptr addrspace(1)",
            f"  %kv{n} = load volatile i64, ptr addrspace(1) %kp{n}, align 8",
            f"  %kd{n} = xor i64 %kv{n}, %k{n}",
        ]
    joined = "%kd0"
    for n in range(1, keys):
        lines.append(f"  %ko{n} = or i64 {joined}, %kd{n}")
        joined = f"%ko{n}"
    return "\n".join([*lines, f"  %equal = icmp eq i64 {joined}, 0"])


def _stores(prefix: str, values: str, count: int, offset: int) -> str:
    lines = []
    for n in range(count):
        lines += [
            f"  %{prefix}a{n} = add i64 %place, {offset + 8 * n}",
            f"  %{prefix}p{n} = inttoptr i64 %{prefix}a{n} to ptr addrspace(1)",
            f"  store i64 %{values}{n}, ptr addrspace(1) %{prefix}p{n}, align 8",
        ]
    return "\n".join(lines)


def entry(site: Site, spec: MapSpec, values: list[str] | None) -> tuple[str, str]:
    """Find the entry of the key in argument 2; with `values` (words) make it where there is none.

    Gives its address as an i64, 0 for none, and the i64 that is 1 where this thread made it. Threads of one
    warp with the same key look once for all; where an update finds no room each of them is counted.
    """
    code, unit = site.code, site.unit
    words = site.words(2, spec.key_size)
    digest = str(GOLDEN - (1 << 64))
    for word in words:
        digest = mixed(code, code.op(f"add i64 {code.op(f'mul i64 {digest}, 31')}, {word}"))
    head = unit.head(code, spec.name)
    filled = values if values is not None else ["0"] * (layout_of(spec, 1, 1).stride // 8)
    arguments = ", ".join(
        f"i64 {one}" for one in (head, digest, str(int(values is not None)), *words, *filled)
    )
    search = f"call i64 {_find(site, spec)}({arguments})"
    if unit.arch < MODERN:
        found = code.op(search)
        if values is not None:
            _count_lost(site, spec, found, "")
        return code.op(f"and i64 {found}, -2"), code.op(f"and i64 {found}, 1")
    mask = warp.active(unit, code)
    shared_key = site.call.key is not None or site.call.helper == FIND_UNIFORM
    group = mask if shared_key else warp.same(unit, code, mask, digest)
    one, done, start = (code.label() for _ in range(3))
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(warp.is_first(unit, code, group), one, done)
    code.inner(one)
    own = code.op(search)
    if values is not None:
        _count_lost(site, spec, own, group)
    last = code.label()
    code.add(f"br label %{last}")
    code.inner(last)
    code.add(f"br label %{done}")
    code.inner(done)
    mine = code.op(f"phi i64 [ 0, %{start} ], [ {own}, %{last} ]")
    shared = warp.from_lane(unit, code, group, mine, warp.first(unit, code, group))
    return code.op(f"and i64 {shared}, -2"), code.op(f"and i64 {mine}, 1")


def _count_lost(site: Site, spec: MapSpec, found: str, group: str) -> None:
    """Count the updates that found no room: one for each thread of the group."""
    code, unit = site.code, site.unit
    lost, done = code.label(), code.label()
    code.split(code.op(f"icmp eq i64 {found}, 0"), lost, done)
    code.inner(lost)
    address = code.op(f"add i64 {unit.head(code, spec.name)}, {DROPPED}")
    number = warp.count(unit, code, group) if group else "1"
    warp.reduce(code, "add.u64", address, number, unit.scope(spec.name))
    code.add(f"br label %{done}")
    code.inner(done)


def _value(site: Site, spec: MapSpec, place: str) -> str:
    """Give the address of the value of an entry, 0 where there is no entry."""
    code = site.code
    address = code.op(f"add i64 {place}, {layout_of(spec, 1, 1).value}")
    return code.op(f"select i1 {code.op(f'icmp eq i64 {place}, 0')}, i64 0, i64 {address}")


def lookup(site: Site, spec: MapSpec) -> str:
    """Emit map_lookup_elem."""
    return _value(site, spec, entry(site, spec, None)[0])


def find_or_add(site: Site) -> str:
    """Emit the language's look-up that makes a value of zeros where there is none."""
    spec = site.known()
    zeros = ["0"] * (layout_of(spec, 1, 1).stride // 8)
    return _value(site, spec, entry(site, spec, zeros)[0])


def update(site: Site, spec: MapSpec) -> str:
    """Emit map_update_elem with its flags.

    Raises:
        Unsupported: the flags are not constant.
    """
    code = site.code
    flags = site.call.constants.get(4)
    if flags is None or flags > EXIST:
        raise site.unit.refused(
            site.index, f"{site.name}: the flags must be a constant from 0 to 2 on a device"
        )
    values = None if flags == EXIST else site.words(3, spec.value_size)
    place, made = entry(site, spec, values)
    write, done, start = (code.label() for _ in range(3))
    none = code.op(f"icmp eq i64 {place}, 0")
    refused = code.op(f"select i1 {none}, i64 {ENOENT if flags == EXIST else E2BIG}, i64 {EEXIST}")
    stop = none
    if flags == NOEXIST:
        stop = code.op(f"or i1 {none}, {code.op(f'icmp eq i64 {made}, 0')}")
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(stop, done, write)
    code.inner(write)
    store_value(site, spec, code.op(f"add i64 {place}, {layout_of(spec, 1, 1).value}"))
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i64 [ {refused}, %{start} ], [ 0, %{write} ]")


def delete(site: Site, spec: MapSpec) -> str:
    """Emit map_delete_elem: of the threads that delete one key, one does."""
    code, unit = site.code, site.unit
    place, _ = entry(site, spec, None)
    bury, took, done, start = (code.label() for _ in range(4))
    code.add(f"br label %{start}")
    code.inner(start)
    code.split(code.op(f"icmp eq i64 {place}, 0"), done, bury)
    code.inner(bury)
    state = warp.load(code, place)
    ready = code.op(f"or i64 {code.op(f'and i64 {state}, {TAG}')}, {READY}")
    grave = code.op(f"or i64 {code.op(f'and i64 {state}, {TAG}')}, {GRAVE}")
    scope = unit.scope(spec.name)
    old = warp.exchange(code, "cas.b64", place, [ready, grave], scope)
    code.split(code.op(f"icmp eq i64 {old}, {ready}"), took, done)
    code.inner(took)
    head = code.op(f"add i64 {unit.head(code, spec.name)}, {USED}")
    warp.reduce(code, "add.u64", head, "-1", scope)
    code.add(f"br label %{done}")
    code.inner(done)
    return code.op(f"phi i64 [ {ENOENT}, %{start} ], [ {ENOENT}, %{bury} ], [ 0, %{took} ]")
