"""Probes for kernels whose bodies are written here, so that weaving is tested apart from any compiler.

Each adds to 64-bit words of global memory at the first map's address (context + 48).
"""

from __future__ import annotations

import struct

from attachers.cuda.ptx.probe import KernelProbe, Place, Space
from runtime.nvptx.body import WIDE, Body

EVERYWHERE = frozenset(Space)


def body(inputs=(), word=0):
    """Count in word `word`, and add each input in the words behind it, in the order given."""
    lines = [
        ".reg .b64 %rd<4>; .reg .pred %p<2>;",
        "ld.__BPFTIME_CTX_SPACE.u64 %rd1, [__bpftime_ctx+48];",
        "setp.eq.s64 %p1, %rd1, 0;",
        "@%p1 bra $BT_end;",
        f"red.global.add.u64 [%rd1+{8 * word}], 1;",
    ]
    for index, name in enumerate(inputs, word + 1):
        wide = name in WIDE
        lines.append(f"mov.b64 %rd2, %bt{name};" if wide else f"cvt.u64.u32 %rd2, %bt{name};")
        lines.append(f"red.global.add.u64 [%rd1+{8 * index}], %rd2;")
    names = frozenset(f"%bt{name}" for name in inputs)
    return Body(f"count{word}", "\n".join([*lines, "$BT_end:"]), names, ("m",), (6, 0), 60)


def entry(inputs=(), word=0, number=0, kernels=("*",)):
    return KernelProbe(body(inputs, word), Place.ENTRY, kernels, number, len)


def leaving(inputs=(), word=1, number=1, kernels=("*",)):
    return KernelProbe(body(inputs, word), Place.RETURN, kernels, number, len)


def memory(inputs=("z",), word=2, number=2, spaces=EVERYWHERE, kernels=("*",), **more):
    return KernelProbe(body(inputs, word), Place.MEMORY, kernels, number, len, spaces=spaces, **more)


PLACES = {
    "entry": (entry(("k", "p0")),),
    "return": (leaving(("k", "p1", "e")),),
    "memory": (memory(("a", "d0", "d1", "z", "o", "s", "l", "i", "k", "p0")),),
    "all": (entry(), leaving(), memory()),
}


def bind(machine, loaded, words=32, enabled=0xFF):
    """Fill a loaded module's context; gives what reads the words that bodies add to."""
    address, view = machine.memory.allocate(8 * words)
    context, _ = loaded.symbol("__bpftime_ctx")
    machine.memory.write(context, struct.pack("<Q", enabled))
    machine.memory.write(context + 48, struct.pack("<Q", address))
    return lambda: struct.unpack(f"<{words}Q", view)
