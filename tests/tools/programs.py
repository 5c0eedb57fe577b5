"""Small programs for tests of compiler, maps and rings, verified and linked."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from runtime.ebpf.object import Program
from runtime.jit.compile import Build, compile_program
from runtime.jit.image import Image
from runtime.jit.local import LocalProgram, agent
from runtime.jit.sandbox import Sandbox
from runtime.maps.layout import possible_cpus
from runtime.maps.spec import MapSpec
from runtime.types import ContextKind
from runtime.verify.check import verify

Part = bytes | tuple[int, str]  # an instruction, or (register, map) for a reference
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def insn(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", op, dst | src << 4, off, imm)


def call(helper: int) -> bytes:
    return insn(0x85, imm=helper)


def copy(dst: int, src: int) -> bytes:
    return insn(0xBF, dst, src)


def load(dst: int, value: int) -> bytes:
    return insn(0xB7, dst, imm=value)


def stack(dst: int, offset: int) -> bytes:
    return copy(dst, 10) + insn(0x07, dst, imm=offset)


def program(parts: Iterable[Part], kind: ContextKind = ContextKind.MEMORY, name: str = "test") -> Program:
    code, references = b"", {}
    for part in parts:
        if isinstance(part, bytes):
            code += part
            continue
        references[len(code) // 8] = part[1]
        code += insn(0x18, part[0], 1) + insn(0)
    return Program(name, "", kind, "", code, references)


def image(parts: Iterable[Part], maps: Mapping[str, MapSpec], build: Build, **options: bool) -> Image:
    return compile_program(verify(program(parts), maps), maps, build, returns=True, **options)


def here(kind: str = "") -> Build:
    """Give the build for this process; `kind` asks for another one."""
    return Build(kind or agent().build_kind, possible_cpus(), "vdso")


def linked(parts: Iterable[Part], sandbox: Sandbox, kind: str = "") -> LocalProgram:
    maps = {name: view.spec for name, view in sandbox.views.items()}
    return sandbox.program(image(parts, maps, here(kind)))


def box(*specs: MapSpec) -> Sandbox:
    return Sandbox(specs, possible_cpus())


ADD_ONE: tuple[Part, ...] = (
    *(insn(0x62, 10, off=-4), stack(2, -4), (1, "count"), call(1), insn(0x15, 0, off=2)),
    *(load(1, 1), insn(0xDB, 0, 1), load(0, 0), EXIT),
)
"""Adds 1 to the first value of the array `count`."""

UPDATE: tuple[Part, ...] = (
    *(insn(0x7B, 10, 1, -8), insn(0x7B, 10, 2, -16), stack(2, -8), stack(3, -16), load(4, 0)),
    *((1, "hash"), call(2), EXIT),
)
"""Sets `hash[r1] = r2`."""

DELETE: tuple[Part, ...] = (insn(0x7B, 10, 1, -8), stack(2, -8), (1, "hash"), call(3), EXIT)
"""Deletes `hash[r1]`."""


def emit_record(size: int) -> tuple[Part, ...]:
    """Reserve a record of `ring`, put r1 and r2 into it and submit it."""
    return (
        *(copy(6, 1), copy(7, 2), (1, "ring"), load(2, size), load(3, 0), call(131)),
        *(insn(0x15, 0, off=6), insn(0x7B, 0, 6, 0), insn(0x7B, 0, 7, 8), copy(1, 0), load(2, 0), call(132)),
        *(load(0, 1), EXIT),
    )
