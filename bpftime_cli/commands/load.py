"""`bpftime load`: put an eBPF object into a session, and with a target attach what its sections name."""

from __future__ import annotations

import sys

import typer

from bpftime_cli.app import COMMAND_KEY, SETTINGS, CommandWithTarget
from bpftime_cli.options import check_choice, parse_duration

EXAMPLES = """Load an eBPF object (.bpf.o, or .bpf.c where a compiler is installed).

Without a target its programs and maps go into a session, ids are printed, and the command ends.

\b
bpftime load count.bpf.o                      then: bpftime attach ID uprobe:./app:parse -p PID
bpftime load count.bpf.o -p 4242              attach what SEC() names, print rings until Ctrl-C
bpftime load count.bpf.o --detached -p 4242   the same, but return at once
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("load", cls=CommandWithTarget, help=EXAMPLES, context_settings=SETTINGS)(load)


def load(  # noqa: PLR0913 # one parameter an option is how Typer works
    ctx: typer.Context,
    object_file: str = typer.Argument(..., metavar="OBJECT", help="eBPF object or C source."),
    session: str = typer.Option(
        "", "--session", metavar="NAME", help="Session to load into.", show_default=False
    ),
    size: int = typer.Option(64, "--session-size", metavar="MIB", help="Size of a new session's memory."),
    values: list[str] = typer.Option(
        [], "--set", metavar="NAME=VALUE", help="Set a global variable before loading.", show_default=False
    ),
    pid: list[str] = typer.Option(
        [],
        "-p",
        "--pid",
        metavar="PID",
        help="Running process; several with commas or several -p.",
        show_default=False,
    ),
    command: str = typer.Option(
        "", "-c", metavar="CMD", help="Launch a command (no shell).", show_default=False
    ),
    detached: bool = typer.Option(
        False, "--detached", help="With a target: print ids and return.", show_default=False
    ),
    event: list[str] = typer.Option(
        [],
        "--event",
        metavar="RING=STRUCT",
        help="Print a ring's records as this struct.",
        show_default=False,
    ),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No chatter.", show_default=False),
    no_warnings: bool = typer.Option(False, "--no-warnings", help="No warnings.", show_default=False),
    verbose: int = typer.Option(0, "-v", "--verbose", count=True, help="Steps.", show_default=False),
    inject: str = typer.Option(
        "ptrace",
        "--inject",
        metavar="HOW",
        help="How the agent gets into a running process: ptrace or frida.",
    ),
    duration: str = typer.Option(
        "", "--duration", metavar="TIME", help="Stop after TIME: 500ms, 10s, 2m.", show_default=False
    ),
    exit_code: bool = typer.Option(
        False, "--exit-code", help="End with the launched command's status.", show_default=False
    ),
    colour: str = typer.Option("auto", "--color", metavar="WHEN", help="auto, always or never."),
) -> int:
    """Load an eBPF object."""
    from bpftime_cli.commands.trace import _check_targets, _command
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.loading import LoadRequest, parse_values
    from bpftime_cli.pipeline.loading import load as carry_out
    from bpftime_cli.pipeline.processes import parse_pids
    from bpftime_cli.pipeline.sessions import session_name

    check_choice("-f", form, ("text", "json"), "Invalid output format")
    check_choice("--inject", inject, ("ptrace", "frida"), "Invalid injector")
    check_choice("--color", colour, ("auto", "always", "never"), "Invalid colour mode")
    launched, _ = _command(command, ctx.meta.get(COMMAND_KEY, []))
    pids = parse_pids(tuple(pid))
    _check_targets(command, launched, pids)
    config = Config(
        pids=pids,
        command=tuple(launched),
        format=form,
        quiet=quiet,
        verbose=verbose,
        inject=inject,
        duration=parse_duration(duration, "--duration"),
        exit_code=exit_code,
        colour=colour,
    )
    private = config.has_target and not detached
    request = LoadRequest(
        object_file,
        config,
        session if private else session_name(session),
        parse_values(values),
        detached,
        size,
        parse_values(event, "--event"),
    )
    return carry_out(request, Console(sys.stdout.buffer, colour, quiet, not no_warnings, verbose))
