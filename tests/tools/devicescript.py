"""Run a script's CUDA probes in the PTX interpreter, and print as a session does."""

from __future__ import annotations

from dataclasses import replace

from bpftime_cli.render import FORMATS
from runtime.jit.sandbox import Sandbox
from runtime.lang.compile import compile_script
from runtime.lang.script import Options, Script
from runtime.maps.layout import possible_cpus
from runtime.nvptx import maps as device
from runtime.nvptx.layout import RINGS
from runtime.types import DEVICE_KINDS
from tests.tools.bodies import MODERN
from tests.tools.devicerun import SMS, DeviceRun
from tests.tools.script import Names, Session

RING = 1 << 18
THREADS = 256


class DeviceSession(Session):
    """One script all of whose probes are in kernels."""

    def __init__(self, script: Script, form: str = "text") -> None:
        self.script = script
        small = [replace(s, max_entries=RING) if s.kind in RINGS else s for s in script.object.maps]
        self.specs = {spec.name: spec for spec in small}
        self.sandbox = Sandbox([device.session_spec(s, SMS, THREADS) for s in small], possible_cpus())
        programs = [one for one in script.object.programs if one.context in DEVICE_KINDS]
        self.device = DeviceRun(programs, small, MODERN, THREADS)
        self.mirrors = [device.Mirror(one) for one in self.device.placed if one.ring < 0]
        self.out, self.err = bytearray(), bytearray()
        self.renderer = FORMATS[form](self.out.extend, self.err.extend)
        self.names = Names(script)
        self.code: int | None = None

    def launch(self, number: int = 0, grid: object = 1, block: object = 1) -> None:
        """Run one program, bring its maps over and print what it sent."""
        self.device.launch(number, grid, block)
        for mirror in self.mirrors:
            name = mirror.placed.name
            mirror.store(self.sandbox.views[name], device.fold(mirror.placed, [self.device.copy(name)]))
        for ring in self.device.rings.values():
            for item, _ in self.script.decode(ring.payloads(), self.names, joined=self.renderer.joins):
                self.handle(item)

    def end(self) -> None:
        """Print what is left in the maps."""
        self.renderer.finish()
        if self.script.config.flag("print_maps_on_exit"):
            for name in self.script.maps:
                self.show(name, at_exit=True)


def once(text: str, form: str = "text", params: tuple[str, ...] = ()) -> tuple[str, DeviceSession]:
    """Run a script with one probe in one thread; give what it prints."""
    session = DeviceSession(compile_script(text, "stdin", Options(params=params)), form)
    session.launch()
    session.end()
    return session.out.decode("utf-8", "backslashreplace"), session
