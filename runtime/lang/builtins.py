"""The builtins: one row a name, with type, where it may be used, and the eBPF it becomes.

`lower` computes a word in r0, `fill` writes to memory. `argN` has a rule of its own (`argument_number`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.lang import complaints, memory, tree
from runtime.lang.c.contexts import CONTEXTS
from runtime.lang.types import (
    PROBE_NAME,
    SYMBOL,
    UINT8,
    UINT32,
    UINT64,
    UNKNOWN,
    USERNAME,
    Pointer,
    String,
    Type,
)
from runtime.lang.ustack import empty_stack, fill_empty_stack, fill_stack, full_stack
from runtime.lang.variables import Place

if TYPE_CHECKING:
    from runtime.lang.generator import Generator

KTIME, RANDOM, CPU, PID_TGID, UID_GID, COMM = 5, 7, 8, 14, 15, 16  # helpers
CGROUP, JIFFIES, NUMA, PARENT, COMM_OF, CPUS = 80, 118, 42, 100025, 100026, 100027
BOOT, FUNC_IP, COOKIE, TAI, SESSION_START, CALL_NS = 125, 173, 174, 208, 100007, 100009
ENTRY_ARG, ENTRY_ARGUMENTS = 100008, 6  # helper, and how many arguments come in registers
RETVAL = 80  # ax in pt_regs
COMM_SIZE = 16
CHILD = ".child"  # map that holds the id of the launched program
PROBE_TYPES = {"begin": "special", "end": "special", "self": "special", "bench": "benchmark"}
_INSTEAD = {("retval", "tracepoint"): "use args.ret"}  # builtin and kind of probe → what to use there
CLOCKS = {"monotonic": KTIME, "boot": BOOT, "tai": TAI, "sw_tai": TAI}


@dataclass(frozen=True, slots=True)
class Builtin:
    """One builtin. `needs`: a field of `Provider` that must be set; `refusal`: the message if not.

    `modes`: words that it may be called with. `takes`: the type of the one argument it may be called with.
    `typed`: gives the type where the script's configuration decides it.
    """

    name: str
    type: Type
    lower: Callable[[Generator, Any], None]
    fill: Callable[[Generator, Any, Place], None] | None = None
    needs: str = ""
    refusal: str = ""
    modes: tuple[str, ...] = ()
    takes: Type | None = None
    reason: str = ""
    typed: Callable[[Any, Any], Type] | None = None

    def check(self, c: Any, node: Any) -> Type:  # noqa: ANN401  # checker and node classes would be a cycle
        """Type a use, or record why it is not possible here."""
        if self.reason:
            c.fail(node.at, self.refusal or f"{self.name} is not served", self.reason)
            return UNKNOWN
        provider = c.body.provider
        if self.needs and not getattr(provider, self.needs):
            c.fail(node.at, self.refusal.format(provider.name), _INSTEAD.get((self.name, provider.name), ""))
            return UNKNOWN
        return self.typed(c, node) if self.typed else self.type


def argument_number(name: str) -> int | None:
    """N of `argN`, else None."""
    return int(name[3:]) if name.startswith("arg") and name[3:].isdigit() and len(name) < 6 else None


def is_entry(node: tree.Member) -> bool:
    """Tell whether a member is one of a return probe's `entry`: what was when the call began."""
    return isinstance(node.value, tree.Identifier) and node.value.name == "entry" and not node.arrow


def lower_entry(g: Generator, node: tree.Member) -> None:
    """Compute `entry.argN` in r0."""
    g.code.set(1, (argument_number(node.name) or 0) + 1)
    g.code.call(ENTRY_ARG)


def fixed_helper(number: int) -> Callable[[Generator, Any], None]:
    """Make what calls a helper without arguments."""

    def lower(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
        del node
        g.code.call(number)

    return lower


def _high(number: int) -> Callable[[Generator, Any], None]:
    def lower(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
        del node
        g.code.call(number)
        g.code.alu_constant(">>", 0, 32)

    return lower


def _low(number: int) -> Callable[[Generator, Any], None]:
    def lower(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
        del node
        g.code.call(number)
        g.code.alu_constant("<<", 0, 32)
        g.code.alu_constant(">>", 0, 32)

    return lower


def _nsecs(g: Generator, node: Any) -> None:  # noqa: ANN401  # identifier or call
    args = getattr(node, "args", [])
    g.code.call(CLOCKS[args[0].name] if args else BOOT)


def _elapsed(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    slot = g.storage.take(8)
    g.code.call(SESSION_START)
    g.code.store(slot, 0, 8)
    g.code.call(BOOT)
    g.code.load(1, slot, 8)
    g.code.alu("-", 0, 1)


def _comm(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    if args := getattr(node, "args", []):
        g.word(args[0])
        _comm_of(g, place)
        return
    for at in (0, 8):
        g.code.store_constant(place + at, 0, 8)
    g.code.address(1, place)
    g.code.set(2, COMM_SIZE)
    g.code.call(COMM)


def _comm_of(g: Generator, place: Place) -> None:
    """Write the name of the process whose id is in r0."""
    g.code.move(1, 0)
    g.code.address(2, place)
    g.code.set(3, COMM_SIZE)
    g.code.call(COMM_OF)


def _leader_comm(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    _high(PID_TGID)(g, node)
    _comm_of(g, place)


def _parent_comm(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.call(PARENT)
    _comm_of(g, place)


def _child(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    if g.output.has_child:
        g.code.map_value(1, CHILD)
        g.code.load(0, Place(1, 0), 4)
        return
    complaints.complain(g, node.at, complaints.NO_CHILD)
    g.code.set(0, 0)


def _fill_probe_type(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    memory.constant(g, place, _type_of_probe(g).encode().ljust(node.type.capacity, b"\0"))


def _probe_type(c: Any, node: Any) -> Type:  # noqa: ANN401  # checker and node
    del node
    return String(len(_type_of_probe(c)) + 1)


def _type_of_probe(state: Any) -> str:  # noqa: ANN401  # checker or generator
    name: str = state.body.provider.name
    return PROBE_TYPES.get(name, name)


def _retval(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.load(0, g.context(RETVAL), 8)


def _probe(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.uses_cookie = True
    g.code.move(1, g.context().base)
    g.code.call(COOKIE)


def _func(g: Generator, node: Any, place: Place) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.move(1, g.context().base)
    g.code.call(FUNC_IP)
    finish_symbol(g, place)


def _context(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.move(0, g.context().base)


def _context_type(c: Any, node: Any) -> Type:  # noqa: ANN401  # checker and node
    provider = c.body.provider
    struct = CONTEXTS.get(provider.context)
    if struct is None:
        c.fail(node.at, f"The ctx builtin can not be used with '{provider.name}' probes")
        return UNKNOWN
    own = c.scope.tagged(struct.tag, struct.name)  # a definition of the script wins
    return Pointer(own or struct)


def finish_symbol(g: Generator, place: Place) -> None:
    """Make a symbol value of the address in r0: address, process, zero."""
    g.code.store(place, 0, 8)
    g.code.call(PID_TGID)
    g.code.alu_constant(">>", 0, 32)
    g.code.store(place + 8, 0, 8)


def _zero(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.set(0, 0)


def _one(g: Generator, node: Any) -> None:  # noqa: ANN401  # any expression
    del node
    g.code.set(0, 1)


_FUNC = "The func builtin can not be used with '{}' probes"
_RETVAL = "The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes"
_ELAPSED = "The elapsed_call builtin can only be used with 'uretprobe' probes"
_KERNEL = "it belongs to the kernel; served are the members that builtins know: curtask.pid, curtask.tgid, …"
_USTACK = "ustack can not be used with {} probes"

BUILTINS = {
    row.name: row
    for row in (
        Builtin("pid", UINT32, _high(PID_TGID), modes=("curr_ns", "init")),
        Builtin("tid", UINT32, _low(PID_TGID), modes=("curr_ns", "init")),
        Builtin("ppid", UINT32, fixed_helper(PARENT)),
        Builtin("leader_tid", UINT32, _high(PID_TGID)),
        Builtin("cpid", UINT32, _child),
        Builtin("uid", UINT64, _low(UID_GID)),
        Builtin("gid", UINT64, _high(UID_GID)),
        Builtin("username", USERNAME, _low(UID_GID)),
        Builtin("comm", String(COMM_SIZE), _zero, _comm, takes=UINT32),
        Builtin("pcomm", String(COMM_SIZE), _zero, _parent_comm),
        Builtin("leader_comm", String(COMM_SIZE), _zero, _leader_comm),
        Builtin("nsecs", UINT64, _nsecs, modes=tuple(CLOCKS)),
        Builtin("elapsed", UINT64, _elapsed),
        Builtin("jiffies", UINT64, fixed_helper(JIFFIES)),
        Builtin("cpu", UINT64, fixed_helper(CPU)),
        Builtin("ncpus", UINT64, fixed_helper(CPUS)),
        Builtin("numaid", UINT64, fixed_helper(NUMA)),
        Builtin("cgroup", UINT64, fixed_helper(CGROUP)),
        Builtin("rand", UINT32, fixed_helper(RANDOM)),
        Builtin("retval", UINT64, _retval, needs="result", refusal=_RETVAL),
        Builtin("elapsed_call", UINT64, fixed_helper(CALL_NS), needs="result", refusal=_ELAPSED),
        Builtin("func", SYMBOL, _zero, _func, needs="registers", refusal=_FUNC),
        Builtin("probe", PROBE_NAME, _probe),
        Builtin("probetype", UNKNOWN, _zero, _fill_probe_type, typed=_probe_type),
        Builtin("usermode", UINT8, _one),
        Builtin("kstack", UNKNOWN, _zero, fill_empty_stack, typed=empty_stack),
        Builtin("curtask", UINT64, _zero, reason=_KERNEL),
        Builtin("ustack", UNKNOWN, _zero, fill_stack, "has_registers", _USTACK, typed=full_stack),
        Builtin(
            "args", UINT64, _zero, reason="use arg0, arg1, …: the function's debug info is not read here"
        ),
        Builtin("ctx", UNKNOWN, _context, typed=_context_type),
    )
}
