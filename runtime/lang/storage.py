"""Where a program keeps what does not fit a register: the stack, and the frame for large things.

Both grow and shrink with the blocks of the script. Small things live on the stack (512 bytes); the rest in
one frame, whose size is known when the program is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.lang.variables import Place

STACK, FRAME = 10, 7  # registers
STACK_BYTES = 512
SMALL = 64  # bytes that may go to the stack
RESERVED = 96  # bytes of the stack that only single words may take


class Storage:
    """Allocates places; all are aligned to 8 bytes. `stack_only`: large things are on the stack as well."""

    def __init__(self, *, stack_only: bool = False) -> None:
        self._small = STACK_BYTES if stack_only else SMALL
        self._stack = 0
        self._frame = 0
        self.frame_bytes = 0

    def take(self, size: int) -> Place:
        """Reserve `size` bytes until the enclosing `scope` ends."""
        size = (size + 7) & ~7
        limit = STACK_BYTES if size <= 8 else STACK_BYTES - RESERVED
        if size <= self._small and self._stack + size <= limit:
            self._stack += size
            return Place(STACK, -self._stack)
        return self.take_frame(size)

    def take_frame(self, size: int) -> Place:
        """Reserve bytes in the frame: memory that may be read before it is written."""
        place = Place(FRAME, self._frame)
        self._frame += (size + 7) & ~7
        self.frame_bytes = max(self.frame_bytes, self._frame)
        return place

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Give back at the end what was taken inside."""
        stack, frame = self._stack, self._frame
        yield
        self._stack, self._frame = stack, frame
