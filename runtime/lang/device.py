"""Builtins of CUDA probes, by kind of probe, and what of the language GPU kernels do not have.

In a kernel the names are registers of the thread; at launches and loads, on the host, words of a structure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runtime.ebpf.context import DEVICE_ENTRY, DEVICE_KERNEL
from runtime.lang import memory, tree
from runtime.lang.builtins import BUILTINS, Builtin, argument_number, fixed_helper
from runtime.lang.c.types import Enum
from runtime.lang.printed import CUDA_KERNEL
from runtime.lang.types import UINT8, UINT32, UINT64, UNKNOWN, String, Tuple, Type
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.checker import Checker
    from runtime.lang.generator import Generator
    from runtime.lang.providers import Provider

AXES = ("x", "y", "z")
TRIPLE = Tuple((UINT64, UINT64, UINT64), AXES)
KTIME, PID_TGID, GLOBALTIMER, BLOCK, BLOCK_DIM, THREAD, GRID = 5, 14, 502, 503, 504, 505, 508
SM, WARP, LANE, CLOCK, SMS, GRID_ID, ACTIVE = 509, 510, 511, 512, 513, 514, 515
LINEAR_THREAD, LINEAR_BLOCK = 100041, 100042
OPERATION = Enum(1, False, False, "cuda_op", (("ld", 0), ("st", 1), ("atom", 2), ("red", 3)))
SPACE = Enum(
    1, False, False, "cuda_space", (("generic", 0), ("global", 1), ("shared", 2), ("local", 3), ("const", 4))
)
MISSING = "{} does not exist in GPU kernels"


def _nothing(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.set(0, 0)


def _triple(number: int) -> Callable[[Generator, Any, Place], None]:
    """Write the three numbers that a helper gives."""

    def fill(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
        del node
        for index in range(len(AXES)):
            g.code.address(1 + index, place + 8 * index)
        g.code.call(number)

    return fill


def _words(offset: int) -> Callable[[Generator, Any, Place], None]:
    """Copy three words of the context."""

    def fill(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
        del node
        for at in range(0, TRIPLE.size, 8):
            g.code.load(1, g.context(offset + at), 8)
            g.code.store(place + at, 1, 8)

    return fill


def _field(offset: int, size: int = 8) -> Callable[[Generator, Any], None]:
    def lower(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
        del node
        g.code.load(0, g.context(offset), size)

    return lower


def _call_time(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    """Compute the cycles since the kernel's entry."""
    with g.storage.scope():
        slot = g.storage.take(8)
        g.code.call(CLOCK)
        g.code.store(slot, 0, 8)
        _field(DEVICE_ENTRY)(g, node)
        g.code.move(1, 0)
        g.code.load(0, slot, 8)
        g.code.alu("-", 0, 1)


def _high(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    fixed_helper(PID_TGID)(g, node)
    g.code.alu_constant(">>", 0, 32)


def _probe_name(state: Any) -> bytes:  # noqa: ANN401  # checker or generator
    text: str = state.body.points[0].text
    return text.encode("utf-8", "surrogateescape")


def _probe_type(c: Any, node: Any) -> Type:  # noqa: ANN401  # checker and node
    if len(c.body.points) > 1:
        c.fail(node.at, "probe is not known where probes share a block in GPU kernels", "use kernel")
        return UNKNOWN
    return String(len(_probe_name(c)) + 1)


def _fill_probe(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    memory.constant(g, place, _probe_name(g).ljust(node.type.capacity, b"\0"))


_THREADS = (
    Builtin("probe", UNKNOWN, _nothing, _fill_probe, typed=_probe_type),
    Builtin("thread", TRIPLE, _nothing, _triple(THREAD)),
    Builtin("block", TRIPLE, _nothing, _triple(BLOCK)),
    Builtin("bdim", TRIPLE, _nothing, _triple(BLOCK_DIM)),
    Builtin("grid", TRIPLE, _nothing, _triple(GRID)),
    Builtin("tid", UINT64, fixed_helper(LINEAR_THREAD)),
    Builtin("bid", UINT64, fixed_helper(LINEAR_BLOCK)),
    Builtin("smid", UINT32, fixed_helper(SM)),
    Builtin("nsmid", UINT32, fixed_helper(SMS)),
    Builtin("warp", UINT32, fixed_helper(WARP)),
    Builtin("lane", UINT32, fixed_helper(LANE)),
    Builtin("active", UINT32, fixed_helper(ACTIVE)),
    Builtin("clock", UINT64, fixed_helper(CLOCK)),
    Builtin("globaltimer", UINT64, fixed_helper(GLOBALTIMER)),
    Builtin("nsecs", UINT64, fixed_helper(KTIME)),
    Builtin("gridid", UINT64, fixed_helper(GRID_ID)),
    Builtin("kernel", CUDA_KERNEL, _field(DEVICE_KERNEL)),
    Builtin("pid", UINT32, _high),
)
_MEMORY = (
    Builtin("addr", UINT64, _field(0)),
    Builtin("size", UINT32, _field(8, 4)),
    Builtin("op", OPERATION, _field(12, 1)),
    Builtin("space", SPACE, _field(13, 1)),
    Builtin("data", UINT64, _field(16)),
    Builtin("line", UINT32, _field(32, 4)),
    Builtin("site", UINT32, _field(36, 4)),
)
# struct { u64 grid[3], block[3], smem, stream, kernel, corr, duration; }, which the hook of a launch fills
LAUNCH_BYTES, LOAD_BYTES = 88, 24
_LAUNCH = (
    Builtin("grid", TRIPLE, _nothing, _words(0)),
    Builtin("block", TRIPLE, _nothing, _words(24)),
    Builtin("smem", UINT64, _field(48)),
    Builtin("stream", UINT64, _field(56)),
    Builtin("kernel", CUDA_KERNEL, _field(64)),
    Builtin("corr", UINT64, _field(72)),
)
# struct { u64 arch, size, woven; }
_LOAD = (
    Builtin("arch", UINT32, _field(0)),
    Builtin("size", UINT64, _field(8)),
    Builtin("woven", UINT8, _field(16)),
)
OWN: dict[str, dict[str, Builtin]] = {
    provider: {row.name: row for row in rows}
    for provider, rows in {
        "cuda": _THREADS,
        "cudaret": (*_THREADS, Builtin("elapsed", UINT64, _call_time)),
        "cudamem": (*_THREADS, *_MEMORY),
        "cudalaunch": _LAUNCH,
        "cudadone": (*_LAUNCH, Builtin("duration", UINT64, _field(80))),
        "cudaload": _LOAD,
    }.items()
}
# Builtins that all threads of a warp share.
UNIFORM = frozenset(
    (
        *("block", "bdim", "grid", "bid", "smid", "nsmid", "warp", "gridid"),
        *("kernel", "pid", "probe", "op", "size", "space", "line", "site"),
    )
)
ALLOWED = frozenset(("rand", "probetype", "usermode"))  # builtins that mean the same in kernels
INSTEAD = {
    "cpu": "use smid",
    "comm": "use kernel",
    "func": "use kernel",
    "ustack": "a device has no stack of the host",
    "kstack": "a device has no stack of the host",
    "elapsed": "use cudaret for the cycles since the entry, or nsecs",
    "retval": "a kernel gives nothing back",
    "ctx": "use arg0, arg1, …",
    "args": "use arg0, arg1, …",
    "corr": "use gridid, which each launch has its own of",
}
# Functions that work in kernels: those that send records, and those on maps and types.
FUNCTIONS = frozenset(
    (
        *("printf", "errorf", "warnf", "print", "emit", "time", "exit", "exit_thread", "clear", "zero"),
        *("delete", "has_key", "find", "fail", "static_assert", "kfunc_exist", "kfunc_allowed", "bswap"),
        *("is_ptr", "is_str", "is_array", "is_integer", "is_unsigned_integer", "is_literal"),
    )
)
NO_FUNCTION = {
    "str": "strings lie in memory of the host: print the address",
    "system": "use it where the host runs: cudalaunch, interval, END",
    "signal": "use it where the host runs: cudalaunch",
    "tseries": "use count() and print it by interval",
    "len": "use it where the host runs: interval, END",
}


def find(provider: Provider, name: str) -> Builtin | None:
    """Give what a name is in a kind of probe, None where it is no builtin."""
    own = OWN.get(provider.name, {})
    row = own.get(name) or BUILTINS.get(name)
    if row is None or name in own or not provider.device or name in ALLOWED:
        return row
    hint = INSTEAD.get(name, "use it where the host runs: cudalaunch, interval, END")
    return replace(row, reason=hint, refusal=MISSING.format(name))


def is_uniform(node: tree.Expr) -> bool:
    """Tell whether all threads of a warp that run together have the same value of an expression."""
    if isinstance(node, tree.Integer | tree.String | tree.Boolean):
        return True
    if isinstance(node, tree.Identifier):
        return node.name in UNIFORM or argument_number(node.name) is not None
    kinds = (tree.Tuple, tree.Record, tree.Binary, tree.Unary, tree.Cast, tree.Member, tree.Item)
    return isinstance(node, kinds) and all(
        is_uniform(child) for child in tree.children(node) if isinstance(child, tree.Expr)
    )


def names(provider: Provider) -> list[str]:
    """Give the names of all builtins of a kind of probe."""
    own = OWN.get(provider.name, {})
    return [*own, *(name for name in BUILTINS if not provider.device or name in ALLOWED)]


def elsewhere(name: str) -> str:
    """Name the kinds of probes that have a builtin, "" where none has."""
    found = [provider for provider, rows in OWN.items() if name in rows]
    return f"{name} is a builtin of {', '.join(found)} probes" if found else ""


def check_function(c: Checker, node: tree.Call) -> Type | None:
    """Record that a function is not to be had in a kernel; None where it is."""
    if not c.body.provider.device or node.name in FUNCTIONS or node.name in c.functions:
        return None
    hint = NO_FUNCTION.get(node.name, "use it where the host runs: cudalaunch, interval, END")
    c.fail(node.name_at, MISSING.format(f"{node.name}()"), hint)
    return UNKNOWN
