"""One line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `level` is ok, warn or FAIL; `cure` is the next step where it is not ok."""

    level: str
    check: str
    detail: str
    cure: str = ""
