"""What `-d` prints of a script on its way to native code, a stage at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bpftime_cli.pipeline.programs import Programs
from runtime.ebpf.listing import listing
from runtime.errors import UsageProblem

ALIASES = {"dis": "bytecode", "verifier": "verify", "asm": "native"}


def check_stages(names: Iterable[str]) -> tuple[str, ...]:
    """Return the stages that `-d` names, in the order of the pipeline.

    Raises:
        UsageProblem: one is unknown.
    """
    wanted = {ALIASES.get(n, n) for n in names}
    unknown = sorted(wanted - {*STAGES, "all"})
    if unknown:
        raise UsageProblem(f'Unknown stage "{unknown[0]}"', hint=f"-d takes {', '.join(STAGES)} or all")
    return tuple(STAGES) if "all" in wanted else tuple(s for s in STAGES if s in wanted)


def show(programs: Programs, stages: tuple[str, ...], build: str) -> str:
    """Return the text of the stages for every program. `build`: the build kind for native code."""
    parts = []
    for stage in stages:
        for program in programs.object.programs:
            parts.append(f"-- {stage}: {program.name} ({program.section})")
            parts += STAGES[stage](programs, program.name, build)
    return "\n".join(parts) + "\n"


def _bytecode(programs: Programs, name: str, _: str) -> list[str]:
    program = programs.verified(name).program
    return [f"{pc:5d}: {text}" for pc, text in listing(program.insns, program.map_refs)]


def _verify(programs: Programs, name: str, _: str) -> list[str]:
    verified = programs.verified(name)
    lines = [
        f"needs {', '.join(sorted(verified.needs)) or 'nothing'}; "
        f"stack {max(verified.stack.values(), default=0)} bytes"
    ]
    for pc, access in sorted(verified.accesses.items()):
        where = f" at {access.offset:+d}" if access.offset is not None else ""
        lines.append(f"{pc:5d}: {access.proof.value} {access.size} bytes{where} {access.value_of}".rstrip())
    return lines + [f"warning: {w}" for w in verified.warnings]


def _native(programs: Programs, name: str, build: str) -> list[str]:
    from runtime.jit.disasm import instructions  # lazy: capstone, 15 ms

    image = programs.image(name, build)
    return [f"{at:5x}: {mnemonic} {operands}".rstrip() for at, mnemonic, operands in instructions(image.code)]


STAGES: dict[str, Callable[[Programs, str, str], list[str]]] = {
    "bytecode": _bytecode,
    "verify": _verify,
    "native": _native,
}
