"""Programs of objects for GPU kernels, as the kernel probes of a script: where they go, and their maps."""

from __future__ import annotations

from dataclasses import dataclass

from bpftime_cli.pipeline.objects import LoadedPrograms
from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.ebpf.object import Object, Program
from runtime.elf.attach import CAPTURE
from runtime.errors import Span
from runtime.jit.image import Image
from runtime.lang import ScriptProbe
from runtime.maps.spec import MapSpec
from runtime.types import DEVICE_KINDS, ContextKind
from runtime.verify import Verified

PROVIDERS = {
    ContextKind.CUDA: "cuda",
    ContextKind.CUDA_RETURN: "cudaret",
    ContextKind.CUDA_MEMORY: "cudamem",
}


@dataclass(frozen=True, slots=True)
class ObjectKernels:
    """The programs of one object that run in kernels; `probes`: where their sections say."""

    loaded: LoadedPrograms

    @property
    def object(self) -> Object:
        """Return the object."""
        return self.loaded.object

    @property
    def maps(self) -> dict[str, MapSpec]:
        """Return the maps of the session by name."""
        return self.loaded.maps

    @property
    def device_maps(self) -> dict[str, MapSpec]:
        """Return the maps of devices by name, in their order."""
        return self.loaded.device_maps

    @property
    def probes(self) -> tuple[ScriptProbe, ...]:
        """Return a probe for each program for kernels whose section names some."""
        found = [p for p in self.object.programs if p.autoload and p.context in DEVICE_KINDS and p.attach]
        return tuple(_probe(program) for program in found)

    def verified(self, name: str) -> Verified:
        """Return a program with its proofs."""
        return self.loaded.verified(name)

    def image(
        self,
        name: str,
        kind: str,
        arguments: tuple[str, ...] = ARGUMENT_REGISTERS,
        *,
        returns: bool = False,
    ) -> Image:
        """Return native code of a program of the host."""
        del arguments
        return self.loaded.image(name, self.loaded.program(name).context, kind, returns=returns)


def _probe(program: Program) -> ScriptProbe:
    provider = PROVIDERS[program.context]
    span = program.lines[min(program.lines)] if program.lines else Span(program.name, 1, 1, 1, 1)
    parts: tuple[str, ...] = (program.attach,)
    if provider == "cudamem":
        parts = ("*",) if program.attach.startswith(CAPTURE) else tuple(program.attach.split(":"))
    return ScriptProbe(program.name, provider, parts, span, f"{provider}:{':'.join(parts)}")
