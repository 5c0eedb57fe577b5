"""Run a script in this process: compile, verify, make native code, call its programs, print what they sent.

`begin` and `end` probes run once, `interval` probes once each between them, and uprobe programs as often as
`calls` says, with those arguments. Return probes cannot run here: their context is made by a thunk.
"""

from __future__ import annotations

import ctypes

from bpftime_cli.messages import report
from bpftime_cli.render import FORMATS
from runtime.errors import Problem
from runtime.events import Action, Event
from runtime.jit import local
from runtime.jit.compile import compile_program
from runtime.jit.sandbox import Sandbox
from runtime.jit.unit import Build
from runtime.lang import Options, Script, compile_script
from runtime.lang.probenames import MOST, NAMES
from runtime.maps.layout import possible_cpus
from runtime.shm.ring import RingReader
from runtime.verify.check import verify


class Names:
    """A resolver that knows nothing but the script's own probes."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def probe_name(self, cookie: int) -> str:
        return self.script.probes[cookie].text if cookie < len(self.script.probes) else "?"

    def symbol(self, pid: int, address: int) -> str:
        return f"{address:#x}" if pid else "?"

    def locate(self, _pid: int, _address: int) -> None:
        return None

    def source(self, _pid: int, _address: int) -> str:
        return ""

    def username(self, uid: int) -> str:
        return "root" if uid == 0 else str(uid)

    def kernel_symbol(self, address: int) -> str:
        return f"{address:#x}"

    def cuda_kernel(self, number: int) -> str:
        return f"kernel{number}"

    def cgroup_path(self, group: int, pattern: str) -> str:
        return f"{pattern}:{group}"


class Session:
    """One script with its maps; `out` and `err` collect what it prints."""

    def __init__(self, script: Script, form: str = "text") -> None:
        self.script = script
        self.specs = {spec.name: spec for spec in script.object.maps}
        self.sandbox = Sandbox(script.object.maps, possible_cpus())
        build = Build(local.agent().build_kind, possible_cpus(), "vdso", cheap=True)
        self.images = {
            program.name: compile_program(verify(program, self.specs), self.specs, build)
            for program in script.object.programs
        }
        self.out, self.err = bytearray(), bytearray()
        self.renderer = FORMATS[form](self.out.extend, self.err.extend)
        self.names = Names(script)
        self.code: int | None = None
        self.ring: RingReader | None = None
        for row, text in enumerate(script.probe_names):
            for cookie, probe in enumerate(script.probes):
                self.sandbox.views[NAMES].poke(row * MOST + cookie, bytes([probe.text == text]))
        if ".events" in self.specs:
            view = self.sandbox.views[".events"]
            data = self.sandbox.symbols["map:.events"] - self.sandbox.base
            self.ring = RingReader(view.region, data, self.specs[".events"].max_entries)

    def call(self, program: str, *arguments: int | str) -> None:
        """Run one program and print what it sent; a text argument is the address of its bytes and a NUL."""
        held = [ctypes.create_string_buffer(text.encode()) for text in arguments if isinstance(text, str)]
        texts = iter(held)
        words = [ctypes.addressof(next(texts)) if isinstance(word, str) else word for word in arguments]
        self.sandbox.program(self.images[program])(*words)
        self.drain()

    def drain(self) -> None:
        taken = self.ring.take() if self.ring else []
        for item, _ in self.script.decode(taken, self.names, joined=self.renderer.joins):
            self.handle(item)

    def handle(self, item: Event | Action) -> None:
        if isinstance(item, Event):
            self.renderer.write(item)
        else:
            self.act(item)

    def act(self, action: Action) -> None:
        if action.what == "exit":
            self.code = action.code if self.code is None else self.code
            return
        if action.what in ("cat", "system"):
            self.renderer.write(Event("printf", action.what.encode() + b" " + action.text + b"\n"))
            return
        decoder, view = self.script.maps[action.map], self.sandbox.views[action.map]
        if action.what == "print":
            self.show(action.map, action.top, action.div)
        elif action.what == "clear":
            decoder.clear(view)
        else:
            decoder.zero(view)

    def show(self, name: str, top: int = 0, div: int = 0, at_exit: bool = False) -> None:
        items = self.sandbox.views[name].items()
        event = self.script.maps[name].decode(items, self.names, top, div, at_exit=at_exit)
        if event is not None:
            self.renderer.write(event)

    def run(self, calls: list[list[int | str]]) -> int:
        """Run everything in the order of a real session; give the exit status."""
        providers = {probe.program: probe.provider for probe in self.script.probes}
        for wanted in ("begin", "interval", "uprobe", "end"):
            for program, provider in providers.items():
                if provider != wanted or (self.code is not None and wanted != "end"):
                    continue
                for arguments in calls if provider == "uprobe" else [[]]:
                    self.call(program, *arguments)
        self.renderer.finish()
        if self.script.config.flag("print_maps_on_exit"):
            for name in self.script.maps:
                self.show(name, at_exit=True)
        return self.code or 0


def run_script(
    text: str,
    *,
    params: tuple[str, ...] = (),
    calls: list[list[int | str]] | None = None,
    form: str = "text",
    unsafe: bool = False,
    checks: bool = False,
) -> tuple[int, str, str]:
    """Compile and run; give status, stdout and stderr as a command would."""
    try:
        script = compile_script(text, "stdin", Options(params=params, unsafe=unsafe, checks=checks))
    except Problem as problem:
        return problem.status, "", report(problem)
    session = Session(script, form)
    status = session.run(calls or [])
    err = "".join(report_warning(warning) for warning in script.warnings)
    return (
        status,
        session.out.decode("utf-8", "backslashreplace"),
        err + session.err.decode("utf-8", "replace"),
    )


def report_warning(warning: Problem) -> str:
    from bpftime_cli.messages import Message, show

    return show(Message("WARNING", str(warning), warning.span, warning.hint))
