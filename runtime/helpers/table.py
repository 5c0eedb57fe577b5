"""The helpers that programs may call, as data: one row each drives verifier, compiler and documentation.

Names lack the `bpf_` prefix. Ids 1-211 are the kernel's, 1000-1999 bpftime's extensions, 100000 and up the
private ones of the tracing language. Ids without a row here are in `runtime/helpers/refused.py`.
Source for argument kinds and results: the `bpf_func_proto` tables of Linux 6.x.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from runtime.helpers.refused import REFUSED


class Arg(Enum):
    """What an argument must be; memory takes its size from the next argument unless `Helper.sizes` says."""

    ANY = auto()  # any value that was set
    OPTIONAL = auto()  # not looked at, may be unset
    CONTEXT = auto()  # the program's context
    MAP = auto()
    KEY = auto()  # readable, key_size bytes of the map
    VALUE = auto()  # readable, value_size bytes of the map
    VALUE_OR_NULL = auto()
    VALUE_OUT = auto()  # writable, value_size bytes of the map
    READ = auto()  # initialised memory
    READ_OR_NULL = auto()
    WRITE = auto()  # memory that the helper fills
    WRITE_OR_NULL = auto()
    READ_FIXED = auto()  # `Helper.fixed` bytes
    WRITE_FIXED = auto()
    CHANGE_FIXED = auto()  # `Helper.fixed` bytes, read and written
    SIZE = auto()  # bytes of the memory before it, at least 1
    SIZE_OR_ZERO = auto()
    STRING = auto()  # NUL-terminated constant of a read-only data section
    RECORD = auto()  # ring record at its start; the call ends its life
    CALLBACK = auto()  # address of a subprogram
    CALLBACK_DATA = auto()  # handed to the callback unchanged
    LOCK = auto()  # struct bpf_spin_lock in a map value
    CONST = auto()  # a number known at load time


class Result(Enum):
    """What r0 holds after the call."""

    NUMBER = auto()
    LENGTH = auto()  # -4095..-1 or 0..size argument (`Helper.length_of`)
    BOUNDED = auto()  # 0..`Helper.most`
    THREAD = auto()  # get_current_pid_tgid
    VALUE_OR_NULL = auto()  # value of the map in the MAP argument
    RECORD_OR_NULL = auto()  # ring record of the constant size in argument 2; must be submitted or discarded
    MEMORY_OR_NULL = auto()  # as many bytes as the constant in argument 1


@dataclass(frozen=True, slots=True)
class Helper:
    """Signature of one helper.

    `kinds`: map types (kernel numbers) that the MAP argument may have, empty for any. `sizes`: argument
    number → number of its size argument, where it is not the next one. `fixed`: argument number → bytes.
    `needs`: what attaching must offer (see `Verified.needs`). `ignores_context`: the CONTEXT pointer is
    never read. `loops`: the callback runs an unknown number of times.
    """

    id: int
    name: str
    args: tuple[Arg, ...]
    result: Result = Result.NUMBER
    kinds: frozenset[int] = frozenset()
    sizes: dict[int, int] = field(default_factory=dict)
    fixed: dict[int, int] = field(default_factory=dict)
    needs: str = ""
    length_of: int = 0
    most: int = 0
    ignores_context: bool = True

    def size_of(self, number: int) -> int:
        """Number of the argument (1-based) that holds the size of memory argument `number`."""
        return self.sizes.get(number, number + 1)


_ANY, _OPTIONAL, _CTX, _MAP, _KEY, _VALUE = Arg.ANY, Arg.OPTIONAL, Arg.CONTEXT, Arg.MAP, Arg.KEY, Arg.VALUE
_READ, _WRITE, _SIZE, _SIZE0 = Arg.READ, Arg.WRITE, Arg.SIZE, Arg.SIZE_OR_ZERO
_READ0, _WRITE0, _STRING = Arg.READ_OR_NULL, Arg.WRITE_OR_NULL, Arg.STRING

_GPU = frozenset((1501, 1502, 1503, 1504, 1512, 1513))
_LOOKUP = frozenset((1, 2, 5, 6, 9, 10, 11, 12, 13)) | _GPU
_KEYED = frozenset((1, 2, 5, 6, 9, 10, 11)) | _GPU
_PER_CPU = frozenset((5, 6, 10))
_QUEUES = frozenset((22, 23))
_QUEUES_BLOOM = frozenset((22, 23, 30))
_RING = frozenset((27,))
_PERF = frozenset((4, 1527))


def _probe(number: int, name: str) -> Helper:
    return Helper(number, name, (_WRITE, _SIZE0, _ANY))


def _probe_string(number: int, name: str) -> Helper:
    return Helper(number, name, (_WRITE, _SIZE0, _ANY), Result.LENGTH, length_of=2)


def _number(number: int, name: str) -> Helper:
    return Helper(number, name, ())


def _storage(number: int, name: str, kind: int) -> Helper:
    return Helper(
        number, name, (_MAP, _ANY, Arg.VALUE_OR_NULL, _ANY), Result.VALUE_OR_NULL, kinds=frozenset((kind,))
    )


_ROWS = (
    Helper(1, "map_lookup_elem", (_MAP, _KEY), Result.VALUE_OR_NULL, kinds=_LOOKUP),
    Helper(2, "map_update_elem", (_MAP, _KEY, _VALUE, _ANY), kinds=_KEYED),
    Helper(3, "map_delete_elem", (_MAP, _KEY), kinds=_KEYED),
    _probe(4, "probe_read"),
    _number(5, "ktime_get_ns"),
    Helper(6, "trace_printk", (_READ, _SIZE, _OPTIONAL, _OPTIONAL, _OPTIONAL)),
    _number(7, "get_prandom_u32"),
    _number(8, "get_smp_processor_id"),
    Helper(12, "tail_call", (_CTX, _MAP, _ANY), kinds=frozenset((3,)), ignores_context=False),
    Helper(14, "get_current_pid_tgid", (), Result.THREAD),
    _number(15, "get_current_uid_gid"),
    Helper(16, "get_current_comm", (_WRITE, _SIZE)),
    Helper(25, "perf_event_output", (_CTX, _MAP, _ANY, _READ, _SIZE0), kinds=_PERF),
    Helper(27, "get_stackid", (_CTX, _MAP, _ANY), kinds=frozenset((7,)), needs="stack"),
    Helper(28, "csum_diff", (_READ0, _SIZE0, _READ0, _SIZE0, _ANY)),
    _number(35, "get_current_task"),
    Helper(36, "probe_write_user", (_ANY, _READ, _SIZE), needs="write"),
    _number(42, "get_numa_node_id"),
    _probe_string(45, "probe_read_str"),
    Helper(58, "override_return", (_CTX, _ANY), needs="override"),
    Helper(67, "get_stack", (_CTX, _WRITE, _SIZE0, _ANY), Result.LENGTH, length_of=3, needs="stack"),
    _number(80, "get_current_cgroup_id"),
    Helper(87, "map_push_elem", (_MAP, _VALUE, _ANY), kinds=_QUEUES_BLOOM),
    Helper(88, "map_pop_elem", (_MAP, Arg.VALUE_OUT), kinds=_QUEUES),
    Helper(89, "map_peek_elem", (_MAP, Arg.VALUE_OUT), kinds=_QUEUES_BLOOM),
    Helper(93, "spin_lock", (Arg.LOCK,)),
    Helper(94, "spin_unlock", (Arg.LOCK,)),
    Helper(105, "strtol", (_READ, _SIZE, _ANY, Arg.WRITE_FIXED), fixed={4: 8}),
    Helper(106, "strtoul", (_READ, _SIZE, _ANY, Arg.WRITE_FIXED), fixed={4: 8}),
    Helper(109, "send_signal", (_ANY,), needs="signal"),
    _probe(112, "probe_read_user"),
    _probe(113, "probe_read_kernel"),
    _probe_string(114, "probe_read_user_str"),
    _probe_string(115, "probe_read_kernel_str"),
    Helper(117, "send_signal_thread", (_ANY,), needs="signal"),
    _number(118, "jiffies64"),
    Helper(120, "get_ns_current_pid_tgid", (_ANY, _ANY, _WRITE, _SIZE)),
    Helper(123, "get_current_ancestor_cgroup_id", (_ANY,)),
    _number(125, "ktime_get_boot_ns"),
    Helper(130, "ringbuf_output", (_MAP, _READ, _SIZE0, _ANY), kinds=_RING),
    Helper(131, "ringbuf_reserve", (_MAP, Arg.CONST, _ANY), Result.RECORD_OR_NULL, kinds=_RING),
    Helper(132, "ringbuf_submit", (Arg.RECORD, _ANY)),
    Helper(133, "ringbuf_discard", (Arg.RECORD, _ANY)),
    Helper(134, "ringbuf_query", (_MAP, _ANY), kinds=_RING),
    Helper(148, "copy_from_user", (_WRITE, _SIZE0, _ANY)),
    Helper(149, "snprintf_btf", (_WRITE, _SIZE, _READ, _SIZE, _ANY)),
    Helper(153, "per_cpu_ptr", (_ANY, _ANY)),
    Helper(154, "this_cpu_ptr", (_ANY,)),
    _storage(156, "task_storage_get", 29),
    Helper(157, "task_storage_delete", (_MAP, _ANY), kinds=frozenset((29,))),
    _number(158, "get_current_task_btf"),
    _number(160, "ktime_get_coarse_ns"),
    Helper(164, "for_each_map_elem", (_MAP, Arg.CALLBACK, Arg.CALLBACK_DATA, _ANY), kinds=_KEYED - {11}),
    Helper(165, "snprintf", (_WRITE0, _SIZE0, _STRING, _READ0, _SIZE0)),
    Helper(173, "get_func_ip", (_CTX,)),
    Helper(174, "get_attach_cookie", (_CTX,)),
    Helper(177, "trace_vprintk", (_READ, _SIZE, _READ0, _SIZE0)),
    Helper(181, "loop", (_ANY, Arg.CALLBACK, Arg.CALLBACK_DATA, _ANY)),
    Helper(182, "strncmp", (_READ, _SIZE, _STRING)),
    Helper(183, "get_func_arg", (_CTX, _ANY, Arg.WRITE_FIXED), fixed={3: 8}),
    Helper(184, "get_func_ret", (_CTX, Arg.WRITE_FIXED), fixed={2: 8}),
    Helper(185, "get_func_arg_cnt", (_CTX,)),
    Helper(186, "get_retval", (), needs="retval"),
    Helper(187, "set_retval", (_ANY,), needs="override"),
    Helper(191, "copy_from_user_task", (_WRITE, _SIZE0, _ANY, _ANY, _ANY)),
    Helper(195, "map_lookup_percpu_elem", (_MAP, _KEY, _ANY), Result.VALUE_OR_NULL, kinds=_PER_CPU),
    _number(208, "ktime_get_tai_ns"),
    _storage(210, "cgrp_storage_get", 32),
    Helper(211, "cgrp_storage_delete", (_MAP, _ANY), kinds=frozenset((32,))),
    # bpftime's extensions; names are read by fault-safe loads.
    Helper(1000, "call_ufunc_dispatcher", (_ANY, Arg.READ_FIXED), fixed={2: 48}, needs="call"),
    Helper(1001, "call_find_ufunc_id", (_ANY,)),
    Helper(1003, "get_abs_path", (_ANY, _WRITE, _SIZE)),
    Helper(1004, "path_join", (_ANY, _ANY, _WRITE, _SIZE)),
    # Private to the tracing language.
    Helper(100000, "frame", (Arg.CONST,), Result.MEMORY_OR_NULL),
    Helper(100001, "log2", (_ANY,), Result.BOUNDED, most=63),
    Helper(100002, "agg_max", (Arg.CHANGE_FIXED, _ANY), fixed={1: 16}),
    Helper(100003, "zero", (_WRITE, _SIZE0)),
    Helper(100004, "copy", (_WRITE, _READ, _SIZE0), sizes={1: 3, 2: 3}),
    Helper(100005, "string_compare", (_READ, _SIZE0, _READ, _SIZE0), Result.BOUNDED, most=1),
    Helper(100006, "cells_sum", (_MAP, Arg.READ_FIXED), fixed={2: 8}),
    _number(100007, "session_start"),
    Helper(100008, "entry_arg", (Arg.CONST,), needs="entry"),
    Helper(100009, "call_ns", (), needs="entry"),
    Helper(
        100010,
        "map_iterate",
        (_MAP, Arg.CHANGE_FIXED, _WRITE, _SIZE),
        Result.BOUNDED,
        kinds=frozenset((1, 5, 9, 10)),
        fixed={2: 16},
        most=1,
    ),
    Helper(100020, "string_length", (_READ, _SIZE0), Result.LENGTH, length_of=2),
    Helper(100021, "string_find", (_READ, _SIZE0, _READ, _SIZE0)),
    Helper(100022, "string_append", (_WRITE, _SIZE, _READ, _SIZE0)),
    Helper(100023, "memory_compare", (_READ, _READ, _SIZE0), sizes={1: 3, 2: 3}),
    Helper(100024, "string_glob", (_READ, _SIZE0, _READ, _SIZE0), Result.BOUNDED, most=1),
    _number(100025, "parent_pid"),
    Helper(100026, "comm_of", (_ANY, _WRITE, _SIZE)),
    _number(100027, "cpu_count"),
    Helper(100028, "map_length", (_MAP,)),
    Helper(100031, "complain", (_MAP, Arg.CHANGE_FIXED, _ANY, _ANY), kinds=_RING, fixed={2: 8}),
    Helper(100030, "symbol_address", (Arg.CONST,)),
    Helper(100029, "series_update", (_WRITE, _SIZE, _ANY, _ANY, _ANY)),
)

HELPERS: dict[int, Helper] = {row.id: row for row in _ROWS}
FRAME, LOG2, AGG_MAX, ZERO, COPY, STRING_COMPARE, CELLS_SUM, SESSION_START = range(100000, 100008)
ENTRY_ARG, CALL_NS, MAP_ITERATE = 100008, 100009, 100010
POISON = 0xBAD2310  # call that stands for a CO-RE relocation without a target (libbpf's number)


def name_of(number: int) -> str:
    """Name of a helper without `bpf_`, served or not; "" for an unknown id."""
    if number in HELPERS:
        return HELPERS[number].name
    return REFUSED[number][0] if number in REFUSED else ""


def reason_of(number: int) -> str:
    """Why a helper cannot be called, "" when it can."""
    if number in HELPERS:
        return ""
    if number == POISON:
        return "uses a field or type that does not exist in the target (CO-RE relocation)"
    if number in REFUSED:
        name, reason = REFUSED[number]
        return f"helper bpf_{name} ({number}) {reason}"
    return f"there is no helper {number}"
