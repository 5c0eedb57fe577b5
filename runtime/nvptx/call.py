"""Helper calls on a device: one emitter for each number, all inline."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from runtime.helpers.device import DEVICE
from runtime.jit.site import CallSite
from runtime.nvptx.unit import Unit

if TYPE_CHECKING:
    from runtime.maps.spec import MapSpec


class Site(CallSite[Unit]):
    """One call that is being lifted for a device."""

    __slots__ = ()

    def align(self, number: int) -> int:
        """Give what is known of the alignment of memory that an argument points to."""
        offset = self.call.stack.get(number, 1)
        return offset & -offset if offset % 8 else 8

    def words(self, number: int, size: int) -> list[str]:
        """Read `size` bytes of memory that an argument points to as i64 values, the last one filled up."""
        text = self.constant(number)
        if text is not None and len(text) >= size:
            padded = text[:size].ljust(-(-size // 8) * 8, b"\0")
            return [str(one) for one in struct.unpack(f"<{len(padded) // 8}q", padded)]
        code, pointer = self.code, self.pointer(number)
        align, found = self.align(number), []
        for at in range(0, size, 8):
            part = min(8, size - at)
            value = code.op(
                f"load i{8 * part}, ptr {code.at(pointer, at)}, align {align if part == 8 else 1}"
            )
            found.append(code.widen(value, 8 * part))
        return found

    def constant(self, number: int) -> bytes | None:
        """Give the read-only data that an argument points to, where that is known here."""
        return None if number in self.call.stack else self.unit.texts.get(self.code.get(number))

    def known(self) -> MapSpec:
        """Give the map of the call.

        Raises:
            Unsupported: it is not the same map on all paths.
        """
        spec = self.unit.maps.get(self.call.map)
        if spec is None:
            raise self.unit.refused(
                self.index, f"{self.name} is called with different maps on different paths"
            )
        return spec

    @property
    def name(self) -> str:
        """The helper's name."""
        return f"bpf_{DEVICE[self.call.helper].name}"


def lift(site: Site) -> None:
    """Lift one helper call: r0 becomes its result.

    Raises:
        Unsupported: the helper cannot do here what it is asked for.
    """
    from runtime.nvptx import helpers  # lazy: they use this module's Site

    result = helpers.EMIT[site.call.helper](site)
    for register in range(1, 6):
        site.code.forget(register)
    site.code.set(0, result)
