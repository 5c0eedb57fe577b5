"""Section names: what kind of program, and what it says about where to attach. Source: libbpf's table."""

from __future__ import annotations

from typing import NamedTuple

from runtime.types import ContextKind


class Role(NamedTuple):
    """What a section name says. `attach`: the text after the first slash. `known`: a prefix of the table."""

    context: ContextKind
    attach: str
    autoload: bool
    known: bool


_K = ContextKind
_PREFIXES = {
    **dict.fromkeys(("uprobe", "uprobe.s", "uprobe.multi", "uprobe.multi.s"), _K.UPROBE),
    **dict.fromkeys(("uprobe.session", "uprobe.session.s"), _K.UPROBE),
    **dict.fromkeys(("uretprobe", "uretprobe.s", "uretprobe.multi", "uretprobe.multi.s"), _K.URETPROBE),
    **dict.fromkeys(("uprobe.override", "ureplace"), _K.UPROBE),
    **dict.fromkeys(("usdt", "usdt.s"), _K.USDT),
    **dict.fromkeys(
        ("kprobe", "kretprobe", "kprobe.multi", "kretprobe.multi", "kprobe.session"), _K.KSYSCALL
    ),
    **dict.fromkeys(("ksyscall", "kretsyscall"), _K.KSYSCALL),
    **dict.fromkeys(("cuda", "cudarun"), _K.CUDA),
    "cudaret": _K.CUDA_RETURN,
    "cudamem": _K.CUDA_MEMORY,
    "perf_event": _K.PERF_EVENT,
    **dict.fromkeys(("xdp", "xdp.frags", "tc", "classifier", "action", "socket", "syscall"), _K.MEMORY),
    **dict.fromkeys(("fentry", "fexit", "fmod_ret", "freplace", "lsm", "iter", "struct_ops"), _K.MEMORY),
    **dict.fromkeys(("fentry.s", "fexit.s", "fmod_ret.s", "lsm.s", "iter.s", "struct_ops.s"), _K.MEMORY),
    **dict.fromkeys(("cgroup", "sk_msg", "sk_skb", "sk_lookup", "sk_reuseport", "sockops"), _K.MEMORY),
    **dict.fromkeys(("flow_dissector", "netfilter", "lwt_in", "lwt_out", "lwt_xmit", "tcx"), _K.MEMORY),
}
DEVICE_PROGRAM = "cuda__"  # what names of programs for GPU kernels begin with in objects for bpftime
DEVICE_PREFIXES = ("cuda", "cudaret", "cudamem", "cudarun")
CAPTURE = "__memcapture"  # pseudo kernel: every memory instruction
_TRACEPOINTS = ("tracepoint", "tp")
_RAW_TRACEPOINTS = ("raw_tp", "raw_tracepoint", "raw_tp.w", "raw_tracepoint.w", "tp_btf")


def role_of(section: str, name: str) -> Role:
    """What the program `name` in a section is.

    An unknown prefix is a program that is attached by hand: it gets the context of a uprobe.
    """
    autoload = not section.startswith("?")
    prefix, _, rest = section.removeprefix("?").partition("/")
    if name.startswith(DEVICE_PROGRAM) and prefix not in DEVICE_PREFIXES:
        return Role(_kernel_context(prefix, rest), rest, autoload, True)
    if prefix in _TRACEPOINTS:
        return Role(_tracepoint(rest), rest, autoload, True)
    if prefix in _RAW_TRACEPOINTS:
        context = ContextKind.RAW_SYS_EXIT if rest == "sys_exit" else ContextKind.RAW_SYS_ENTER
        return Role(context, rest, autoload, True)
    if prefix in _PREFIXES:
        return Role(_PREFIXES[prefix], rest, autoload, True)
    return Role(ContextKind.UPROBE, rest, autoload, False)


def _kernel_context(prefix: str, rest: str) -> ContextKind:
    if rest.startswith(CAPTURE):
        return ContextKind.CUDA_MEMORY
    return ContextKind.CUDA_RETURN if prefix.startswith("kret") else ContextKind.CUDA


def _tracepoint(rest: str) -> ContextKind:
    event = rest.partition("/")[2]
    return ContextKind.SYS_EXIT if event.startswith("sys_exit") else ContextKind.SYS_ENTER
