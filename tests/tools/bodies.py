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
VALUES = {"z": 4, "o": 1, "s": 2, "l": 42, "i": 7, "k": 9, "q": 3}  # of inputs


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


def kernel(one: Body, around: str = "{}") -> str:
    """Put a body in a kernel `test(u64, u64, u64, u64)`, whose parameters are its arguments 0 to 3.

    The time of the entry is now, inputs of memory probes are parameters or small constants. `around`: what
    runs besides the body, whose place is `{}`.
    """
    text = one.text.replace(SPACE, "const").rstrip()
    block = "\n".join(["{", *_inputs(one), "{", text, "}", "}"])
    isa = max(one.isa, (6, 4))
    parameters = ", ".join(f".param .u64 test_param_{n}" for n in range(4))
    return "\n".join(
        [
            f".version {isa[0]}.{isa[1]}",
            f".target sm_{max(one.sm, 70)}",
            ".address_size 64",
            f".weak .const .align 8 .b8 {CONTEXT}[256];",
            f".visible .entry test({parameters})",
            "{",
            around.replace("{}", block),
            "ret;",
            "}",
            "",
        ]
    )


def _inputs(one: Body) -> list[str]:
    lines = []
    for register in sorted(one.inputs):
        short = register.removeprefix("%bt")
        bits = 64 if short in WIDE else 32
        lines.append(f".reg .b{bits} {register};")
        if short == "e":
            lines.append(f"mov.u64 {register}, %clock64;")
        elif short in ("a", "d0", "d1", "p0", "p1", "p2", "p3"):
            number = {"a": 0, "d0": 1, "d1": 2}.get(short) or int(short[1:] if short[0] == "p" else 0)
            lines.append(f"ld.param.u64 {register}, [test_param_{number}];")
        else:
            lines.append(f"mov.b{bits} {register}, {VALUES.get(short, 0)};")
    return lines


def refusal(one: Body, folder: Path, target: int = 0) -> str:
    """Give what ptxas says against a body for any of the architectures that it is for, "" where it takes it."""
    text = kernel(one)
    if target:
        text = text.replace(".target sm_70", f".target sm_{target}")
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
