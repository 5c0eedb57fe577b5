"""What each helper is on a device: a table from its number to what emits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.helpers.device import FIND_OR_ADD, FIND_UNIFORM
from runtime.nvptx import arrays, hashes, ring, special, warp
from runtime.nvptx.layout import ARRAYS, HASHES, THREADED

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.nvptx.call import Site

EINVAL = -22


def _lookup(site: Site) -> str:
    spec = site.known()
    if spec.kind in HASHES:
        return hashes.lookup(site, spec)
    if spec.kind in ARRAYS | THREADED:
        return arrays.lookup(site, spec)
    raise site.unit.refused(site.index, f"map '{spec.name}' has no values to look up")


def _update(site: Site) -> str:
    spec = site.known()
    return hashes.update(site, spec) if spec.kind in HASHES else arrays.update(site, spec)


def _find_or_add(site: Site) -> str:
    return hashes.find_or_add(site) if site.known().kind in HASHES else _lookup(site)


def _delete(site: Site) -> str:
    spec = site.known()
    return hashes.delete(site, spec) if spec.kind in HASHES else str(EINVAL)


def _frame(site: Site) -> str:
    """Give memory for the rest of the program: local memory, where LLVM cannot dissolve it."""
    name = f"%frame{site.index}"
    size = site.call.constants[1]
    site.code.alloca(name, f"[{size} x i8]", 16)
    site.unit.frames[site.index] = name
    return site.code.number(name)


def _zero(site: Site) -> str:
    _each_word(site, lambda _at, _bits: "0")
    return "0"


def _copy(site: Site) -> str:
    source = site.pointer(2)

    def read(at: int, bits: int) -> str:
        return site.code.op(f"load i{bits}, ptr {site.code.at(source, at)}, align {bits // 8}")

    _each_word(site, read)
    return "0"


def _each_word(site: Site, value: Callable[[int, int], str]) -> None:
    """Write memory that argument 1 points to; the last argument is how many bytes, a constant."""
    number = 2 if site.call.helper == ZERO else 3
    if number not in site.call.constants:
        raise site.unit.refused(site.index, f"{site.name}: the size must be a constant on a device")
    size, target = site.call.constants[number], site.pointer(1)
    for at in range(0, size & ~7, 8):
        site.code.add(f"store i64 {value(at, 64)}, ptr {site.code.at(target, at)}, align 8")
    for at in range(size & ~7, size):
        site.code.add(f"store i8 {value(at, 8)}, ptr {site.code.at(target, at)}, align 1")


def _log2(site: Site) -> str:
    some = site.code.op(f"or i64 {site.arg(1)}, 1")
    zeros = site.unit.call(site.code, "i64", "ctlz.i64", f"i64 {some}, i1 true")
    return site.code.op(f"xor i64 {zeros}, 63")


def _agg_max(site: Site) -> str:
    """Raise a value, and mark it as set behind it; most calls do not raise it and only load."""
    code, value = site.code, site.arg(2)
    place = site.arg(1)
    flag = code.op(f"add i64 {place}, 8")
    raise_, check, mark, done = (code.label() for _ in range(4))
    now = warp.load(code, place)
    code.split(code.op(f"icmp ugt i64 {value}, {now}"), raise_, check)
    code.inner(raise_)
    warp.reduce(code, "max.u64", place, value, "sys" if site.unit.pinned else "gpu")
    code.add(f"br label %{check}")
    code.inner(check)
    code.split(code.op(f"icmp eq i64 {warp.load(code, flag)}, 0"), mark, done)
    code.inner(mark)
    warp.store(code, flag, "1")
    code.add(f"br label %{done}")
    code.inner(done)
    return "0"


ZERO = 100003
EMIT: dict[int, Callable[[Site], str]] = {
    **special.EMIT,
    **ring.EMIT,
    1: _lookup,
    2: _update,
    3: _delete,
    FIND_OR_ADD: _find_or_add,
    FIND_UNIFORM: _find_or_add,
    100000: _frame,
    100001: _log2,
    100002: _agg_max,
    ZERO: _zero,
    100004: _copy,
}
