"""The build's own options for the assembler, as a fatbin keeps them: those that may be used again."""

from __future__ import annotations

import re

# Images come from the traced process: an option that names a file must not reach a command line.
_ALLOWED = re.compile(
    r"(?:-O[0-4]|-g|--device-debug|-lineinfo|--?generate-line-info|--dont-merge-basicblocks|--return-at-end"
    r"|-dlcm=\w+|-dscm=\w+|--def-(?:load|store)-cache=\w+|--?maxrregcount=\d+|--fmad=\w+|--opt-level=\d)\Z"
)
RELOCATABLE = frozenset(("--compile-only", "-c"))


def replayed(text: str) -> tuple[str, ...]:
    """Give the options that change the code of an image and are safe to use."""
    return tuple(word for word in text.split() if _ALLOWED.match(word))


def is_relocatable(text: str) -> bool:
    """Return whether an image was made to be linked with others."""
    return bool(RELOCATABLE & set(text.split()))
