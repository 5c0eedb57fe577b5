"""What the arguments of system calls mean, so that they can be shown: a kind for each, read from `kinds.tsv`.

A kind is a word, with what it needs behind a colon: `flags:open` (a set of `flags.tsv`), `in:2` (bytes whose
length is argument 2), `sockaddr:2`. Kinds that begin with `o` are written by the kernel, and read when the
call has ended.
Calls without a row get kinds from the kernel's types and names of their arguments.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from runtime.syscalls.table import Argument, by_number

FILE = Path(__file__).with_name("kinds.tsv")
PATHS = frozenset(("filename", "pathname", "path", "oldname", "newname", "name", "specialfile", "u_name"))
DIRECTORIES = frozenset(("dfd", "dirfd", "olddfd", "newdfd", "dir_fd"))
DESCRIPTORS = frozenset(("fd", "ufd", "epfd", "pidfd", "fd_in", "fd_out", "fildes", "in_fd", "out_fd"))
SIZES = frozenset(("size_t", "unsigned int", "u32", "const __u32", "unsigned", "uid_t", "gid_t", "umode_t"))


@cache
def rows() -> dict[str, tuple[str, ...]]:
    """Return the kinds of all calls that have a row."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    pairs = (line.partition("\t") for line in lines if not line.startswith("#"))
    return {name: tuple(kinds.split()) for name, _, kinds in pairs}


@cache
def kinds_of(number: int) -> tuple[str, ...]:
    """Return the kinds of a call's arguments; six words in hex where nothing is known of it."""
    call = by_number().get(number)
    if call is None:
        return ("hex",) * 6
    if call.name in rows():
        return rows()[call.name]
    return tuple(_kind(argument) for argument in call.arguments)


def _kind(argument: Argument) -> str:
    kind, name = argument.type, argument.name
    if name in DIRECTORIES:
        return "dirfd"
    if name in DESCRIPTORS:
        return "fd"
    if "*" in kind:
        return "path" if kind == "const char *" and name in PATHS else "ptr"
    if kind == "umode_t":
        return "mode"
    if kind in SIZES:
        return "uint"
    return "hex" if kind == "unsigned long" else "int"
