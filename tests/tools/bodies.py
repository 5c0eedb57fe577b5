"""Bodies for tests: compile a program for devices, put its body in a small kernel, assemble that."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime.ebpf.asm import assemble
from runtime.ebpf.object import Program
from runtime.maps.spec import MapSpec
from runtime.nvptx.body import CONTEXT, SPACE, WIDE, Body
from runtime.nvptx.compile import Device, body
from runtime.types import ContextKind
from runtime.verify.check import verify

ARCHITECTURES = (75, 90, 100)
MODERN = Device()


def program(text: str, context: ContextKind = ContextKind.CUDA) -> Program:
    """Assemble a program."""
    done = assemble(text)
    return Program("test", context.value, context, "kernel", done.code, done.map_refs)


def compiled(
    text: str,
    maps: Sequence[MapSpec] = (),
    context: ContextKind = ContextKind.CUDA,
    device: Device = MODERN,
) -> Body:
    """Verify and compile a program that is given as assembly."""
    table = {spec.name: spec for spec in maps}
    return body(verify(program(text, context), table), table, [spec.name for spec in maps], device)


def kernel(one: Body, values: dict[str, str] | None = None, name: str = "test") -> str:
    """Put a body in a kernel `test(u64 values)`; inputs are constants, or PTX operands of `values`."""
    lines = []
    for register in sorted(one.inputs):
        short = register.removeprefix("%bt")
        bits = 64 if short in WIDE else 32
        value = (values or {}).get(short, "1")
        lines += [f".reg .b{bits} {register};", f"mov.b{bits} {register}, {value};"]
    text = one.text.replace(SPACE, "const")
    return "\n".join(
        [
            f".version {max(one.isa, (6, 4))[0]}.{max(one.isa, (6, 4))[1]}",
            f".target sm_{max(one.sm, 70)}",
            ".address_size 64",
            f".weak .const .align 8 .b8 {CONTEXT}[256];",
            f".visible .entry {name}(.param .u64 {name}_param_0)",
            "{",
            *lines,
            "{",
            text.rstrip(),
            "}",
            "ret;",
            "}",
            "",
        ]
    )


def refusal(one: Body, folder: Path) -> str:
    """Give what ptxas says against a body for any of the architectures that it is for, "" where it takes it."""
    text = kernel(one)
    source = folder / "module.ptx"
    source.write_text(text)
    for arch in ARCHITECTURES:
        if arch < one.sm:
            continue
        command = ["ptxas", f"-arch=sm_{arch}", "-o", str(folder / "module.cubin"), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return f"sm_{arch}: {done.stdout}{done.stderr}"
    return ""
