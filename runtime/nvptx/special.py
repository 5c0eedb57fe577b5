"""Helpers that read where and when a thread runs. Source: PTX ISA, "Special Registers"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.helpers.device import EXIT, PARAMETER, PARAMETERS
from runtime.nvptx import warp
from runtime.nvptx.layout import CLOCK_OFFSET, PID_TGID, SEED
from runtime.nvptx.unit import MODERN

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.jit.code import Code
    from runtime.nvptx.call import Site
    from runtime.nvptx.unit import Unit

AXES = ("x", "y", "z")
TRIPLES = {503: "ctaid", 504: "ntid", 505: "tid", 508: "nctaid"}
# splitmix64, which gives every 64-bit number another one.
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
GOLDEN = 0x9E3779B97F4A7C15


def _register(name: str, bits: int = 32) -> Callable[[Site], str]:
    return lambda site: site.unit.special(site.code, name, bits)


def _assembly(text: str, bits: int = 32) -> Callable[[Site], str]:
    return lambda site: site.unit.assembly(site.code, text, bits)


def _triple(site: Site) -> str:
    name = TRIPLES[site.call.helper]
    for number, axis in enumerate(AXES, 1):
        value = site.unit.special(site.code, f"{name}.{axis}")
        site.code.add(f"store i64 {value}, ptr {site.pointer(number)}, align {site.align(number)}")
    return "0"


def linear(unit: Unit, code: Code, position: str, size: str) -> str:
    """Give `x + size.x * (y + size.y * z)` of two special registers, as an i64."""
    x, y, z = (unit.special(code, f"{position}.{axis}") for axis in AXES)
    wide, high = (unit.special(code, f"{size}.{axis}") for axis in AXES[:2])
    row = code.op(f"add i64 {code.op(f'mul i64 {z}, {high}')}, {y}")
    return code.op(f"add i64 {code.op(f'mul i64 {row}, {wide}')}, {x}")


def linear_thread(site: Site) -> str:
    """Give the thread's number in the whole grid, as an i64."""
    code, unit = site.code, site.unit
    sizes = [unit.special(code, f"ntid.{axis}") for axis in AXES]
    block = linear(unit, code, "ctaid", "nctaid")
    threads = code.op(f"mul i64 {code.op(f'mul i64 {sizes[0]}, {sizes[1]}')}, {sizes[2]}")
    return code.op(f"add i64 {code.op(f'mul i64 {block}, {threads}')}, {linear(unit, code, 'tid', 'ntid')}")


def mixed(code: Code, value: str) -> str:
    """Give another 64-bit number for each one, all bits of which depend on all bits of it."""
    for shift, factor in MIX:
        value = code.op(f"xor i64 {value}, {code.op(f'lshr i64 {value}, {shift}')}")
        value = code.op(f"mul i64 {value}, {factor}")
    return code.op(f"xor i64 {value}, {code.op(f'lshr i64 {value}, 31')}")


def _nanoseconds(site: Site) -> str:
    offset = site.unit.context(site.code, CLOCK_OFFSET)
    return site.code.op(f"add i64 {site.unit.special(site.code, 'globaltimer', 64)}, {offset}")


def _random(site: Site) -> str:
    code, unit = site.code, site.unit
    now = unit.special(code, "clock64", 64)
    thread = code.op(f"mul i64 {linear_thread(site)}, {GOLDEN}")
    number = code.op(f"xor i64 {code.op(f'add i64 {now}, {thread}')}, {unit.context(code, SEED)}")
    return code.op(f"lshr i64 {mixed(code, number)}, 32")


def _fence(site: Site) -> str:
    text = "fence.sc.sys;" if site.unit.arch >= MODERN else "membar.sys;"
    site.code.add(f'call void asm sideeffect "{text}", "~{{memory}}"()')
    return "0"


def _exit(site: Site) -> str:
    site.unit.exits = True
    site.code.add('call void asm sideeffect "exit;", "~{memory}"()')
    return "0"


def _population(site: Site) -> str:
    return site.unit.call(site.code, "i64", "ctpop.i64", f"i64 {site.arg(1)}")


def _uniform(site: Site) -> str:
    """Tell whether all threads that run together have the same value."""
    code, unit = site.code, site.unit
    mask = warp.active(unit, code)
    value = code.op(f"add i64 {site.arg(1)}, 0")
    first = warp.from_lane(unit, code, mask, value, warp.first(unit, code, mask))
    same = code.op(f"icmp eq i64 {value}, {first}")
    return code.widen(
        unit.call(code, "i1", "nvvm.vote.all.sync", f"i32 {mask}, i1 {same}", warp.CONVERGENT), 1
    )


def _cluster(site: Site) -> str:
    site.unit.least = (90, (7, 8))
    return site.unit.assembly(site.code, "mov.u32 $0, %clusterid.x;")


def _kernel(site: Site) -> str:
    return site.unit.input(site.code, "k")


def _parameter(site: Site) -> str:
    """Give a parameter of the kernel by its constant number."""
    number = site.call.constants.get(1)
    if number is None or number >= PARAMETERS:
        raise site.unit.refused(
            site.index, f"{site.name}(): the number must be a constant from 0 to {PARAMETERS - 1}"
        )
    return site.unit.input(site.code, f"p{number}")


EMIT: dict[int, Callable[[Site], str]] = {
    5: _nanoseconds,
    7: _random,
    8: _register("smid"),
    14: lambda site: site.unit.context(site.code, PID_TGID),
    502: _register("globaltimer", 64),
    506: _fence,
    **dict.fromkeys(TRIPLES, _triple),
    EXIT: _exit,
    509: _register("smid"),
    510: _register("warpid"),
    511: _register("laneid"),
    512: _register("clock64", 64),
    513: _register("nsmid"),
    514: _assembly("mov.u64 $0, %gridid;", 64),
    515: lambda site: site.code.widen(warp.active(site.unit, site.code), 32),
    516: _population,
    517: _uniform,
    518: _kernel,
    519: _assembly("mov.u32 $0, %dynamic_smem_size;"),
    520: _cluster,
    PARAMETER: _parameter,
    100041: linear_thread,
    100042: lambda site: linear(site.unit, site.code, "ctaid", "nctaid"),
}
