"""Programs on their way to native code: verified once, compiled once for each build that a target needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runtime.ebpf.context import ARGUMENT_REGISTERS
from runtime.ebpf.object import Object
from runtime.errors import Problem
from runtime.jit.image import Image
from runtime.jit.unit import Build
from runtime.maps.layout import possible_cpus
from runtime.maps.spec import MapKind, MapSpec
from runtime.shm.clock import is_trusted
from runtime.types import DEVICE_KINDS
from runtime.verify import Verified, verify


def clock_source() -> str:
    """Return `tsc` where the kernel itself trusts the time stamp counter, else `vdso`."""
    return "tsc" if is_trusted() else "vdso"


class Programs:
    """The programs of one object; `verified`: those that have been verified, by name."""

    def __init__(self, obj: Object, verified: Mapping[str, Verified] | None = None) -> None:
        self.object = obj
        self.maps: dict[str, MapSpec] = {m.name: m for m in obj.maps}
        self._verified: dict[str, Verified] = dict(verified or {})
        self._images: dict[tuple[str, str, tuple[str, ...], bool], Image] = {}

    @property
    def device_maps(self) -> dict[str, MapSpec]:
        """The maps that programs for GPU kernels use."""
        programs = [p for p in self.object.programs if p.context in DEVICE_KINDS]
        used = {name for program in programs for name in program.map_refs.values()}
        return {name: spec for name, spec in self.maps.items() if name in used}

    def verified(self, name: str) -> Verified:
        """Return a program with its proofs.

        Raises:
            Refused: it is not safe, or not supported.
            Problem: the object has no such program.
        """
        if name not in self._verified:
            program = next((p for p in self.object.programs if p.name == name), None)
            if program is None:
                names = ", ".join(p.name for p in self.object.programs)
                raise Problem(f"no program '{name}' in {self.object.path}", hint=f"it has: {names}")
            self._verified[name] = verify(program, self.maps, self.object.btf)
        return self._verified[name]

    def verify_all(self) -> list[str]:
        """Verify every program and choose the maps' final shapes; returns the warnings."""
        from runtime.jit.compile import thread_keyed  # lazy: not needed for check

        verified = [self.verified(p.name) for p in self.object.programs]
        for name in thread_keyed(verified):
            if self.maps[name].kind == MapKind.HASH and not self.maps[name].added_only:
                self.maps[name] = replace(self.maps[name], thread_keyed=True)
        return [w for v in verified for w in v.warnings]

    @property
    def walk_stacks(self) -> bool:
        """Return whether a program asks for call stacks."""
        return any("stack" in self.verified(p.name).needs for p in self.object.programs)

    def image(
        self,
        name: str,
        kind: str,
        arguments: tuple[str, ...] = ARGUMENT_REGISTERS,
        *,
        returns: bool = False,
    ) -> Image:
        """Return a program's native code for a build kind (`rseq` or `plain`), cached if it can be.

        `arguments`: the registers in which the probed functions get their arguments. `returns`: the
        program's result is wanted.
        """
        from runtime.jit.compile import compile_program  # lazy: not needed for check

        key = (name, kind, arguments, returns)
        if key not in self._images:
            build = Build(kind, possible_cpus(), clock_source(), arguments=arguments)
            self._images[key] = compile_program(self.verified(name), self.maps, build, returns=returns)
        return self._images[key]
