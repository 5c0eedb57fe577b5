"""Types of the contexts that programs get, as BTF: what CO-RE relocations of `ctx->member` resolve to.

Objects built against a kernel's vmlinux.h relocate even `ctx->di`; these are the layouts of our own contexts.
Registers have the names of the kernel and of the user-space header, each pair in an anonymous union.
"""

from __future__ import annotations

from functools import cache

from runtime.btf.build import Builder
from runtime.btf.types import SIGNED, Btf, Kind
from runtime.ebpf.context import PT_REGS_SIZE, REGISTERS

_KERNEL_NAMES = {
    **{"rbp": "bp", "rbx": "bx", "rax": "ax", "rcx": "cx", "rdx": "dx", "rsi": "si", "rdi": "di"},
    **{"orig_rax": "orig_ax", "rsp": "sp", "ip": "rip", "flags": "eflags"},
}


@cache
def context_btf() -> Btf:
    """The built-in types."""
    b = Builder()
    ulong, slong = b.integer("unsigned long", 8), b.integer("long", 8, SIGNED)
    byte, half, word = (
        b.integer("unsigned char", 1),
        b.integer("unsigned short", 2),
        b.integer("int", 4, SIGNED),
    )
    fields = []
    for number, name in enumerate(REGISTERS):
        other = _KERNEL_NAMES.get(name)
        kind = ulong
        if other:
            kind = b.composite(Kind.UNION, "", 8, [(name, ulong, 0), (other, ulong, 0)])
        fields.append(("" if other else name, kind, 8 * number))
    regs = b.composite(Kind.STRUCT, "pt_regs", PT_REGS_SIZE, fields)
    b.composite(Kind.STRUCT, "user_pt_regs", PT_REGS_SIZE, fields)
    head = [("type", half, 0), ("flags", byte, 2), ("preempt_count", byte, 3), ("pid", word, 4)]
    entry = b.composite(Kind.STRUCT, "trace_entry", 8, head)
    six, none = b.array(ulong, word, 6), b.array(byte, word, 0)
    enter = [("ent", entry, 0), ("id", slong, 8), ("args", six, 16), ("__data", none, 64)]
    leave = [("ent", entry, 0), ("id", slong, 8), ("ret", slong, 16), ("__data", none, 24)]
    b.composite(Kind.STRUCT, "trace_event_raw_sys_enter", 64, enter)
    b.composite(Kind.STRUCT, "trace_event_raw_sys_exit", 24, leave)
    b.composite(Kind.STRUCT, "bpf_raw_tracepoint_args", 0, [("args", b.array(ulong, word, 0), 0)])
    data = [("regs", regs, 0), ("sample_period", ulong, 168), ("addr", ulong, 176)]
    b.composite(Kind.STRUCT, "bpf_perf_event_data", 184, data)
    return Btf(b.finish(), "built-in types")
