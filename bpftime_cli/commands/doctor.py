"""`bpftime doctor`: what works on this machine and what does not."""

from __future__ import annotations

import sys

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.options import check_choice

EXAMPLES = """Check this machine, and with -p a process: what works, what does not, what to do.

\b
bpftime doctor
bpftime doctor -p 4242 -f json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor", help=EXAMPLES, context_settings=SETTINGS)(doctor)


def doctor(
    pid: list[str] = typer.Option([], "-p", "--pid", metavar="PID", help="Check these processes as well.", show_default=False),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
) -> int:
    """Check this machine."""
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.doctor import doctor as carry_out
    from bpftime_cli.pipeline.processes import parse_pids

    check_choice("-f", form, ("text", "json"), "Invalid output format")
    return carry_out(parse_pids(tuple(pid)), form, Console(sys.stdout.buffer))
