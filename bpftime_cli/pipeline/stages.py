"""What `-d` prints of a script on its way to native code, a stage at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bpftime_cli.pipeline.programs import Programs, clock_source
from runtime.ebpf.listing import listing
from runtime.errors import Problem, UsageProblem
from runtime.jit.unit import Build
from runtime.lang.tree import Node
from runtime.maps.layout import possible_cpus

ALIASES = {"dis": "bytecode", "verifier": "verify", "asm": "native"}


def check_stages(names: Iterable[str]) -> tuple[str, ...]:
    """Return the stages that `-d` names, in the order of the pipeline.

    Raises:
        UsageProblem: one is unknown.
    """
    wanted = {ALIASES.get(n, n) for n in names}
    unknown = sorted(wanted - {*NAMES, "all"})
    if unknown:
        raise UsageProblem(f'Unknown stage "{unknown[0]}"', hint=f"-d takes {', '.join(NAMES)} or all")
    return NAMES if "all" in wanted else tuple(s for s in NAMES if s in wanted)


class Trees:
    """Collects the text of the stages that are trees while a script is compiled."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self.stages = stages
        self.lines: list[str] = []

    def note(self, stage: str, nodes: Sequence[Node]) -> None:
        """Take the trees of one stage."""
        if stage in self.stages:
            from runtime.lang.dump import dump  # lazy: only for -d

            self.lines.append(f"-- {stage}")
            self.lines += [line for node in nodes for line in dump(node)]

    @property
    def text(self) -> str:
        """Return what was collected, as lines."""
        return "".join(f"{line}\n" for line in self.lines)


def show(programs: Programs, stages: tuple[str, ...], build: str) -> str:
    """Return the text of the stages for every program. `build`: the build kind for native code."""
    parts = []
    for stage in stages:
        if stage not in STAGES:
            continue
        for program in programs.object.programs:
            parts.append(f"-- {stage}: {program.name} ({program.section})")
            parts += STAGES[stage](programs, program.name, build)
    return "".join(f"{part}\n" for part in parts)


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
    return lines + [f"warning: {w}" for w in (*verified.warnings, *verified.unbounded)]


def _native(programs: Programs, name: str, build: str) -> list[str]:
    from runtime.jit.disasm import instructions  # lazy: capstone, 15 ms

    image = programs.image(name, build)
    return [f"{at:5x}: {mnemonic} {operands}".rstrip() for at, mnemonic, operands in instructions(image.code)]


def _module(optimised: bool) -> Callable[[Programs, str, str], list[str]]:
    def lines(programs: Programs, name: str, build: str) -> list[str]:
        from runtime.jit.compile import module_text  # lazy: LLVM, 35 ms

        kind = Build(build, possible_cpus(), clock_source())
        text = module_text(programs.verified(name), programs.maps, kind, optimised=optimised)
        return text.splitlines()

    return lines


def write_modules(programs: Programs, name: str, build: str) -> None:
    """Write all programs' LLVM modules, as lifted and as they go to the back end.

    Raises:
        Problem: a file cannot be written.
    """
    for suffix, optimised in (("original", False), ("optimized", True)):
        path = Path(f"{name}.{suffix}.ll")
        lines = [
            line for p in programs.object.programs for line in _module(optimised)(programs, p.name, build)
        ]
        try:
            path.write_text("".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise Problem(f"failed to open file '{path}': {error.strerror}") from None


STAGES: dict[str, Callable[[Programs, str, str], list[str]]] = {
    "bytecode": _bytecode,
    "verify": _verify,
    "codegen": _module(False),
    "codegen-opt": _module(True),
    "native": _native,
}
NAMES = ("parse", "ast", "types", *STAGES, "plan")
