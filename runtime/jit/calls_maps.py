"""Map helpers: array look-ups as address arithmetic, hashes by a routine for their key size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import Unsupported
from runtime.jit.calls_inline import current_cpu
from runtime.jit.code import signed
from runtime.maps.layout import ARRAYS, HASHES, PER_CPU, MapLayout
from runtime.maps.spec import MapKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.jit.calls import Site
    from runtime.maps.spec import MapSpec

SPECIAL_KEYS = frozenset((4, 8, 16))  # key sizes with routines of their own


def _suffix(spec: MapSpec) -> str:
    return str(spec.key_size) if spec.key_size in SPECIAL_KEYS else "any"


def _head(site: Site) -> str:
    return site.unit.address(f"head:{site.spec.name}") if site.spec is not None else site.code.get(1)


def lookup(site: Site) -> str:
    """Emit map_lookup_elem; remember the result where a guarded access needs its base."""
    spec = site.spec
    if spec is None:
        result = site.invoke("map_lookup", [site.code.get(1), site.arg(2)])
    elif spec.kind in ARRAYS:
        result = _array(site, spec)
    elif spec.thread_keyed:
        result = site.invoke(f"thread_lookup_{_suffix(spec)}", [_head(site), site.arg(2)])
    elif spec.kind in HASHES:
        result = site.invoke(f"hash_lookup_{_suffix(spec)}", [_head(site), site.arg(2)])
    else:
        result = site.invoke("map_lookup", [_head(site), site.arg(2)])
    return result


def _array(site: Site, spec: MapSpec) -> str:
    code, layout = site.code, MapLayout.of(spec, site.unit.build.cpus)
    if spec.kind == MapKind.PROG_ARRAY:
        raise Unsupported(f"insn {site.index}: a program array has no values to look up")
    index = code.op(f"load i32, ptr {site.pointer(2)}, align 1")
    if site.call.key is not None:
        index = str(signed(int.from_bytes(site.call.key, "little"), 32))
    inside = code.op(f"icmp ult i32 {index}, {spec.max_entries}")
    wide = code.op(f"zext i32 {index} to i64")
    distance = code.op(f"mul nuw nsw i64 {wide}, {layout.stride}")
    # Of one entry there is one address; saying so lets the address become a constant.
    offset = "0" if spec.max_entries == 1 else distance
    if spec.kind in PER_CPU:
        cpu = code.op(f"mul nuw nsw i64 {current_cpu(site)}, {layout.block}")
        offset = code.op(f"add nuw nsw i64 {offset}, {cpu}")
    base = site.unit.symbol(f"map:{spec.name}", layout.cells * layout.block)
    place = code.op(f"getelementptr inbounds nuw i8, ptr {base}, i64 {offset}")
    pointer = code.op(f"select i1 {inside}, ptr {place}, ptr null")
    return code.number(pointer)


def update(site: Site) -> str:
    """Emit map_update_elem."""
    spec = site.spec
    if spec is not None and spec.thread_keyed:
        arguments = [_head(site), *(site.arg(n) for n in (2, 3, 4))]
        return site.invoke(f"thread_update_{_suffix(spec)}", arguments)
    name = "map_update"
    if spec is not None and spec.kind == MapKind.HASH and not spec.added_only and spec.value_size == 8:
        name = f"hash_update_{spec.key_size}_8" if spec.key_size in SPECIAL_KEYS else name
    return site.invoke(name, [_head(site), *(site.arg(n) for n in (2, 3, 4))])


def delete(site: Site) -> str:
    """Emit map_delete_elem."""
    spec = site.spec
    if spec is not None and spec.thread_keyed:
        return site.invoke(f"thread_delete_{_suffix(spec)}", [_head(site), site.arg(2)])
    return site.invoke("map_delete", [_head(site), site.arg(2)])


def submit(site: Site) -> str:
    """Emit ringbuf_submit: the record becomes visible when its length loses the busy bit."""
    return _finish(site, 0)


def discard(site: Site) -> str:
    """Emit ringbuf_discard."""
    return _finish(site, 1 << 30)


def _finish(site: Site, bits: int) -> str:
    code = site.code
    header = code.op(f"getelementptr i8, ptr {site.pointer(1)}, i64 -8")
    length = code.op(f"load i32, ptr {header}, align 8")
    final = code.op(f"and i32 {length}, {(1 << 30) - 1}")
    if bits:
        final = code.op(f"or i32 {final}, {bits}")
    code.add(f"store atomic i32 {final}, ptr {header} release, align 8")
    return "0"


def for_each(site: Site) -> str:
    """Emit for_each_map_elem: the agent walks, the callback is a function of the image."""
    code = site.code
    code.flush()
    callback = f"ptrtoint (ptr @sub_{site.call.callback} to i64)"
    shared = code.number("%cx")
    return site.invoke("map_for_each", [_head(site), callback, site.arg(3), site.arg(4), shared])


MAPS: dict[int, Callable[[Site], str]] = {
    1: lookup,
    2: update,
    3: delete,
    132: submit,
    133: discard,
    164: for_each,
}
