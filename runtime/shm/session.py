"""A session while it runs: its region with the maps placed in it, and what symbols of images mean there."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Bug, Problem
from runtime.maps.layout import ARRAYS, RINGS, MapLayout, initialise, possible_cpus
from runtime.maps.reader import MapView
from runtime.maps.spec import MapSpec
from runtime.shm.region import HUGE, PAGE, Region

TABLES = 1 << 20  # header, process, handler and thread-slot tables, rounded up generously


@dataclass(frozen=True, slots=True)
class PlacedMap:
    """A map with its place: `offset` of its header in the region, `number` its id in the session."""

    spec: MapSpec
    layout: MapLayout
    offset: int
    number: int

    @property
    def is_ring(self) -> bool:
        """Return whether it is a ring buffer or perf event array."""
        return self.spec.kind in RINGS

    @property
    def ring(self) -> tuple[int, int]:
        """Return offset and bytes of its two head pages and data."""
        return self.offset + PAGE, self.layout.bytes - PAGE


class Session:
    """A region and its maps by name."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.maps: dict[str, PlacedMap] = {}
        self._local_rings: dict[str, int] = {}

    @classmethod
    def create(
        cls, name: str, specs: tuple[MapSpec, ...], *, file: Path | None = None, size: int = 0, spare: int = 0
    ) -> Session:
        """Make a session that has room for these maps (or `size` bytes, if that is more) and place them.

        `spare`: bytes for what comes later; they take no memory until they are written.

        Raises:
            Problem: a map cannot exist, or there is not that much memory.
        """
        cpus = possible_cpus()
        needed = sum(MapLayout.of(s, cpus).bytes + PAGE for s in specs) + TABLES
        session = cls(Region.create(name, max(needed, size, HUGE) + spare, file))
        for spec in specs:
            session.place(spec)
        return session

    def place(self, spec: MapSpec) -> PlacedMap:
        """Put one more map into the region.

        Raises:
            Problem: the region is full, or the map cannot exist.
        """
        if spec.name in self.maps:
            raise Problem(f"two maps are called '{spec.name}'")
        cpus = self.region.get("cpus")
        layout = MapLayout.of(spec, cpus)
        offset = self.region.allocate(layout.bytes, layout.align)
        number = len(self.maps) + 1
        initialise(self.region.buffer, offset, spec, cpus, number=number, seed=self.region.get("hash_seed"))
        self.maps[spec.name] = PlacedMap(spec, layout, offset, number)
        return self.maps[spec.name]

    def view(self, name: str) -> MapView:
        """Return a reader and writer of a map."""
        placed = self.maps[name]
        return MapView(self.region.buffer, placed.offset, placed.spec)

    def offset_of(self, symbol: str) -> int | None:
        """Return the region offset that `map:`, `head:` or `region` means; None for other symbols."""
        if symbol == "region":
            return 0
        kind, _, name = symbol.partition(":")
        if kind not in ("map", "head") or name not in self.maps:
            return None
        placed = self.maps[name]
        values = kind == "map" and placed.spec.kind in ARRAYS
        return placed.offset + (placed.layout.data if values else 0)

    def local_address(self, symbol: str) -> int:
        """Return what a symbol of an image means in this process.

        Raises:
            Bug: the symbol is not of this session.
        """
        offset = self.offset_of(symbol)
        if offset is not None:
            return buffer_address(self.region.buffer) + offset
        kind, _, name = symbol.partition(":")
        if kind == "ring" and name in self.maps:
            if name not in self._local_rings:
                self._local_rings[name] = map_ring(self.region.fd, *self.maps[name].ring)
            return self._local_rings[name]
        raise Bug(f"symbol '{symbol}' is not of session '{self.region.name}'")

    def local_symbols(self) -> dict[str, int]:
        """Return every symbol of the session with its address in this process."""
        names = ["region"]
        for name, placed in self.maps.items():
            names += [f"ring:{name}", f"head:{name}"] if placed.is_ring else [f"map:{name}", f"head:{name}"]
        return {name: self.local_address(name) for name in names}


def buffer_address(buffer: memoryview) -> int:
    """Return where a writable buffer lies in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def map_ring(fd: int, offset: int, size: int) -> int:
    """Map a ring here: `size` bytes of head pages and data, then the data again, so that no record wraps."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    data = size - 2 * PAGE
    whole = libc.mmap(None, size + data, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
    fixed = mmap.MAP_SHARED | 0x10
    parts = [(whole, size, offset), (whole + size, data, offset + 2 * PAGE)]
    for at, length, start in parts:
        if libc.mmap(at, length, 3, fixed, fd, start) != at:
            raise Problem("cannot map the ring buffer", hint="raise the limit on address space (ulimit -v)")
    address: int = whole
    return address
