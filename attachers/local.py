"""Programs that run in the tracer itself: linked here, called with the bytes of their context."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from runtime.ebpf.object import Program
from runtime.errors import AttachProblem
from runtime.helpers.custom import CustomHelper, MachineCode
from runtime.jit.compile import compile_program
from runtime.jit.local import MASK64, LocalProgram, agent
from runtime.jit.unit import Build
from runtime.maps.layout import possible_cpus
from runtime.maps.spec import MapSpec
from runtime.types import ContextKind
from runtime.verify import verify

REGISTERS = 6  # a program's words lie where a C call puts its seventh argument and those behind it
NOT_SUPPORTED = -95


@dataclass(slots=True)
class Runner:
    """One program: call it with memory, get (0, r0), or (a negative error number, 0) when it cannot run.

    `cookie` is what the program reads as its attach cookie; links set it before each run.
    """

    program: LocalProgram
    cookie: int = 0
    kept: list[object] = field(default_factory=list)

    def __call__(self, memory: bytes = b"") -> tuple[int, int]:
        """Run the program on a copy of `memory`."""
        image = self.program.image
        if any(word != "cookie" for word in image.words):
            return NOT_SUPPORTED, 0
        buffer = ctypes.create_string_buffer(memory, max(len(memory), 1))
        inputs = [ctypes.addressof(buffer), len(memory)] if image.context is ContextKind.MEMORY else []
        padding = [0] * (REGISTERS - len(inputs))
        return 0, self.program(*inputs, *padding, *[self.cookie] * len(image.words))


def load_here(
    program: Program,
    maps: Mapping[str, MapSpec],
    symbols: Mapping[str, int],
    helpers: Iterable[CustomHelper] = (),
) -> Runner:
    """Verify a program, compile it and link it in this process.

    `symbols`: addresses of the maps, as `Sandbox.symbols` and `Session.local_symbols` give them. `helpers`:
    what it may call besides our own.

    Raises:
        Refused: the program is not safe.
        AttachProblem: it calls a helper that cannot run here (95).
    """
    offered = {helper.number: helper for helper in helpers}
    verified = verify(program, maps, helpers={n: h.signature for n, h in offered.items()})
    build = Build(agent().build_kind, possible_cpus())
    image = compile_program(verified, maps, build, returns=True)
    functions = {number: _function(offered[number]) for number in verified.custom}
    addresses = {f"helper:{n}": ctypes.cast(f, ctypes.c_void_p).value or 0 for n, f in functions.items()}
    return Runner(LocalProgram(image, {**symbols, **addresses}), kept=list(functions.values()))


def _function(helper: CustomHelper) -> ctypes._CFunctionType:
    """Return a C function that calls a helper's Python function."""
    if isinstance(helper.function, MachineCode):
        raise AttachProblem(
            f"helper {helper.name} ({helper.number}) is machine code for traced processes", errno=95
        )
    prototype = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * helper.arguments)
    return prototype(partial(_call, helper.function))


def _call(function: Callable[..., int], *arguments: int) -> int:
    return function(*arguments) & MASK64
