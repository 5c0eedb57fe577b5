"""One measured figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`value` in `unit`; `ratio` of it to `baseline`; `goal` is what it should be at most, 0 for none.

    `skipped` says why there is no value.
    """

    name: str
    value: float
    unit: str
    baseline: str = ""
    ratio: float = 0.0
    goal: float = 0.0
    skipped: str = ""

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name:46} {'-':>12}  skipped: {self.skipped}"
        against = f"{self.ratio:.4g} x {self.baseline}" if self.baseline else ""
        goal = f"at most {self.goal:g}" + (" MISSED" if self.value > self.goal else "") if self.goal else ""
        return f"{self.name:46} {self.value:9.4g} {self.unit:3}  {against:30} {goal}".rstrip()
