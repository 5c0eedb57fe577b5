"""The kinds of probes as one table, and the text of an attach point to its parts.

A provider that no row serves is refused here, with the reason and the next step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from runtime.ebpf.context import DEVICE_PARAMETERS, FUNCTION_ARGUMENTS, MARKER_ARGUMENTS
from runtime.errors import Unserved
from runtime.lang import kernelpoints, sampling, tracepoints
from runtime.lang.fields import ContextField
from runtime.lang.sampling import Counted
from runtime.lang.source import At, Source
from runtime.lang.suggest import near
from runtime.types import ContextKind

RAW_ARGUMENTS = (0, 8)  # offsets of the two words of a raw tracepoint
KERNEL = "{0} probes instrument kernel code and cannot be served in user space"
KERNEL_HINT = (
    "trace a system call (tracepoint:syscalls:sys_enter_…) or a library function, or use bpftrace as root"
)


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of probe. `least` and `most` count the parts behind the name.

    `context` None: refused with `reason`. `arguments`: where each `argN` lies in the context; `result`:
    `retval` is there; `registers`: `reg()` and `func` are; `tracer`: fires in the tracer, so its names are
    final; `returns`: what a program returns is looked at; `sampled`: a thread is interrupted wherever
    it is; `device`: runs in GPU kernels.
    """

    name: str
    aliases: tuple[str, ...]
    least: int
    most: int
    context: ContextKind | None
    arguments: tuple[int, ...] = ()
    result: bool = False
    registers: bool = False
    tracer: bool = False
    returns: bool = False
    sampled: bool = False
    device: bool = False
    reason: str = ""
    hint: str = ""

    @property
    def has_registers(self) -> bool:
        """Tell whether `reg()` and `ustack` are there."""
        return self.registers or self.sampled


PROVIDERS = (
    Provider("begin", (), 0, 0, ContextKind.TIMER, tracer=True),
    Provider("end", (), 0, 0, ContextKind.TIMER, tracer=True),
    Provider("interval", ("i",), 1, 2, ContextKind.TIMER, tracer=True),
    Provider("uprobe", ("u", "ur"), 2, 3, ContextKind.UPROBE, FUNCTION_ARGUMENTS, registers=True),
    Provider("uretprobe", ("ur",), 2, 3, ContextKind.URETPROBE, result=True, registers=True),
    Provider("usdt", ("U",), 2, 3, ContextKind.USDT, MARKER_ARGUMENTS, registers=True),
    Provider("test", (), 1, 1, ContextKind.TIMER, tracer=True, returns=True),
    Provider("bench", (), 1, 1, ContextKind.TIMER, tracer=True, returns=True),
    Provider("self", (), 2, 2, ContextKind.TIMER, tracer=True),
    Provider("profile", ("p",), 1, 2, ContextKind.PERF_EVENT, sampled=True),
    Provider("tracepoint", ("t",), 2, 2, ContextKind.SYS_ENTER),
    Provider("rawtracepoint", ("rt",), 1, 2, ContextKind.RAW_SYS_ENTER, RAW_ARGUMENTS),
    Provider("software", ("s",), 1, 2, ContextKind.PERF_EVENT, sampled=True),
    Provider("hardware", ("h",), 1, 2, ContextKind.PERF_EVENT, sampled=True),
    Provider("watchpoint", ("w",), 3, 3, ContextKind.PERF_EVENT, sampled=True),
    Provider("cuda", (), 1, 2, ContextKind.CUDA, DEVICE_PARAMETERS, device=True),
    Provider("cudaret", (), 1, 2, ContextKind.CUDA_RETURN, DEVICE_PARAMETERS, device=True),
    Provider("cudamem", (), 1, 3, ContextKind.CUDA_MEMORY, DEVICE_PARAMETERS, device=True),
    Provider("cudalaunch", (), 1, 1, ContextKind.MEMORY),
    Provider("cudadone", (), 1, 1, ContextKind.MEMORY),
    Provider("cudaload", (), 1, 1, ContextKind.MEMORY),
    Provider("kprobe", ("k",), 1, 2, None, reason=KERNEL, hint=KERNEL_HINT),
    Provider("kretprobe", ("kr",), 1, 2, None, reason=KERNEL, hint=KERNEL_HINT),
    Provider("fentry", ("f", "kfunc"), 1, 3, None, reason=KERNEL, hint=KERNEL_HINT),
    Provider("fexit", ("fr", "kretfunc"), 1, 3, None, reason=KERNEL, hint=KERNEL_HINT),
    Provider("iter", ("it",), 1, 2, None, reason=KERNEL, hint=KERNEL_HINT),
)
CPP = "cpp"
SELF_SIGNAL = "SIGUSR1"  # the only signal that a self probe can wait for
TIMED = ("interval", "profile")
CUDA_PROVIDERS = ("cuda", "cudaret", "cudamem", "cudalaunch", "cudadone", "cudaload")
FUNCTION_PROVIDERS = ("uprobe", "uretprobe")
FORMS = {
    "uprobe": "write uprobe:BINARY:FUNCTION",
    "uretprobe": "write uretprobe:BINARY:FUNCTION",
    "usdt": "write usdt:BINARY:PROVIDER:NAME",
    "test": "write test:NAME",
    "bench": "write bench:NAME",
    "self": "write self:signal:SIGUSR1",
    **{name: f"write {name}:KERNEL" for name in ("cuda", "cudaret", "cudalaunch", "cudadone")},
    "cudamem": "write cudamem:KERNEL, with :ld, :st or :atom behind it",
    "cudaload": "write cudaload:*",
}
BY_NAME = {provider.name: provider for provider in PROVIDERS}
BY_ALIAS = {alias: provider for provider in reversed(PROVIDERS) for alias in provider.aliases} | {
    "u": BY_NAME["uprobe"],
    "ur": BY_NAME["uretprobe"],
}
LOCATION = re.compile(r"@.+:[0-9]{1,9}(:[0-9]{1,9})?")
OFFSET = re.compile(r"\+(0x[0-9a-fA-F]+|[0-9]+)$")
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3}
DURATION = re.compile(r"([0-9]+)(ns|us|ms|s|m|h|d)?")
SECONDS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}


SHOWN_TYPES = {"begin": "special", "end": "special", "self": "special", "bench": "benchmark"}


def shown_type(provider: Provider) -> str:
    """Give what `probetype` is in a kind of probe."""
    return SHOWN_TYPES.get(provider.name, provider.name)


@dataclass(frozen=True, slots=True)
class Point:
    """One attach point: provider, the parts behind it (quotes removed), its name if the user gave one.

    `period` in nanoseconds, for `interval` and `profile`; `event`: what is counted, for other sampled kinds.
    `fields`: parameters of the function, where they are asked for.
    """

    provider: Provider
    parts: tuple[str, ...]
    text: str
    at: At
    name: str = ""
    period: int = 0
    event: Counted | None = None
    fields: dict[str, ContextField] | None = None


def read_point(source: Source, at: At, text: str, params: tuple[str, ...], pid: bool) -> Point:
    """Split and check one attach point; with a `pid` the binary may be left out.

    Raises:
        Problem: unknown or unserved provider, wrong parts.
    """
    try:
        name, parts = _named(split(text, params))
    except ValueError as error:
        raise source.problem(at, str(error)) from None
    word = parts[0]
    provider = BY_NAME.get(word.lower()) or BY_ALIAS.get(word)
    if provider is None:
        names = [*BY_NAME, "BEGIN", "END"]
        raise source.problem(at, f"Invalid probe type: {word}", near(word, names))
    if provider.context is None:
        text = provider.reason.format(provider.name)
        raise Unserved(text, span=source.span(at), hint=provider.hint)
    rest = tuple(parts[1:])
    if provider.name in FUNCTION_PROVIDERS:
        rest = _function_parts(rest)
    if provider.name in CUDA_PROVIDERS:
        rest = kernelpoints.parts_of(source, at, provider.name, rest)
    if provider.most == 0 and rest in (("*",), ("",)):
        rest = ()
    _check_count(source, at, provider, rest, pid)
    if provider.name in FUNCTION_PROVIDERS:
        _check_place(source, at, provider, rest[-1])
    if provider.name == "self":
        _check_signal(source, at, rest)
    period = _period(source, at, rest, provider.name) if provider.name in TIMED else 0
    event = sampling.counted(source, at, provider.name, rest) if provider.sampled and not period else None
    provider = _traced(source, at, provider, rest)
    canonical = ":".join((provider.name, *rest)).replace(":@", "@", 1)
    return Point(provider, rest, canonical, at, name, period, event)


def _traced(source: Source, at: At, provider: Provider, rest: tuple[str, ...]) -> Provider:
    """Return the row for the tracepoints that a point names, the same for all other kinds.

    Raises:
        Problem: there are none, or only the kernel has them.
    """
    if provider.name == "tracepoint":
        tracepoints.check(source, at, rest)
    elif provider.name == "rawtracepoint":
        return with_context(provider, tracepoints.raw_context(source, at, rest))
    return provider


@cache
def with_context(provider: Provider, context: ContextKind) -> Provider:
    """Return the row for programs that get another context: one object for each."""
    return replace(provider, context=context)


def served(point: Point) -> tuple[tracepoints.Tracepoint, ...]:
    """Return the tracepoints that a point's program is for; none of other kinds of probes."""
    if point.provider.name != "tracepoint":
        return ()
    found = tracepoints.matching(*point.parts)
    return tuple(t for t in found if t.context is point.provider.context)


def split_point(point: Point, *, each: bool) -> list[Point]:
    """Return a point as those that one program each is for: calls that begin, and that end.

    `each`: their arguments are looked at, so every tracepoint has its own.
    """
    if point.provider.name != "tracepoint":
        return [point]
    found = tracepoints.matching(*point.parts)
    if each:
        return [
            replace(point, provider=with_context(point.provider, t.context), parts=(t.category, t.name))
            for t in found
        ]
    contexts = dict.fromkeys(t.context for t in found)
    return [replace(point, provider=with_context(point.provider, context)) for context in contexts]


def _function_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Put a function's name together where it was split: `f@V1`, `f@@V2`, `f@plt`, `ns::f`.

    The place of `BINARY@FILE:LINE` keeps its mark: `@FILE:LINE`.
    """
    if len(parts) < 3:
        return parts
    if parts[1] == "@":
        return (parts[0], "@" + ":".join(parts[2:]))
    first, *words = parts
    front = [words.pop(0)] if words[0] == CPP and len(words) > 1 else []
    text = ""
    for index, word in enumerate(words):
        is_joined = index == 0 or word == "@" or words[index - 1] == "@"
        text += word if is_joined else f":{word}"
    if ":" in text and "::" not in text:
        return parts
    return (first, *front, text)


def _check_count(source: Source, at: At, provider: Provider, parts: tuple[str, ...], pid: bool) -> None:
    least = max(1, provider.least - 1) if pid and provider.registers else provider.least
    needed = parts[1:] if provider.name == "usdt" and pid and len(parts) > 1 else parts
    if least <= len(parts) <= provider.most and all(needed):
        return
    if provider.most == 0:
        raise source.problem(at, "begin/end probes should not have a target")
    if any(not part for part in parts) or not parts:
        text = (
            f"{provider.name} should have a target"
            if provider.registers or provider.returns
            else "expected attach point"
        )
        raise source.problem(at, text, FORMS.get(provider.name, ""))
    counts = " or ".join(str(n) for n in range(least, provider.most + 1))
    plural = "" if counts == "1" else "s"
    raise source.problem(
        at, f"{provider.name} probe type requires {counts} argument{plural}, found {len(parts)}"
    )


def _check_place(source: Source, at: At, provider: Provider, place: str) -> None:
    """Check what stands for a function: a return has no place inside of it."""
    if place.startswith("@") and not LOCATION.fullmatch(place):
        raise source.problem(at, f"wrong place in a source: {place[1:]}", "write BINARY@FILE:LINE[:COLUMN]")
    if provider.result and place.startswith("@"):
        raise source.problem(at, "Source code location not allowed", "name the function")
    if provider.result and OFFSET.search(place):
        raise source.problem(at, "Offset not allowed", "a return probe has no offset")


def _check_signal(source: Source, at: At, parts: tuple[str, ...]) -> None:
    if parts[0] != "signal":
        raise source.problem(at, f"{parts[0]} is not a kind of self probe", "write self:signal:SIGUSR1")
    if parts[1] != SELF_SIGNAL:
        raise source.problem(at, f"{parts[1]} is not a supported signal", f"use {SELF_SIGNAL}")


def _named(parts: list[str]) -> tuple[str, list[str]]:
    name, equals, first = parts[0].partition("=")
    return (name, [first, *parts[1:]]) if equals and name.isidentifier() else ("", parts)


def split(text: str, params: tuple[str, ...]) -> list[str]:
    """Split at `:` outside quotes, put positional parameters in; `@` is a part of its own.

    Raises:
        ValueError: a `$` that is no parameter.
    """
    parts = [""]
    index = 0
    quoted = False
    while index < len(text):
        char = text[index]
        if char == '"':
            quoted = not quoted
        elif quoted:
            index += char == "\\"
            parts[-1] += text[index : index + 1]
        elif char == ":":
            parts.append("")
        elif char == "@":
            parts += ["@", ""]
        elif char == "$":
            value, index = _parameter(text, index, params)
            first, *more = value.split(":")
            parts[-1] += first
            parts += more
            continue
        else:
            parts[-1] += char
        index += 1
    return parts


def _parameter(text: str, index: int, params: tuple[str, ...]) -> tuple[str, int]:
    found = re.compile(r"[0-9]{1,9}").match(text, index + 1)
    if not found or int(found[0]) == 0:
        raise ValueError(
            f"invalid trailing character for positional param: {text[index + 1 : index + 2] or '$'}"
        )
    number = int(found[0])
    return (params[number - 1] if number <= len(params) else ""), found.end()


def _period(source: Source, at: At, parts: tuple[str, ...], kind: str) -> int:
    if len(parts) == 2:
        unit, text = parts
        if unit not in UNITS and unit != "hz":
            raise source.problem(at, f"{unit} is not an accepted unit of time", "use s, ms, us or hz")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        if number <= 0:
            raise source.problem(at, f"{kind} frequency should be a positive integer")
        period = 10**9 // number if unit == "hz" else number * UNITS[unit]
    else:
        found = DURATION.fullmatch(parts[0])
        if not found or len(found[1]) > 15:
            raise source.problem(
                at, f"{kind} frequency should be a positive integer", f"for example {kind}:1s"
            )
        period = int(found[1]) * SECONDS[found[2] or "ns"]
    if period < 1000:
        raise source.problem(
            at, f"Invalid rate of {kind} probe. Minimum is 1000 or 1us. Found: {period} nanoseconds"
        )
    return period
