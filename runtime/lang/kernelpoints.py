"""Attach points of CUDA probes: which kernels, and of memory probes which instructions."""

from __future__ import annotations

import re

from runtime.lang.source import At, Source
from runtime.lang.suggest import near

ONE_COLON = re.compile(r"(?<!:):(?!:)")
OPERATIONS = ("ld", "st", "atom", "red", "all")
SPACES = ("global", "shared", "local", "const", "generic", "all")
KNOWN = {"kind of memory instruction": OPERATIONS, "state space": SPACES}


def parts_of(source: Source, at: At, provider: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Put names with `::` together again, and check what a memory probe says behind the kernel.

    Raises:
        Problem: there are no such instructions or state spaces.
    """
    if not any(parts):
        return parts
    joined = tuple(ONE_COLON.split(":".join(parts)))
    if provider != "cudamem":
        return joined
    for words, (what, known) in zip(joined[1:], KNOWN.items(), strict=False):
        for word in words.split(","):
            if word not in known:
                hint = near(word, known) or f"use {', '.join(known)}"
                raise source.problem(at, f"{word} is no {what}", hint)
    return joined
