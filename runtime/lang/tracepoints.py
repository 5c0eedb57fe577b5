"""The tracepoints that user space can serve: those of system calls, with the fields of their `args`.

`syscalls:sys_enter_NAME` and `sys_exit_NAME` are one a call, `raw_syscalls:sys_enter` and `sys_exit` are for
all of them. Their fields lie in the context as the kernel lays them out (events/syscalls/*/format): arguments
of 4 bytes have 8, and an `int` there reads as 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from runtime.errors import Unserved
from runtime.lang.c.contexts import PT_REGS
from runtime.lang.c.types import Struct
from runtime.lang.fields import ContextField
from runtime.lang.source import At, Source
from runtime.lang.suggest import near
from runtime.lang.types import (
    INT32,
    INT64,
    NAMED_INTS,
    UINT16,
    UINT32,
    UINT64,
    VOID,
    Array,
    Int,
    Pointer,
    Type,
)
from runtime.syscalls.table import Syscall, syscalls
from runtime.types import ContextKind

NUMBER, FIRST, RESULT = 8, 16, 16  # offsets in the contexts
RAW_ARGUMENTS = 6
CALLS, RAW = "syscalls", "raw_syscalls"
NOT_HERE = "tracepoint probes of '{0}' instrument kernel code and cannot be served in user space"
SERVED = "tracepoint:syscalls:sys_enter_NAME and sys_exit_NAME are, and tracepoint:raw_syscalls:sys_enter"
ENTER, EXIT = "sys_enter", "sys_exit"
# Types of the kernel that are no names of the language (linux/types.h, asm-generic/posix_types.h).
TYPES: dict[str, Type] = {
    "umode_t": UINT16,
    "loff_t": INT64,
    "key_t": INT32,
    "clockid_t": INT32,
    "timer_t": INT32,
    "mqd_t": INT32,
    "rwf_t": INT32,
    "qid_t": UINT32,
    "key_serial_t": INT32,
    "aio_context_t": UINT64,
    "enum landlock_rule_type": UINT32,
    "__kernel_old_time_t": INT64,
    "unsigned int": UINT32,
    "unsigned long": UINT64,
    "unsigned char": NAMED_INTS["uint8"],
}
# Types of 4 bytes that are read as the 8 which they have in the context.
WIDENED: dict[str, Type] = {
    "int": INT64,
    **dict.fromkeys(("unsigned int", "unsigned", "u32", "pid_t", "uid_t", "gid_t"), UINT64),
}
TAGS = ("struct", "union")
POINTERS = ("cap_user_header_t", "cap_user_data_t")  # names of pointers


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """One tracepoint. `leaves`: after the call. `call` None: of every call."""

    category: str
    name: str
    leaves: bool
    call: Syscall | None

    @property
    def full_name(self) -> str:
        """Return the name behind `tracepoint:`."""
        return f"{self.category}:{self.name}"

    @property
    def context(self) -> ContextKind:
        """Return what a program gets."""
        return ContextKind.SYS_EXIT if self.leaves else ContextKind.SYS_ENTER


@cache
def tracepoints() -> tuple[Tracepoint, ...]:
    """Return all that are served, by name."""
    found = [Tracepoint(RAW, ENTER, False, None), Tracepoint(RAW, EXIT, True, None)]
    for call in syscalls():
        if call.tracepoint:
            found.append(Tracepoint(CALLS, f"{ENTER}_{call.tracepoint}", False, call))
            found.append(Tracepoint(CALLS, f"{EXIT}_{call.tracepoint}", True, call))
    return tuple(sorted(found, key=lambda t: t.full_name))


@lru_cache(maxsize=256)
def matching(category: str, name: str) -> tuple[Tracepoint, ...]:
    """Return the tracepoints that an attach point names; only `*` and `?` are wildcards."""
    category, name = (text.replace("[", "[[]") for text in (category, name))
    return tuple(t for t in tracepoints() if fnmatchcase(t.category, category) and fnmatchcase(t.name, name))


def check(source: Source, at: At, parts: tuple[str, ...]) -> tuple[Tracepoint, ...]:
    """Return what an attach point names.

    Raises:
        Problem: nothing, or what only the kernel has.
    """
    category, name = parts
    found = matching(category, name)
    if found:
        return found
    if category in (CALLS, RAW):
        names = [t.name for t in tracepoints() if t.category == category]
        hint = near(name, names, f"tracepoint:{category}:{{}}")
        raise source.problem(at, f"No matches for tracepoint {category}:{name}.", hint)
    if matching(CALLS, name) or category in ("syscall", "sys", "raw_syscall"):
        meant = RAW if name in (ENTER, EXIT) else CALLS
        raise source.problem(at, f"Tracepoint not found: {category}:{name}", f"Did you mean {meant}:{name}?")
    raise Unserved(NOT_HERE.format(category), span=source.span(at), hint=SERVED)


def raw_context(source: Source, at: At, parts: tuple[str, ...]) -> ContextKind:
    """Return the context of a raw tracepoint: `sys_enter` or `sys_exit`, maybe behind a module's name.

    Raises:
        Problem: it is another one.
    """
    name = parts[-1]
    kinds = {ENTER: ContextKind.RAW_SYS_ENTER, EXIT: ContextKind.RAW_SYS_EXIT}
    if name not in kinds:
        raise Unserved(
            "rawtracepoint probes instrument kernel code and cannot be served in user space",
            span=source.span(at),
            hint="rawtracepoint:sys_enter and rawtracepoint:sys_exit are",
        )
    return kinds[name]


# --- fields


def fields_of(context: ContextKind, found: tuple[Tracepoint, ...]) -> dict[str, ContextField]:
    """Return the fields of `args` by name; of several tracepoints, those of the first."""
    if context is ContextKind.RAW_SYS_ENTER:
        return {"regs": ContextField(0, Pointer(PT_REGS)), "id": ContextField(8, INT64)}
    if context is ContextKind.RAW_SYS_EXIT:
        return {"regs": ContextField(0, Pointer(PT_REGS)), "ret": ContextField(8, INT64)}
    point = found[0]
    if point.call is None:
        own = (
            ("ret", ContextField(RESULT, INT64))
            if point.leaves
            else ("args", ContextField(FIRST, Array(UINT64, RAW_ARGUMENTS)))
        )
        return {"id": ContextField(NUMBER, INT64), own[0]: own[1]}
    fields = {"__syscall_nr": ContextField(NUMBER, INT32)}
    if point.leaves:
        return {**fields, "ret": ContextField(RESULT, INT64)}
    for index, argument in enumerate(point.call.arguments):
        fields[argument.name] = ContextField(FIRST + 8 * index, type_of(argument.type))
    return fields


def type_of(text: str) -> Type:
    """Return the type of an argument in the language; structures behind pointers are looked up later."""
    if text in WIDENED:
        return WIDENED[text]
    words = [w for w in text.replace("*", " * ").split() if w != "const"]
    stars = words.count("*")
    name = " ".join(w for w in words if w != "*")
    if name in POINTERS:
        return Pointer(VOID)
    tag, _, tagged = name.partition(" ")
    kind = TYPES.get(name) or NAMED_INTS.get(name) or (Struct(tag, tagged) if tag in TAGS else VOID)
    if not stars:
        return kind if isinstance(kind, Int) else UINT64
    for _ in range(stars):
        kind = Pointer(kind)
    return kind
