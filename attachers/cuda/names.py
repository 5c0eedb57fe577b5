"""Which kernels a pattern means: mangled name, name in the source with or without templates, wildcards."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache

from runtime.symbols.demangle import source_name, spellings
from runtime.symbols.matching import compiled, is_pattern

MEMCAPTURE = "__memcapture"  # the reference's pseudo name for every kernel


@lru_cache(maxsize=4096)
def forms(mangled: str) -> tuple[str, ...]:
    """Give every way to write a kernel: mangled, demangled, bare, as template, without namespaces."""
    whole = source_name(mangled)
    if whole == mangled:
        return (mangled,)
    found = [mangled, *spellings(whole)]
    found += [_without_namespaces(form) for form in found[2:]]
    return tuple(dict.fromkeys(found))


def _without_namespaces(text: str) -> str:
    """Give `f<a::b>` for `ns::f<a::b>`."""
    angle, cut = 0, 0
    for index, char in enumerate(text):
        angle += (char == "<") - (char == ">")
        if not angle and text.startswith("::", index):
            cut = index + 2
    return text[cut:]


def matches(pattern: str, mangled: str) -> bool:
    """Return whether a pattern means a kernel."""
    if pattern in ("*", MEMCAPTURE):
        return True
    if not is_pattern(pattern):
        return pattern in forms(mangled)
    fits = compiled(pattern)
    return any(fits(form) for form in forms(mangled))


def any_matches(patterns: Iterable[str], mangled: str) -> bool:
    """Return whether one of several patterns means a kernel."""
    return any(matches(pattern, mangled) for pattern in patterns)


def near(pattern: str, kernels: Iterable[str], most: int = 3) -> list[str]:
    """Give the kernels' names most like one that matched none, as one would write them."""
    written = {short_name(kernel): None for kernel in kernels}
    return difflib.get_close_matches(pattern, list(written), most, 0.5)


def short_name(mangled: str) -> str:
    """Give the name one would write for a kernel: with its template's arguments, without its parameters."""
    found = forms(mangled)
    return found[min(3, len(found) - 1)]
