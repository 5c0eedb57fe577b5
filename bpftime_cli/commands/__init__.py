"""One file a command: its options and help, and a call into the pipeline."""

from __future__ import annotations

import typer

from bpftime_cli.commands import attach, check, cuda, detach, doctor, load, maps, run, strace, trace
from bpftime_cli.commands import list as listing

COMMANDS = (trace, strace, load, attach, detach, listing, maps, check, run, cuda, doctor)


def register(app: typer.Typer) -> None:
    """Add every command to the application, in the order of the help."""
    for command in COMMANDS:
        command.register(app)
