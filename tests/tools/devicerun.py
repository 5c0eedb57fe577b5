"""Run bodies in the PTX interpreter: maps placed as on a device, threads in blocks, what comes out folded."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.ebpf.object import Program
from runtime.lang.compile import compile_script
from runtime.lang.script import Options, Script
from runtime.maps.spec import MapSpec
from runtime.nvptx import maps as device
from runtime.nvptx.compile import Device, bodies
from runtime.nvptx.reader import DeviceRing
from runtime.types import DEVICE_KINDS
from runtime.verify.check import verify
from tests.tools.bodies import MODERN, kernel
from tests.tools.ptxrun.machine import Machine

SMS = 4
KEEP_AND_END = """
*(u64 *)(r10 - 16) = {register}
r1 = map[out] ll
r2 = r10
r2 += -4
call map_lookup_elem
if r0 == 0 goto end
r1 = *(u64 *)(r10 - 16)
*(u64 *)(r0 + 0) = r1
end:
r0 = 0
exit
"""
"""Assembler text: put a register into map `out`, under the u32 key at r10 - 4, and end."""


class DeviceRun:
    """Programs, each in a kernel `k0`, `k1` … of its own, and their maps in the interpreter's memory."""

    def __init__(
        self,
        programs: Sequence[Program],
        maps: Sequence[MapSpec],
        how: Device = MODERN,
        threads: int = 256,
        around: str = "{}",
    ) -> None:
        table = {spec.name: spec for spec in maps}
        self.bodies = bodies([verify(one, table) for one in programs], table, list(table), how)
        self.machine = Machine()
        self.placed = device.place(maps, SMS, threads)
        self.memories = [self.machine.memory.allocate(one.size) for one in self.placed]
        for one, (_, view) in zip(self.placed, self.memories, strict=True):
            view[: len(one.initial)] = one.initial
        total = sum(one.ring_size for one in self.placed)
        rings, self.pinned = self.machine.memory.allocate(max(total, 8))
        self.rings = {
            one.name: DeviceRing(self.pinned[one.ring : one.ring + one.ring_size])
            for one in self.placed
            if one.ring >= 0
        }
        facts = device.Facts(SMS, threads, pid=77, clock_offset=1000, seed=5)
        constant = device.context_bytes([at for at, _ in self.memories], rings, facts)
        self.modules = []
        for body in self.bodies:
            loaded = self.machine.load(kernel(body, around=around))
            address, size = loaded.symbol("__bpftime_ctx")
            self.machine.memory.write(address, constant[:size])
            self.modules.append(loaded)

    def launch(self, number: int, grid: object = 1, block: object = 32, params: bytes = bytes(32)) -> None:
        """Run one program in every thread of a grid."""
        shape = [x if isinstance(x, tuple) else (x, 1, 1) for x in (grid, block)]
        self.modules[number].launch("test", *shape, params)

    def copy(self, name: str) -> bytes:
        """Give a map's bytes on the device."""
        number = next(one.index for one in self.placed if one.name == name)
        return bytes(self.memories[number][1])

    def rows(self, name: str) -> dict[bytes, bytes]:
        """Give what is in a map."""
        one = next(one for one in self.placed if one.name == name)
        return dict(device.fold(one, [self.copy(name)]))

    def number(self, name: str, key: int = 0) -> int:
        """Give the first word of a value in a map with keys of 4 or 8 bytes, -1 where there is none."""
        rows = self.rows(name)
        size = len(next(iter(rows), bytes(4)))
        value = rows.get(key.to_bytes(size, "little"))
        return -1 if value is None else int.from_bytes(value[:8], "little")

    def dropped(self, name: str) -> int:
        """Give how often a map had no room."""
        return device.dropped([self.copy(name)])


def run_script(text: str, how: Device = MODERN, around: str = "{}") -> tuple[Script, DeviceRun]:
    """Compile a script and place the programs of its CUDA probes."""
    script = compile_script(text, options=Options(unsafe=True))
    programs = [one for one in script.object.programs if one.context in DEVICE_KINDS]
    return script, DeviceRun(programs, script.object.maps, how, around=around)
