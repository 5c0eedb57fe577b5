"""What `ctx` points to: the registers of a function probe, or what a counter's overflow comes with.

Sources: linux/ptrace.h as the kernel itself names the registers, linux/bpf_perf_event.h.
"""

from __future__ import annotations

from runtime.ebpf.context import PT_REGS_SIZE, REGISTERS
from runtime.lang.c.types import Body, Field, Struct
from runtime.lang.types import UINT64
from runtime.types import ContextKind


def _of_words(name: str, fields: list[Field]) -> Struct:
    body = Body()
    body.define(max(field.offset + field.type.size for field in fields), 8, fields)
    return Struct("struct", name, "", body)


def _kernel_name(register: str) -> str:
    """`rax` is `ax` there; r8 to r15 and the others keep their names."""
    if register == "orig_rax":
        return "orig_ax"
    return register[1:] if register[0] == "r" and not register[1].isdigit() else register


PT_REGS = _of_words(
    "pt_regs",
    [Field(_kernel_name(name), UINT64, 8 * i) for i, name in enumerate(REGISTERS)],
)
PERF_DATA = _of_words(
    "bpf_perf_event_data",
    [
        Field("regs", PT_REGS, 0),
        Field("sample_period", UINT64, PT_REGS_SIZE),
        Field("addr", UINT64, PT_REGS_SIZE + 8),
    ],
)
CONTEXTS = {
    ContextKind.UPROBE: PT_REGS,
    ContextKind.URETPROBE: PT_REGS,
    ContextKind.USDT: PT_REGS,
    ContextKind.PERF_EVENT: PERF_DATA,
}
KNOWN = {("struct", struct.name): struct for struct in (PT_REGS, PERF_DATA)}
