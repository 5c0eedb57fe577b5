"""`bpftime run`: one program once on given memory, or many."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS

File = Annotated[str, typer.Argument(metavar="[FILE]", help="eBPF object or C source.", show_default=False)]
ProgramName = Annotated[
    str, typer.Option("--program", metavar="NAME", help="Program of the object.", show_default=False)
]
Types = Annotated[
    str, typer.Option("--btf", metavar="FILE", help="Types of the target, for CO-RE.", show_default=False)
]
Mem = Annotated[str, typer.Option("--mem", metavar="HEX", help="Memory, as hex digits.", show_default=False)]
Hex = Annotated[
    str,
    typer.Option(
        "--hex", metavar="FILE", help="Bytecode as hex digits; - is standard input.", show_default=False
    ),
]
Batch = Annotated[
    bool,
    typer.Option("--batch", help="One JSON object a line on standard input.", show_default=False),
]

EXAMPLES = """Run a program once and print r0 in hex: r1 is the memory's address or 0, r2 its length.

\b
bpftime run prog.bpf.o --program sum --mem 01020304
echo b7000000 2a000000 95000000 00000000 | bpftime run --hex -
bpftime run --batch < programs.jsonl    {"name","prog","mem"} a line in, {"name","r0"} or {"name","error"} out
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("run", help=EXAMPLES, context_settings=SETTINGS)(run)


def run(
    file: File = "",
    program: ProgramName = "",
    btf: Types = "",
    mem: Mem = "",
    hexfile: Hex = "",
    batch: Batch = False,
) -> int:
    """Run a program once on given memory."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.checking import RunRequest
    from bpftime_cli.pipeline.checking import batch as run_many
    from bpftime_cli.pipeline.checking import run as run_one
    from runtime.errors import UsageProblem

    if sum(map(bool, (file, hexfile, batch))) != 1:
        raise UsageProblem("nothing to run", hint="give FILE --program NAME, --hex FILE, or --batch")
    console = Console(standard_output())
    if batch:
        return run_many(console)
    return run_one(RunRequest(file, program, hexfile, btf, mem), console)
