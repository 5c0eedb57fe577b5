"""Memory of the machine: ranges that may be accessed, in one flat address space.

Shared, local and parameter memory have windows below 4 GiB, so that 32-bit addresses work and `cvta` changes
nothing; everything else lies above.
"""

from __future__ import annotations

import bisect

SHARED, LOCAL, PARAM, CODE = 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x6000_0000
WINDOW = 0x1000_0000
MODULES = 0x7E00_0000_0000  # variables of modules


class Fault(Exception):
    """A kernel did what a GPU would stop it for, or what this machine does not know."""


class Memory:
    """Ranges of bytes by address; each is the caller's own buffer."""

    def __init__(self):
        self.starts = []
        self.ranges = []
        self.last = (1, 0, memoryview(b""))
        self.next = MODULES

    def add(self, address, view):
        """Make `view` (a writable memoryview of bytes) accessible at `address`."""
        view = memoryview(view).cast("B") if not isinstance(view, memoryview) else view
        index = bisect.bisect(self.starts, address)
        before = self.ranges[index - 1] if index else None
        behind = self.ranges[index] if index < len(self.ranges) else None
        if (before and before[1] > address) or (behind and behind[0] < address + len(view)):
            raise ValueError(f"{address:#x}: there is memory already")
        self.starts.insert(index, address)
        self.ranges.insert(index, (address, address + len(view), view))
        self.last = (1, 0, view)

    def remove(self, address):
        """Take away what was added at `address`."""
        index = self.starts.index(address)
        del self.starts[index], self.ranges[index]
        self.last = (1, 0, memoryview(b""))

    def allocate(self, size, align=256):
        """Make zeroed memory of our own; returns address and view."""
        address = -(-self.next // align) * align
        self.next = address + max(size, 1) + 4096
        view = memoryview(bytearray(max(size, 1)))
        self.add(address, view)
        return address, view[:size]

    def at(self, address, size):
        """Give the view that holds `size` bytes at `address`, and where in it."""
        start, end, view = self.last
        if not start <= address <= end - size:
            index = bisect.bisect(self.starts, address) - 1
            if index < 0 or address + size > self.ranges[index][1]:
                raise Fault(f"no memory at {address:#x} ({size} bytes)")
            start, end, view = self.last = self.ranges[index]
        return view, address - start

    def read(self, address, size):
        view, at = self.at(address, size)
        return bytes(view[at : at + size])

    def write(self, address, data):
        view, at = self.at(address, len(data))
        view[at : at + len(data)] = data
