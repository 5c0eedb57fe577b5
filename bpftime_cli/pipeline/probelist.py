"""`trace -l`: the probes there are, of a pattern, of a script; the kernel's types by `struct NAME`."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from attachers.usdt import MarkerText, find_markers
from bpftime_cli.console import Console
from bpftime_cli.pipeline.headers import kernel_types
from bpftime_cli.pipeline.patterns import files_of, points_of
from bpftime_cli.render.json import value_json
from runtime.btf.declare import declaration
from runtime.dwarf.spelling import parameter_lines
from runtime.dwarf.types import types_of
from runtime.errors import AttachProblem, Problem, UsageProblem
from runtime.events import Value
from runtime.lang import probes_of
from runtime.lang.c.kernel import KINDS, BtfTypes
from runtime.lang.providers import BY_ALIAS, BY_NAME, CPP, PROVIDERS, Provider
from runtime.lang.sampling import EVENTS, SWITCHES
from runtime.lang.tracepoints import Tracepoint, tracepoints
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import find
from runtime.symbols.operands import operands_of

INDENT = "    "
KERNELS = (
    "cuda",
    "cudaret",
    "cudamem",
    "cudalaunch",
    "cudadone",
)
USER = ("uprobe", "uretprobe", "usdt")  # probes in files, which are listed where files are named
UNITS = ("hz", "ms", "s", "us")
FIXED: dict[str, tuple[str, ...]] = {
    "begin": ("begin",),
    "end": ("end",),
    "self": ("self:signal:SIGUSR1",),
    "interval": tuple(f"interval:{unit}:" for unit in UNITS),
    "profile": tuple(f"profile:{unit}:" for unit in UNITS),
    **{
        kind: tuple(f"{kind}:{name}:" for name in names if name not in SWITCHES)
        for kind, names in EVENTS.items()
    },
    "cudaload": ("cudaload:*",),
    "rawtracepoint": ("rawtracepoint:sys_enter", "rawtracepoint:sys_exit"),
}
TYPE_WORDS = re.compile(r"\s*(struct|union|enum)\s+(\S+)\s*$")


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """One probe. `about` gives the lines on its arguments; it is called only where they are wanted."""

    text: str
    about: Callable[[], Iterable[str]] = field(compare=False, default=tuple)


@dataclass(frozen=True, slots=True)
class Listing:
    """What `-l` was asked: `patterns` separated by commas, empty for all; or a script's `program`."""

    patterns: str = ""
    program: str = ""
    file: str = "stdin"
    pids: tuple[int, ...] = ()
    params: tuple[str, ...] = ()
    verbose: bool = False
    form: str = "text"


def show_probes(listing: Listing, console: Console) -> int:
    """Print what is asked for, sorted.

    Raises:
        Problem: nothing matches, or the script is wrong.
    """
    if found := TYPE_WORDS.match(listing.patterns):
        _show_types(found[1], found[2], listing.verbose, console)
        return 0
    probes = _of_program(listing) if listing.program else _of_patterns(listing)
    for probe in sorted(set(probes)):
        if listing.form == "json":
            row: dict[str, Value] = {"kind": "probe", "probe": probe.text}
            if listing.verbose:
                row["arguments"] = list(probe.about())
            console.data(value_json(row).encode("utf-8", "surrogateescape") + b"\n")
            continue
        console.data(f"{probe.text}\n".encode("utf-8", "surrogateescape"))
        if listing.verbose:
            lines = "".join(f"{INDENT}{line}\n" for line in probe.about())
            console.data(lines.encode("utf-8", "surrogateescape"))
    console.out.flush()
    return 0


def _of_patterns(listing: Listing) -> list[Listed]:
    patterns = _split(listing.patterns) or ["*"]
    found = [probe for pattern in patterns for probe in _matching(pattern, listing.pids)]
    if not found:
        raise Problem(
            f"no probe matches '{listing.patterns}'", hint="-l alone lists all; -p PID adds a process"
        )
    return found


def _split(text: str) -> list[str]:
    return [part.strip() for part in re.findall(r'(?:[^,"]|"[^"]*")+', text) if part.strip()]


def _matching(pattern: str, pids: tuple[int, ...]) -> Iterator[Listed]:
    """Probes that a pattern means; without a provider, of all whose names match."""
    head, colon, rest = pattern.partition(":")
    named = BY_NAME.get(head.lower()) or BY_ALIAS.get(head) or ("*" in head and _providers(head))
    if not colon and not named:
        head, rest = "*", head
    providers = _providers(head)
    for provider in providers:
        if provider.name in USER:
            if len(providers) == 1 or pids or _names_file(rest):
                yield from _in_files(provider.name, rest or "*", pids, alone=len(providers) == 1)
        elif provider.name in KERNELS:
            if len(providers) == 1 or pids or _names_file(rest):
                yield from _in_kernels(provider.name, rest or "*", pids)
        elif provider.context is not None:
            wanted = f"{provider.name}:{rest or '*'}" if colon or named else f"*:{rest}"
            yield from (probe for probe in _fixed(provider) if rest == "*" or _fits(probe.text, wanted))
        elif len(providers) == 1:
            raise Problem(provider.reason.format(provider.name), hint=provider.hint)


def _fits(text: str, pattern: str) -> bool:
    """Whether a probe's text is what a pattern means, with or without the last colon of either."""
    pattern = pattern.replace("[", "[[]")
    return any(fnmatch.fnmatchcase(shown, pattern) for shown in (text, text.rstrip(":"), text + ":"))


def _providers(text: str) -> list[Provider]:
    if "*" not in text:
        found = BY_NAME.get(text.lower()) or BY_ALIAS.get(text)
        if found is None:
            raise UsageProblem(f"Invalid probe type: {text}", hint=f"there are {', '.join(BY_NAME)}")
        return [found]
    return [provider for provider in PROVIDERS if fnmatch.fnmatchcase(provider.name, text)]


def _names_file(rest: str) -> bool:
    binary = rest.partition(":")[0]
    return bool(binary) and "/" in binary and Path(binary).exists()


def _fixed(provider: Provider) -> Iterator[Listed]:
    """Probes of a kind that is the same for all processes."""
    if provider.name == "tracepoint":
        for point in tracepoints():
            yield Listed(f"tracepoint:{point.full_name}", partial(_fields, point))
    for text in FIXED.get(provider.name, ()):
        yield Listed(text)


def _fields(point: Tracepoint) -> list[str]:
    """The fields of a tracepoint as its format file names them."""
    if point.call is None:
        return ["long id", "long ret" if point.leaves else "unsigned long args[6]"]
    given = ["long ret"] if point.leaves else [f"{a.type} {a.name}" for a in point.call.arguments]
    return ["int __syscall_nr", *given]


# Probes in files


def _in_kernels(provider: str, rest: str, pids: tuple[int, ...]) -> Iterator[Listed]:
    from bpftime_cli.pipeline.kernellist import probes_of_kernels  # lazy: only where kernels are meant

    yield from map(Listed, probes_of_kernels(provider, rest, pids))


def _in_files(provider: str, rest: str, pids: tuple[int, ...], *, alone: bool) -> Iterator[Listed]:
    parts = [part.replace('"', "") for part in rest.split(":", 1)]
    binary, name = (parts[0], parts[1]) if len(parts) > 1 else ("*", parts[0])
    if len(parts) == 1 and _names_file(parts[0]):
        binary, name = parts[0], "*"
    try:
        files = files_of(binary or "*", pids)
    except (AttachProblem, UsageProblem):
        if alone:
            raise
        return
    for path, elf in files:
        yield from _markers(path, elf, name) if provider == "usdt" else _functions(provider, path, elf, name)


def _functions(provider: str, path: str, elf: ElfFile, name: str) -> Iterator[Listed]:
    try:
        points = points_of(elf, name or "*")
    except AttachProblem:
        return
    for point, _size, _indirect in points:
        shown = point if not point.startswith(CPP) else f"{CPP}:" + point.removeprefix(f"{CPP}:")
        yield Listed(f"{provider}:{path}:{shown}", partial(_parameters, elf, point))


def _parameters(elf: ElfFile, name: str) -> list[str]:
    types = types_of(elf.path)
    if types is None:
        return []
    try:
        points = find(elf, name.replace('"', ""))
        function = types.info.function_at(points[0].address) if points else None
    except Problem:
        return []
    return parameter_lines(types, function) if function is not None else []


def _markers(path: str, elf: ElfFile, name: str) -> Iterator[Listed]:
    text = MarkerText.of((path, *name.split(":", 1)) if name else (path, "*"))
    for marker in find_markers(elf, text):
        kinds = [operand.type for operand in operands_of(marker.arguments)]
        lines = [f"{kind} arg{index}" for index, kind in enumerate(kinds)]
        yield Listed(f"usdt:{path}:{marker.full_name}", partial(list, lines))


# Probes of a script


def _of_program(listing: Listing) -> list[Listed]:
    found: list[Listed] = []
    for text in probes_of(listing.program, listing.file, listing.params, bool(listing.pids)):
        provider, _, rest = text.partition(":")
        if provider in (*USER, "tracepoint") and rest:
            found += _matching(text, listing.pids)
        else:
            found.append(Listed(text))
    return found


# Types


def _show_types(tag: str, pattern: str, verbose: bool, console: Console) -> None:
    """Print the kernel's types of a name: their names, or what they are made of.

    Raises:
        Problem: there are no types, or none of that name.
    """
    path = kernel_types(os.environ)
    btf = BtfTypes(path).btf
    if btf is None:
        raise Problem(f"no types can be read from {path}", hint="BPFTRACE_BTF names another file")
    matched = [
        kind for kind in btf.all_types(*KINDS[tag]) if kind.name and fnmatch.fnmatchcase(kind.name, pattern)
    ]
    if not matched:
        raise Problem(f"there is no {tag} {pattern} in {path}")
    for kind in {kind.name: kind for kind in reversed(matched)}.values():
        text = f"{declaration(btf, kind)}\n\n" if verbose else f"{tag} {kind.name}\n"
        console.data(text.encode())
    console.out.flush()
