"""One context of a process with our memory in it, and memory of the process for what calls point to."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.symbols.maps import Memory

SCRATCH = 1 << 14


@dataclass(slots=True)
class Context:
    """One context of the process: `base` of our allocation on the device, `staging` in its own memory.

    `copy` is what was read last, which outlives the context. `constants`: by module, where its constant is.
    `shared`: offset of its part of the session's region, -1 for none; `mapped`: the device's address of that.
    `own`: the device's address of the pages with maps of the session that devices use. `clock`: nanoseconds
    from the device's clock to the host's.
    """

    handle: int
    device: int
    stream: int = 0
    base: int = 0
    staging: int = 0
    shared: int = -1
    mapped: int = 0
    clock: int = 0
    own: int = 0
    is_alive: bool = True
    copy: bytes = b""
    constants: dict[int, int] = field(default_factory=dict)


class Scratch:
    """Memory of the target for what calls point to, given out from its start."""

    def __init__(self, memory: Memory, at: int) -> None:
        self.memory, self.at, self._used = memory, at, 16  # what nobody looks at goes to the start

    def put(self, data: bytes) -> int:
        """Write bytes; returns their address."""
        at = self.room(len(data))
        self.memory.write(at, data)
        return at

    def room(self, size: int = 8) -> int:
        """Return the address of so many bytes."""
        at = self.at + self._used
        self._used += (size + 15) & -16
        assert self._used <= SCRATCH
        return at

    def u64(self, at: int) -> int:
        """Return a word."""
        return self.memory.u64(at)

    def u32(self, at: int) -> int:
        """Return half a word."""
        return self.memory.u64(at) & 0xFFFFFFFF
