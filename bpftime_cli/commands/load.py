"""`bpftime load`: put an eBPF object into a session, and with a target attach what its sections name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bpftime_cli.app import COMMAND_KEY, SETTINGS, CommandWithTarget
from bpftime_cli.commands.tracewords import Assembler, CudaDump
from bpftime_cli.commands.words import (
    Backend,
    Colour,
    Command,
    Duration,
    ExitCode,
    Follow,
    Format,
    Inject,
    Name,
    NoWarnings,
    Pids,
    Quiet,
    check_choices,
)
from bpftime_cli.options import parse_duration

if TYPE_CHECKING:
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.loading import LoadRequest

ObjectFile = Annotated[str, typer.Argument(metavar="OBJECT", help="eBPF object or C source.")]
Into = Annotated[
    str, typer.Option("--session", metavar="NAME", help="Session to load into.", show_default=False)
]
Size = Annotated[int, typer.Option("--session-size", metavar="MIB", help="Size of a new session's memory.")]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Set a global variable before loading.", show_default=False
    ),
]
Detached = Annotated[
    bool, typer.Option("--detached", help="With a target: print ids and return.", show_default=False)
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event", metavar="RING=STRUCT", help="Print a ring's records as this struct.", show_default=False
    ),
]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Steps.", show_default=False)]

AS_GIVEN = "name follow quiet verbose inject exit_code colour assembler cuda_dump".split()
"""Options whose values go into the configuration as they are."""

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


def load(  # noqa: PLR0913, PLR0917 # one parameter an option is how Typer works
    ctx: typer.Context,
    object_file: ObjectFile,
    session: Into = "",
    size: Size = 64,
    values: Values = None,
    pid: Pids = None,
    command: Command = "",
    detached: Detached = False,
    event: Events = None,
    form: Format = "text",
    quiet: Quiet = False,
    no_warnings: NoWarnings = False,
    verbose: Verbose = 0,
    inject: Inject = "ptrace",
    backend: Backend = "auto",
    duration: Duration = "",
    exit_code: ExitCode = False,
    colour: Colour = "auto",
    name: Name = "",
    follow: Follow = None,
    assembler: Assembler = "auto",
    cuda_dump: CudaDump = "",
) -> int:
    """Load an eBPF object."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.loading import load as carry_out

    request = _request(ctx)
    return carry_out(request, Console(standard_output(), colour, quiet, not no_warnings, verbose))


def _request(ctx: typer.Context) -> LoadRequest:
    """Return what is to be loaded, checked; Typer keeps the options' values by their parameters' names."""
    from bpftime_cli.pipeline.loading import LoadRequest, parse_values
    from bpftime_cli.pipeline.sessions import session_name

    values = ctx.params
    check_choices(**{name: values[name] for name in ("form", "inject", "backend", "colour", "assembler")})
    detached, session = values["detached"], values["session"]
    _check_lasting(values["backend"], detached=detached)
    config = _config(ctx)
    return LoadRequest(
        values["object_file"],
        config,
        session if config.has_target and not detached else session_name(session),
        parse_values(values["values"] or []),
        detached,
        values["size"],
        parse_values(values["event"] or [], "--event"),
    )


def _config(ctx: typer.Context) -> Config:
    from bpftime_cli.commands.trace import _check_targets, _command
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.processes import parse_pids

    values = ctx.params
    launched, _ = _command(values["command"], ctx.meta.get(COMMAND_KEY, []))
    pids = parse_pids(tuple(values["pid"] or ()))
    _check_targets(values["command"], launched, pids, values["name"])
    return Config(
        pids=pids,
        command=tuple(launched),
        format=values["form"],
        backend="inline" if values["detached"] else values["backend"],
        duration=parse_duration(values["duration"], "--duration"),
        **{name: values[name] for name in AS_GIVEN},
    )


def _check_lasting(backend: str, *, detached: bool) -> None:
    if detached and backend == "frida":
        from runtime.errors import UsageProblem  # lazy, as in the command

        raise UsageProblem("Frida's hooks end with the command that made them", hint="leave out --detached")
