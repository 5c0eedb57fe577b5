"""What the threads of a warp do together: find each other, choose one of them, add up.

Threads that run the same instruction now are a group; under divergence each group works for itself. Source
for the instructions: PTX ISA, "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.nvptx.unit import MODERN

if TYPE_CHECKING:
    from runtime.jit.code import Code
    from runtime.nvptx.unit import Unit

CONVERGENT = " convergent"
STEPS = (16, 8, 4, 2, 1)
ALL = -1  # mask of a whole warp
CLAMP = 31  # of shfl: lanes of the whole warp


def active(unit: Unit, code: Code) -> str:
    """Give the mask of the threads that run together here, an i32."""
    return unit.call(code, "i32", "nvvm.activemask", "", CONVERGENT)


def same(unit: Unit, code: Code, mask: str, value: str) -> str:
    """Give the mask of those threads of `mask` that have this i64 as well."""
    return unit.call(code, "i32", "nvvm.match.any.sync.i64", f"i32 {mask}, i64 {value}", CONVERGENT)


def first(unit: Unit, code: Code, mask: str) -> str:
    """Give the number of the lowest lane in a mask, an i32."""
    return unit.call(code, "i32", "cttz.i32", f"i32 {mask}, i1 true")


def lane(unit: Unit, code: Code) -> str:
    """Give the own lane, an i32."""
    return unit.call(code, "i32", "nvvm.read.ptx.sreg.laneid")


def count(unit: Unit, code: Code, mask: str) -> str:
    """Give the number of threads in a mask, as an i64."""
    return code.widen(unit.call(code, "i32", "ctpop.i32", f"i32 {mask}"), 32)


def rank(unit: Unit, code: Code, mask: str) -> str:
    """Give how many threads of a mask have a lower lane than this one, as an i64."""
    below = unit.call(code, "i32", "nvvm.read.ptx.sreg.lanemask.lt")
    return count(unit, code, code.op(f"and i32 {mask}, {below}"))


def is_first(unit: Unit, code: Code, mask: str) -> str:
    """Give the i1 that is true for one thread of a mask."""
    return code.op(f"icmp eq i32 {lane(unit, code)}, {first(unit, code, mask)}")


def from_lane(unit: Unit, code: Code, mask: str, value: str, source: str) -> str:
    """Give an i64 that another lane has; all threads of the mask take part."""
    return _halves(
        unit, code, value, f"nvvm.shfl.sync.idx.i32(i32 {mask}, i32 {{}}, i32 {source}, i32 {CLAMP})"
    )


def _halves(unit: Unit, code: Code, value: str, call: str) -> str:
    """Move an i64 between lanes as two halves."""
    name, _, arguments = call[:-1].partition("(")
    low = code.narrow(value, 32)
    high = code.op(f"trunc i64 {code.op(f'lshr i64 {value}, 32')} to i32")
    moved = [unit.call(code, "i32", name, arguments.format(half), CONVERGENT) for half in (low, high)]
    upper = code.op(f"shl i64 {code.widen(moved[1], 32)}, 32")
    return code.op(f"or i64 {code.widen(moved[0], 32)}, {upper}")


def total(unit: Unit, code: Code, value: str) -> str:
    """Give the sum of an i64 over a warp whose threads are all here."""
    for step in STEPS:
        moved = _halves(
            unit, code, value, f"nvvm.shfl.sync.bfly.i32(i32 {ALL}, i32 {{}}, i32 {step}, i32 {CLAMP})"
        )
        value = code.op(f"add i64 {value}, {moved}")
    return value


def add(unit: Unit, code: Code, place: tuple[str, str], value: str, *, uniform: bool, constant: bool) -> None:
    """Add to eight bytes of device memory, once for each group of threads that mean the same place.

    `place`: address as an i64, and scope. `uniform`: all threads that are here mean the same address;
    `constant`: and all of them the same value.
    """
    address, scope = place
    if not uniform and (unit.arch < MODERN or not constant):
        reduce(code, "add.u64", address, value, scope)
        return
    mask = active(unit, code)
    if not constant:
        _add_sum(unit, code, mask, place, value)
        return
    group = mask if uniform else same(unit, code, mask, address)
    one, done = code.label(), code.label()
    code.split(is_first(unit, code, group), one, done)
    code.inner(one)
    number = count(unit, code, group)
    product = number if value == "1" else code.op(f"mul i64 {number}, {value}")
    reduce(code, "add.u64", address, product, scope)
    code.add(f"br label %{done}")
    code.inner(done)


def _add_sum(unit: Unit, code: Code, mask: str, place: tuple[str, str], value: str) -> None:
    """Add different values at one address: as one where the warp is whole, else each thread its own."""
    address, scope = place
    whole, alone, one, done = (code.label() for _ in range(4))
    code.split(code.op(f"icmp eq i32 {mask}, {ALL}"), whole, alone)
    code.inner(whole)
    everything = total(unit, code, value)
    code.split(code.op(f"icmp eq i32 {lane(unit, code)}, 0"), one, done)
    code.inner(one)
    reduce(code, "add.u64", address, everything, scope)
    code.add(f"br label %{done}")
    code.inner(alone)
    reduce(code, "add.u64", address, value, scope)
    code.add(f"br label %{done}")
    code.inner(done)


def reduce(code: Code, op: str, address: str, value: str, scope: str = "gpu") -> None:
    """Change device memory atomically without asking for the old value; `op` such as `add.u64`."""
    bits, letter = (64, "l") if op.endswith("64") else (32, "r")
    where = ".sys" if scope == "sys" else ""
    code.add(
        f'call void asm sideeffect "red{where}.global.{op} [$0], $1;", "l,{letter},~{{memory}}"'
        f"(i64 {address}, i{bits} {value})"
    )


def exchange(code: Code, op: str, address: str, values: list[str], scope: str = "gpu") -> str:
    """Change device memory atomically and give the old value; `op` such as `cas.b64`, i32 or i64."""
    bits, letter = (64, "l") if op.endswith("64") else (32, "r")
    where = ".sys" if scope == "sys" else ""
    operands = ", ".join(f"${n + 2}" for n in range(len(values)))
    kinds = "".join(f",{letter}" for _ in values)
    arguments = "".join(f", i{bits} {value}" for value in values)
    return code.op(
        f'call i{bits} asm sideeffect "atom{where}.global.{op} $0, [$1], {operands};",'
        f' "={letter},l{kinds},~{{memory}}"(i64 {address}{arguments})'
    )


def load(code: Code, address: str, bits: int = 64) -> str:
    """Load device memory as it is now, past the first-level cache; an iBITS."""
    pointer = code.op(f"inttoptr i64 {address} to ptr addrspace(1)")
    return code.op(f"load volatile i{bits}, ptr addrspace(1) {pointer}, align {bits // 8}")


def store(code: Code, address: str, value: str, bits: int = 64) -> None:
    """Store to device memory."""
    pointer = code.op(f"inttoptr i64 {address} to ptr addrspace(1)")
    code.add(f"store i{bits} {value}, ptr addrspace(1) {pointer}, align {bits // 8}")


def publish(unit: Unit, code: Code, address: str, value: str, scope: str = "gpu") -> None:
    """Store eight bytes so that whoever sees them sees all that this thread stored before."""
    if unit.arch >= MODERN:
        text = f"st.release.{scope}.global.u64 [$0], $1;"
    else:
        text = f"membar.{'sys' if scope == 'sys' else 'gl'};\\0A\\09st.volatile.global.u64 [$0], $1;"
    code.add(f'call void asm sideeffect "{text}", "l,l,~{{memory}}"(i64 {address}, i64 {value})')
