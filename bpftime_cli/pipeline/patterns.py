"""`list PATTERN`: the probes that a pattern matches, ready to paste, in a process or in files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from attachers.resolve import find_file
from bpftime_cli.console import Console
from bpftime_cli.render.json import value_json
from runtime.errors import AttachProblem, Problem, UsageProblem
from runtime.lang.providers import BY_ALIAS, BY_NAME
from runtime.symbols.demangle import source_name
from runtime.symbols.elf import IFUNC, ElfFile
from runtime.symbols.functions import find, unknown_function
from runtime.symbols.matching import CPP, every_match, is_pattern
from runtime.symbols.modules import modules_of
from runtime.symbols.paths import exists, is_file

PROVIDERS = {"uprobe": "uprobe", "u": "uprobe", "uretprobe": "uretprobe", "ur": "uretprobe"}
MARKERS = ("usdt", "U")
KERNEL = ("kprobe", "kretprobe", "kfunc", "kretfunc", "fentry", "fexit", "rawtracepoint", "iter")
TRACER = ("BEGIN", "END", "interval:ms:", "interval:s:")
FORMS = (
    "uprobe:BINARY:FUNCTION or usdt:BINARY:PROVIDER:NAME, all with wildcards: "
    "bpftime list 'uprobe:libc.so.6:*malloc*'"
)


@dataclass(frozen=True, slots=True)
class Matched:
    """One probe: `entry` tells whether its first instructions have room for a jump, as far as sizes say."""

    text: str
    size: int
    indirect: bool


def show_matches(pattern: str, pids: tuple[int, ...], options: tuple[bool, str], console: Console) -> int:
    """Print the probes of a pattern; `options`: more columns, and the format.

    Raises:
        Problem: nothing matches.
    """
    verbose, form = options
    provider, _, rest = pattern.partition(":")
    if provider in KERNEL:
        raise Problem(f"{provider} probes need the kernel; bpftime traces user space", hint=f"list {FORMS}")
    if provider in MARKERS and rest:
        from bpftime_cli.pipeline.markers import marker_text, show_markers  # lazy: its rows are others

        text = marker_text(rest)
        show_markers(files_of(text.binary, pids), text, options, console)
        console.out.flush()
        return 0
    if provider not in PROVIDERS and (provider in BY_NAME or provider in BY_ALIAS):
        from bpftime_cli.pipeline.probelist import Listing, show_probes  # lazy: it knows all kinds

        return show_probes(Listing(pattern, pids=pids, verbose=verbose, form=form), console)
    if provider not in PROVIDERS or not rest:
        raise UsageProblem(f"wrong pattern: '{pattern}'", hint=f"write {FORMS}")
    found = _matches(PROVIDERS[provider], _parts(rest), pids)
    rows = sorted(found, key=lambda m: m.text)
    if form == "json":
        for row in rows:
            console.data(value_json({"kind": "probe", "probe": row.text, "size": row.size}).encode() + b"\n")
    elif verbose:
        entry = {True: "ifunc", False: ""}
        cells = [
            (r.text, str(r.size), entry[r.indirect] or ("5B ok" if r.size >= 5 else f"short {r.size}B"))
            for r in rows
        ]
        console.table(("PROBE", "SIZE", "ENTRY"), cells)
    else:
        console.data("".join(f"{row.text}\n" for row in rows).encode("utf-8", "surrogateescape"))
    console.out.flush()
    return 0


def _parts(rest: str) -> tuple[str, str]:
    """Return binary and function of a pattern; a name in the source may have colons of its own."""
    binary, colon, function = rest.partition(":")
    if not colon and "/" not in rest and ".so" not in rest:
        binary, function = "*", rest
    return binary or "*", function.replace('"', "") or "*"


def _matches(provider: str, parts: tuple[str, str], pids: tuple[int, ...]) -> list[Matched]:
    binary, function = parts
    found: dict[str, Matched] = {}
    problem: AttachProblem | None = None
    for path, elf in files_of(binary, pids):
        try:
            points = points_of(elf, function)
        except AttachProblem as error:
            problem = error
            continue
        for name, size, indirect in points:
            one = Matched(f"{provider}:{path}:{name}", size, indirect)
            found.setdefault(one.text, one)
    if not found:
        raise problem or AttachProblem(f"no probe matches '{provider}:{binary}:{function}'", errno=2)
    return list(found.values())


def points_of(elf: ElfFile, function: str) -> list[tuple[str, int, bool]]:
    """Return name, size and whether it is an IFUNC of the functions that a pattern means: every name of each.

    Raises:
        AttachProblem: none matches.
    """
    if not is_pattern(function) and not function.startswith(CPP):
        return [
            (f"{p.name}+{p.offset}" if p.offset else p.name, p.size, p.indirect) for p in find(elf, function)
        ]
    found = every_match(elf, function)
    if not found:
        raise unknown_function(elf, function)
    return [(_shown(s.name, function), s.size, s.kind == IFUNC) for s in found if s.value]


def _shown(name: str, pattern: str) -> str:
    """Return a name as the pattern names functions: by their symbols, or as in the source."""
    return f'{CPP}"{source_name(name)}"' if pattern.startswith(CPP) else name


def files_of(binary: str, pids: tuple[int, ...]) -> list[tuple[str, ElfFile]]:
    """Return the files that the binary part means: of the processes where some are given, else by name."""
    if not pids:
        if "*" in binary:
            return [(str(p), e) for p, e in map(_opened, _glob(binary)) if e is not None]
        path = find_file(binary)
        return [(path, ElfFile(path))]
    found: dict[str, ElfFile] = {}
    for pid in pids:
        for module in modules_of(pid):
            if is_named(module.path, binary):
                found[module.path] = module.elf
    if not found:
        names = sorted({Path(m.path).name for pid in pids for m in modules_of(pid)})
        raise AttachProblem(
            f"no '{binary}' among the {len(names)} files mapped by {pids[0]}",
            errno=2,
            hint=f"mapped: {', '.join(names[:8])}",
        )
    return list(found.items())


def _glob(binary: str) -> list[Path]:
    if "/" not in binary:
        raise UsageProblem(
            f"wildcard without a process: '{binary}'", hint="add -p PID, or give a path: /usr/lib/*.so"
        )
    path = Path(binary).absolute()
    start = Path(path.anchor)
    return sorted(p for p in start.glob(str(path.relative_to(start))) if is_file(p))


@lru_cache
def _opened(path: Path) -> tuple[Path, ElfFile | None]:
    try:
        return path, ElfFile(str(path))
    except Problem:
        return path, None


def is_named(path: str, binary: str) -> bool:
    """Tell whether a file is what the binary part of a probe means."""
    import fnmatch  # lazy: only here

    name = path.rpartition("/")[2]
    if "*" in binary:
        return fnmatch.fnmatchcase(path if "/" in binary else name, binary)
    if "/" in binary:
        return exists(path) and exists(binary) and Path(path).samefile(binary)
    return name == binary or name.startswith(f"{binary}.so")
