"""`bpftime attach`: hook one loaded program into running processes."""

from __future__ import annotations

import sys

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.options import check_choice

EXAMPLES = """Attach one program to running processes, print the links' ids, and return.

PROGRAM is the id or name of a loaded program, SESSION:ID, or FILE:NAME, which is loaded first.

\b
bpftime attach on_malloc uprobe:libc.so.6:malloc -p 4242
bpftime attach count.bpf.o:on_malloc -p 4242,4243
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("attach", help=EXAMPLES, context_settings=SETTINGS)(attach)


def attach(  # noqa: PLR0913 # one parameter an option is how Typer works
    program: str = typer.Argument(..., metavar="PROGRAM", help="Id, name, SESSION:ID or FILE:NAME."),
    probe: str = typer.Argument(
        "",
        metavar="[PROBE]",
        help="uprobe:BINARY:FUNCTION[+OFFSET] or uretprobe:…; without: as its section says.",
        show_default=False,
    ),
    pid: list[str] = typer.Option(
        ..., "-p", "--pid", metavar="PID", help="Process; several with commas or several -p."
    ),
    kind: str = typer.Option("", "--type", metavar="TYPE", help="uprobe or uretprobe.", show_default=False),
    cookie: int = typer.Option(
        0, "--cookie", metavar="N", help="Number that the program reads as its cookie.", show_default=False
    ),
    session: str = typer.Option(
        "", "--session", metavar="NAME", help="Session of the program.", show_default=False
    ),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No chatter.", show_default=False),
) -> int:
    """Attach one program to running processes."""
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.linking import AttachRequest
    from bpftime_cli.pipeline.linking import attach as carry_out
    from bpftime_cli.pipeline.processes import parse_pids
    from runtime.errors import UsageProblem

    check_choice("-f", form, ("text", "json"), "Invalid output format")
    if not 0 <= cookie < 1 << 64:
        raise UsageProblem(f"--cookie: {cookie} is no 64-bit number")
    pids = parse_pids(tuple(pid))
    if not pids:
        raise UsageProblem("no process", hint="-p takes the process ids")
    request = AttachRequest(program, probe, pids, kind, cookie, session, form)
    return carry_out(request, Console(sys.stdout.buffer, quiet=quiet))
