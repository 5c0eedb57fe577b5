"""`bpftime attach`: hook one loaded program into running processes."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Format, Pids, Quiet, SessionName, check_format

ProgramName = Annotated[str, typer.Argument(metavar="PROGRAM", help="Id, name, SESSION:ID or FILE:NAME.")]
Probe = Annotated[
    str,
    typer.Argument(
        metavar="[PROBE]",
        help="uprobe:BINARY:FUNCTION[+OFFSET] or uretprobe:BINARY:FUNCTION; without: as its section says.",
        show_default=False,
    ),
]
Type = Annotated[str, typer.Option("--type", metavar="TYPE", help="uprobe or uretprobe.", show_default=False)]
Cookie = Annotated[
    int,
    typer.Option(
        "--cookie", metavar="N", help="Number that the program reads as its cookie.", show_default=False
    ),
]

EXAMPLES = """Attach one program to running processes, print the links' ids, and return.

PROGRAM is the id or name of a loaded program, SESSION:ID, or FILE:NAME, which is loaded first.

\b
bpftime attach on_malloc uprobe:libc.so.6:malloc -p 4242
bpftime attach count.bpf.o:on_malloc -p 4242,4243
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("attach", help=EXAMPLES, context_settings=SETTINGS)(attach)


def attach(  # noqa: PLR0913, PLR0917 # one parameter an option is how Typer works
    program: ProgramName,
    probe: Probe = "",
    pid: Pids = None,
    kind: Type = "",
    cookie: Cookie = 0,
    session: SessionName = "",
    form: Format = "text",
    quiet: Quiet = False,
) -> int:
    """Attach one program to running processes."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.linking import AttachRequest
    from bpftime_cli.pipeline.linking import attach as carry_out
    from bpftime_cli.pipeline.processes import parse_pids
    from runtime.errors import UsageProblem

    check_format(form)
    if not 0 <= cookie < 1 << 64:
        raise UsageProblem(f"--cookie: {cookie} is no 64-bit number")
    pids = parse_pids(tuple(pid or ()))
    if not pids:
        raise UsageProblem("no process", hint="-p takes the process ids")
    request = AttachRequest(program, probe, pids, kind, cookie, session, form)
    return carry_out(request, Console(standard_output(), quiet=quiet))
