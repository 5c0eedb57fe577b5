"""From an address to the line of the source that it belongs to."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from runtime.dwarf.info import DebugInfo, debug_info
from runtime.dwarf.lines import rows_of
from runtime.dwarf.units import Unit

KEPT = 256  # units whose tables are remembered
Table = list[tuple[int, str, int]]  # address, file and line (0: nothing begins there), in order


def source_at(path: str, address: int) -> tuple[str, int] | None:
    """Return file and line of an address of a file (its own numbering), None where nothing is known.

    Raises:
        ObjectProblem: the file is no program, or its debug info is damaged.
    """
    info = debug_info(path)
    if info is None:
        return None
    for unit in info.units_at(address):
        table = _table(info, unit)
        index = bisect_right(table, address, key=lambda row: row[0]) - 1
        if index >= 0 and table[index][2]:
            return table[index][1], table[index][2]
    return None


@lru_cache(maxsize=KEPT)
def _table(info: DebugInfo, unit: Unit) -> Table:
    return info.guarded(lambda: sorted(rows_of(info, unit)))
