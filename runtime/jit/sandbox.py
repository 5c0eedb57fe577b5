"""A private region in this process for programs that run here: maps placed, rings mapped twice."""

from __future__ import annotations

import ctypes
import mmap
import secrets
from typing import TYPE_CHECKING

from runtime.errors import Problem
from runtime.jit.local import LocalProgram
from runtime.maps import layout as shape
from runtime.maps.layout import MapLayout
from runtime.maps.reader import MapView
from runtime.maps.spec import MapKind
from runtime.shm.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.jit.image import Image
    from runtime.maps.spec import MapSpec

SLACK = 2 << 20  # header and tables of a region
MAP_FIXED, MAP_SHARED = 0x10, 1


class Sandbox:
    """Maps of one object in a region of their own. `views` reads and writes them by name."""

    def __init__(self, maps: Iterable[MapSpec], cpus: int) -> None:
        specs = list(maps)
        sizes = {spec.name: MapLayout.of(spec, cpus) for spec in specs}
        self.region = Region.create("sandbox", SLACK + sum(s.bytes + s.align for s in sizes.values()))
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.region.buffer))
        self.symbols = {"region": self.base}
        self.views: dict[str, MapView] = {}
        self.tables: dict[str, ctypes.Array[ctypes.c_uint64]] = {}
        for number, spec in enumerate(specs, 1):
            self._place(spec, sizes[spec.name], number, cpus)

    def _place(self, spec: MapSpec, sizes: MapLayout, number: int, cpus: int) -> None:
        offset = self.region.allocate(sizes.bytes, sizes.align)
        seed = secrets.randbits(31)
        shape.initialise(self.region.buffer, offset, spec, cpus, number=number, seed=seed)
        self.views[spec.name] = MapView(self.region.buffer, offset, spec)
        self.symbols[f"head:{spec.name}"] = self.base + offset
        self.symbols[f"map:{spec.name}"] = self.base + offset + sizes.data
        if spec.kind in shape.RINGS:
            self.symbols[f"ring:{spec.name}"] = self._double(offset + sizes.data, shape.ring_bytes(spec))
        if spec.kind == MapKind.PROG_ARRAY:
            table = (ctypes.c_uint64 * spec.max_entries)()
            self.tables[spec.name] = table
            self.symbols[f"progs:{spec.name}"] = ctypes.addressof(table)

    def _double(self, offset: int, size: int) -> int:
        """Map a ring's pages, and its data once more behind them.

        Raises:
            Problem: there is no room.
        """
        control = 2 * mmap.PAGESIZE
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
        ]
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        total = control + 2 * size
        at = libc.mmap(None, total, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        fixed = MAP_SHARED | MAP_FIXED
        first = libc.mmap(at, control + size, rights, fixed, self.region.fd, offset)
        again = libc.mmap(at + control + size, size, rights, fixed, self.region.fd, offset + control)
        if first != at or again != at + control + size:
            raise Problem(f"a ring of {size} bytes cannot be mapped")
        return int(at)

    def program(self, image: Image) -> LocalProgram:
        """Link an image against these maps."""
        return LocalProgram(image, self.symbols)

    def close(self) -> None:
        """Let the region go; no program of it may run any more."""
        self.views.clear()
