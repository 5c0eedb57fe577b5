"""`-l` for probes in CUDA kernels: the kernels in the files that are named, or that processes have mapped."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from attachers.cuda.files import images_in, kernels_in
from attachers.cuda.names import matches, short_name
from attachers.resolve import find_file
from runtime.errors import AttachProblem, Problem
from runtime.symbols.modules import modules_of

PROVIDERS = ("cuda", "cudaret", "cudamem", "cudalaunch", "cudadone")
ON_HOST = ("cudalaunch", "cudadone")  # these need no PTX
MOST = 1 << 30  # bytes of a file that is looked at


def probes_of_kernels(provider: str, rest: str, pids: tuple[int, ...]) -> Iterator[str]:
    """Give the probes of a kind: `rest` is a file, a kernel's pattern, or FILE:PATTERN.

    Raises:
        AttachProblem: there is no such file.
        Problem: no file is named, and no process.
    """
    binary, colon, pattern = _split(rest)
    if not colon and not pids:
        hint = f"{provider}:./FILE:* lists those of a file, -p PID those that a process has mapped"
        raise Problem(f"{provider} probes depend on what a program loads", hint=hint)
    for path in _files(binary, pids):
        for name, has_ptx in _kernels(path).items():
            if (has_ptx or provider in ON_HOST) and matches(pattern or "*", name):
                yield f"{provider}:{short_name(name)}"


def _split(rest: str) -> tuple[str, str, str]:
    """Return binary, `:` where there is one, and the kernel; names of C++ have `::`."""
    binary, colon, pattern = rest.partition(":")
    if Path(binary).is_file() or (colon and not pattern.startswith(":")):
        return binary, ":", pattern
    return "*", "", rest


def _files(binary: str, pids: tuple[int, ...]) -> Iterator[str]:
    if not pids:
        yield binary if Path(binary).is_file() else find_file(binary)
        return
    for module in (module for pid in pids for module in modules_of(pid)):
        if binary in ("", "*") or fnmatchcase(Path(module.path).name, Path(binary).name):
            yield module.readable


def _kernels(path: str) -> dict[str, bool]:
    """Return the kernels of a file, and whether each has PTX.

    Raises:
        AttachProblem: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST)
    except OSError as error:
        raise AttachProblem(f"cannot read {path}: {error.strerror}", errno=2) from None
    found: dict[str, bool] = {}
    for number, image in enumerate(images_in(data)):
        for row in kernels_in(number, image):
            if row.name:
                found[row.name] = found.get(row.name, False) or bool(row.ptx)
    return found
