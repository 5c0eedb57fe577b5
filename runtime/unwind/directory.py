"""The unwind tables of the processes of one session: which module lies where, and where its table lies.

Tables and directories are data in the session's region, so they are there for every process that has it
mapped, also for fork children, which find the same modules at the same addresses. The layouts are those of
`runtime/agent/unwind.h`. A module whose table does not fit is left out: walks use frame pointers there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.errors import ObjectProblem, Problem
from runtime.shm.region import Region
from runtime.symbols.modules import Module
from runtime.unwind.table import table_of

ROOM = 64 << 20  # bytes of a region for tables; only what is written takes memory
DIRECTORY = struct.Struct("<3Q2I")
ENTRY = struct.Struct("<4Q2I")
TABLE, THUNKS = 0, 1


@dataclass
class Unwinding:
    """What one session has written of tables and directories."""

    region: Region
    _tables: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _directories: dict[int, int] = field(default_factory=dict)

    def directory(self, pid: int, modules: Iterable[Module], thunks: Iterable[tuple[int, int]]) -> int:
        """Write (or renew) the directory of a process; returns its offset in the region, 0 for no room.

        `thunks`: ranges (start, end) that hold code of ours.
        """
        rows = [(start, end, 0, 0, 0, THUNKS) for start, end in thunks]
        rows += [row for module in modules for row in self._rows(module)]
        rows.sort()
        try:
            if pid not in self._directories:
                self._directories[pid] = self.region.allocate(DIRECTORY.size)
            at = self.region.allocate(ENTRY.size * len(rows))  # a walk may be reading the old ones
        except Problem:
            return 0
        data = b"".join(ENTRY.pack(*row) for row in rows)
        self.region.buffer[at : at + len(data)] = data
        place = self._directories[pid]
        head = DIRECTORY.pack(place, at, self.region.size, len(rows), 0)
        self.region.buffer[place : place + len(head)] = head
        return place

    def _rows(self, module: Module) -> list[tuple[int, int, int, int, int, int]]:
        """Return a row for each executable mapping of a module that has a table."""
        try:
            offset, size = self._table(module)
        except (Problem, OSError):
            return []
        bias = module.bias & (1 << 64) - 1
        return [(m.start, m.end, bias, offset, size, TABLE) for m in module.text] if size else []

    def _table(self, module: Module) -> tuple[int, int]:
        key = (module.path, module.elf.build_id)
        if key not in self._tables:
            try:
                data = table_of(module.elf)
            except ObjectProblem:
                data = b""
            at = self.region.allocate(len(data)) if data else 0
            self.region.buffer[at : at + len(data)] = data
            self._tables[key] = (at, len(data))
        return self._tables[key]
