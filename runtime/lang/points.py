"""One attach point as written to those it means: wildcards in the kind of probe, hints for the kernel's."""

from __future__ import annotations

import re
from contextlib import suppress
from fnmatch import fnmatchcase

from runtime.errors import Problem, Unserved
from runtime.lang.providers import FUNCTION_PROVIDERS, PROVIDERS, Point, Provider, read_point, split
from runtime.lang.source import At, Source
from runtime.syscalls.table import syscalls

KERNEL_PREFIX = re.compile(r"^(__x64_|__arm64_|__se_|__do_|__)?(sys_|ksys_|do_sys_|do_|vfs_)?")
TWO_OFFSETS = re.compile(r"\+(0x[0-9a-fA-F]+|\d+)\+")
WILD_ADDRESS = re.compile(r"(0x)?[0-9a-fA-F]*\d[0-9a-fA-F]*\*[0-9a-fA-F*]*")


def read_points(source: Source, at: At, text: str, params: tuple[str, ...], pid: bool) -> list[Point]:
    """Read one attach point; with a `pid` the binary may be left out.

    Raises:
        Problem: unknown or unserved provider, wrong parts.
    """
    word, colon, rest = text.partition(":")
    if "*" not in word or "=" in word:
        return [_read(source, at, text, params, pid)]
    found = [p for p in PROVIDERS if fnmatchcase(p.name, word.lower())]
    try:
        count = len(split(rest, params)) if colon else 0
    except ValueError as error:
        raise source.problem(at, str(error)) from None
    points = []
    for provider in found:
        if provider.context is None or not _takes(provider, count, pid):
            continue
        with suppress(Problem):  # these parts mean nothing to that kind
            points.append(_read(source, at, f"{provider.name}{colon}{rest}", params, pid))
    if not points:
        raise source.problem(at, f"No probe type matched for {word}")
    return points


def _takes(provider: Provider, count: int, pid: bool) -> bool:
    least = max(1, provider.least - 1) if pid and provider.registers else provider.least
    return least <= count <= provider.most


def _read(source: Source, at: At, text: str, params: tuple[str, ...], pid: bool) -> Point:
    try:
        point = read_point(source, at, text, params, pid)
    except Unserved as problem:
        raise Unserved(str(problem), span=problem.span, hint=_hint(text) or problem.hint) from None
    if point.provider.name in FUNCTION_PROVIDERS:
        _check_function(source, point)
    return point


def _check_function(source: Source, point: Point) -> None:
    """Refuse what no function is called.

    Raises:
        Problem: two offsets, or an address with a wildcard.
    """
    name = point.parts[-1]
    text = ""
    if TWO_OFFSETS.search(name):
        text = "Cannot take more than one offset"
    elif WILD_ADDRESS.fullmatch(name):
        text = "Cannot use wildcards with absolute address"
    if text:
        raise Problem(text, span=source.span(point.at))


def _hint(text: str) -> str:
    """Name the tracepoint of the system call that a function of the kernel carries out."""
    name = text.rpartition(":")[2]
    bare = KERNEL_PREFIX.sub("", name)
    known = {call.tracepoint for call in syscalls() if call.tracepoint}
    found = next((word for word in (bare, f"new{bare}") if word in known), "")
    way = "exit" if text.startswith(("kr", "fexit", "fr")) else "enter"
    return f"use tracepoint:syscalls:sys_{way}_{found}" if found else ""
