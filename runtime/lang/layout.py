"""Sizes of values that stand alone: map keys, map values, variables, arguments in a record."""

from __future__ import annotations

from runtime.lang.types import Type


def stored_size(kind: Type) -> int:
    """Bytes of a value of its own: words take 8, the rest is rounded up to 8; nothing takes none."""
    return 8 if kind.word else max(8, (kind.size + 7) & ~7)
