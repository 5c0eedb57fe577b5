"""`bpftime __complete KIND PREFIX`: words for a shell, answered before Typer is imported; 30 ms at most.

Each line is a word, then a tab and what it is. A word that cannot be known gives no line and no message: this
runs while someone types.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

PROVIDERS = ("uprobe:", "uretprobe:", "usdt:", "interval:", "BEGIN", "END")
FUNCTION_PROVIDERS = ("uprobe", "uretprobe", "u", "ur")
MARKER_PROVIDERS = ("usdt", "U")
FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
MOST = 2000  # words; shells get slow, and nobody reads more

Words = Iterator[tuple[str, str]]


def complete(arguments: list[str]) -> int:
    """Print the words of a kind that begin with a prefix; always status 0."""
    kind, prefix = (*arguments, "", "")[:2]
    maker = KINDS.get(kind)
    if maker is None:
        return 0
    try:
        found = sorted({pair for pair in maker(prefix) if pair[0].startswith(prefix)})
    except Exception:  # a shell that waits for a word wants no traceback in its prompt
        return 0
    lines = [f"{word}\t{about}" if about else word for word, about in found[:MOST]]
    sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return 0


def _pids(prefix: str) -> Words:
    """Yield own processes; the prefix may hold several with commas."""
    done = prefix[: prefix.rfind(",") + 1]
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if os.geteuid() not in (0, entry.stat().st_uid):
                continue
            with open(f"{entry.path}/comm", errors="replace") as file:  # pathlib costs 4 ms
                yield done + entry.name, file.read().strip()
        except OSError:
            continue


def _probes(prefix: str) -> Words:
    """Yield providers, then binaries, then functions."""
    provider, colon, rest = prefix.partition(":")
    if not colon:
        yield from ((word, "") for word in PROVIDERS)
    elif provider == "interval":
        yield from ((f"interval:{unit}:", "") for unit in ("s", "ms", "us", "hz"))
    elif provider in FUNCTION_PROVIDERS:
        binary, colon, _ = rest.rpartition(":")
        yield from _functions(provider, binary) if colon else _binaries(provider, rest)
    elif provider in MARKER_PROVIDERS:
        binary, colon, _ = rest.partition(":")
        yield from _markers(provider, binary) if colon else _binaries(provider, rest)


def _binaries(provider: str, prefix: str) -> Words:
    if "/" in prefix:
        folder = prefix[: prefix.rindex("/") + 1]
        for entry in os.scandir(folder):
            yield f"{provider}:{folder}{entry.name}{'/' if entry.is_dir() else ':'}", ""
        return
    for folder in FOLDERS:
        if os.path.isdir(folder):  # noqa: PTH112 # pathlib costs 4 ms
            yield from ((f"{provider}:{name}:", "") for name in os.listdir(folder) if ".so" in name)  # noqa: PTH208


def _functions(provider: str, binary: str) -> Words:
    from runtime.symbols.elf import ElfFile

    for symbol in ElfFile(_path_of(binary)).functions:
        yield f"{provider}:{binary}:{symbol.name}", ""


def _markers(provider: str, binary: str) -> Words:
    from runtime.symbols.elf import ElfFile
    from runtime.symbols.notes import markers_of

    for marker in markers_of(ElfFile(_path_of(binary))):
        yield f"{provider}:{binary}:{marker.full_name}", marker.arguments


def _path_of(binary: str) -> str:
    if "/" in binary:
        return binary
    places = [*FOLDERS, *os.environ.get("PATH", "").split(":")]
    return next(p for p in (f"{folder}/{binary}" for folder in places) if os.path.isfile(p))  # noqa: PTH113


def _sessions(_: str) -> Words:
    from runtime.shm.folder import SessionFolder

    for folder in SessionFolder.all():
        yield folder.name, "session"


def _maps(_: str) -> Words:
    from runtime.shm.folder import SessionFolder
    from runtime.shm.handlers import Handlers

    for folder in SessionFolder.all():
        region = folder.open_region(folder.read())
        for entry in Handlers(region).maps():
            yield entry.name, f"map of {folder.name}"


KINDS: dict[str, Callable[[str], Words]] = {
    "pid": _pids,
    "probe": _probes,
    "session": _sessions,
    "map": _maps,
}
