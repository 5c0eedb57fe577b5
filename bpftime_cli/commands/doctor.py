"""`bpftime doctor`: what works on this machine and what does not."""

from __future__ import annotations

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Format, Pids, check_format

EXAMPLES = """Check this machine, and with -p a process: what works, what does not, what to do.

\b
bpftime doctor
bpftime doctor -p 4242 -f json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor", help=EXAMPLES, context_settings=SETTINGS)(doctor)


def doctor(pid: Pids = None, form: Format = "text") -> int:
    """Check this machine."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.doctor import doctor as carry_out
    from bpftime_cli.pipeline.processes import parse_pids

    check_format(form)
    return carry_out(parse_pids(tuple(pid or ())), form, Console(standard_output()))
