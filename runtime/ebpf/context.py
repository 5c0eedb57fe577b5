"""What the first argument of a program points to, for each kind of context.

Offsets and sizes in bytes, x86-64. Sources: linux/ptrace.h (`struct pt_regs`), the format files of
`syscalls/sys_enter_*` and `sys_exit_*`, linux/bpf_perf_event.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.types import ContextKind

# Register at each eighth byte of `struct pt_regs`.
REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax"),
    *("rcx", "rdx", "rsi", "rdi", "orig_rax", "ip", "cs", "flags", "rsp", "ss"),
)
REGISTER_AT = {8 * index: name for index, name in enumerate(REGISTERS)}
PT_REGS_SIZE = 8 * len(REGISTERS)  # 168
CONSTANT_REGISTERS = {"orig_rax": 2**64 - 1, "cs": 0x33, "ss": 0x2B}
ARGUMENT_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
GO_REGISTERS = ("rax", "rbx", "rcx", "rdi", "rsi", "r8")  # Go's internal ABI, src/cmd/compile/abi-internal.md
# Offsets behind the registers: what a function or marker was given, wherever its language puts that.
FUNCTION_ARGUMENTS = tuple(range(PT_REGS_SIZE, PT_REGS_SIZE + 8 * 6, 8))
MARKER_ARGUMENTS = tuple(range(PT_REGS_SIZE, PT_REGS_SIZE + 8 * 12, 8))
SYSCALL_REGISTERS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")


@dataclass(frozen=True, slots=True)
class Layout:
    """`size`: bytes of the structure. `words`: offset → name of the 8-byte word there.

    Words behind the structure are made for programs that read them, at constant offsets only.

    `writable`: byte ranges [start, end) that may be stored to. `zeros`: offsets of words that are always 0.
    """

    size: int
    words: dict[int, str] = field(default_factory=dict)
    writable: tuple[tuple[int, int], ...] = ()
    zeros: frozenset[int] = frozenset()

    def may_read(self, low: int, high: int, size: int) -> bool:
        """True when `size` bytes may be read at every offset in [low, high]."""
        return (low >= 0 and high + size <= self.size) or (
            low == high and low & ~7 in self.words and (low & 7) + size <= 8
        )

    def may_write(self, offset: int, size: int) -> bool:
        """True when all of [offset, offset + size) may be stored to."""
        return any(start <= offset and offset + size <= end for start, end in self.writable)


_PT_REGS = Layout(PT_REGS_SIZE, REGISTER_AT)
_SYS_ENTER = Layout(
    64, {8: "nr", **{16 + 8 * i: name for i, name in enumerate(SYSCALL_REGISTERS)}}, zeros=frozenset((0,))
)
_SYS_EXIT = Layout(24, {8: "nr", 16: "rax"}, zeros=frozenset((0,)))

# A device probe's words are inputs of `runtime/nvptx/body.py`. A memory probe's context begins with
# struct { u64 addr; u32 size; u8 op; u8 space; u16 flags; u64 data[2]; u32 line; u32 site; }
DEVICE_ENTRY, DEVICE_KERNEL, DEVICE_PARAMETERS = 40, 48, tuple(range(64, 64 + 8 * 16, 8))
_MEMORY_ACCESS = {0: "a", 8: "shape", 16: "d0", 24: "d1", 32: "place"}
_KERNEL = {DEVICE_KERNEL: "k", **{at: f"p{n}" for n, at in enumerate(DEVICE_PARAMETERS)}}

# MEMORY is not here: its size is known only at run time (r2).
LAYOUTS: dict[ContextKind, Layout] = {
    ContextKind.UPROBE: Layout(
        PT_REGS_SIZE, {**REGISTER_AT, **{at: f"arg{i}" for i, at in enumerate(FUNCTION_ARGUMENTS)}}
    ),
    ContextKind.URETPROBE: _PT_REGS,
    ContextKind.USDT: Layout(
        PT_REGS_SIZE, {**REGISTER_AT, **{at: f"marker{i}" for i, at in enumerate(MARKER_ARGUMENTS)}}
    ),
    ContextKind.KSYSCALL: _PT_REGS,
    ContextKind.CUDA: Layout(0, _KERNEL),
    ContextKind.CUDA_RETURN: Layout(0, {**_KERNEL, DEVICE_ENTRY: "e"}),
    ContextKind.CUDA_MEMORY: Layout(40, {**_MEMORY_ACCESS, **_KERNEL}),
    ContextKind.SYS_ENTER: _SYS_ENTER,
    ContextKind.SYS_EXIT: _SYS_EXIT,
    # The first word is the address of a pt_regs, read by fault-safe loads; sys_exit's second is the result.
    ContextKind.RAW_SYS_ENTER: Layout(16, {0: "regs", 8: "nr"}),
    ContextKind.RAW_SYS_EXIT: Layout(16, {0: "regs", 8: "rax"}),
    ContextKind.PERF_EVENT: Layout(184, {**REGISTER_AT, 168: "period", 176: "address"}),
    ContextKind.TIMER: Layout(0),
}
