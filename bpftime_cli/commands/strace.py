"""`bpftime strace`: system calls of processes, a line each, with strace's own letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpftime_cli.app import COMMAND_KEY, SETTINGS, CommandWithTarget
from bpftime_cli.commands.words import Colour, Pids, Quiet, Ways, check_choices

if TYPE_CHECKING:
    from bpftime_cli.callview.view import View
    from bpftime_cli.pipeline.config import Config

EXAMPLES = """Show the system calls of a program or of processes, as strace does.

\b
bpftime strace -e %file -- ls
bpftime strace -c -p 4242
bpftime strace -y -e openat,read,close -p 4242
"""
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COMMAND]...", help="Command to launch; -- before it is allowed.", show_default=False
    ),
]
Calls = Annotated[
    str,
    typer.Option("-e", metavar="SET", help="Calls: names, %classes, /patterns/, !set.", show_default=False),
]
Counts = Annotated[bool, typer.Option("-c", help="Only a table at the end.", show_default=False)]
Both = Annotated[bool, typer.Option("-C", help="Lines, and a table at the end.", show_default=False)]
Follow = Annotated[bool, typer.Option("-f/--no-follow", help="Children too.")]
Durations = Annotated[bool, typer.Option("-T/--no-durations", help="How long each call took.")]
Relative = Annotated[bool, typer.Option("-r", help="Times since the first line.", show_default=False)]
Absolute = Annotated[bool, typer.Option("-t", help="The time of day; -tt is the same.", show_default=False)]
Times = Annotated[str, typer.Option("--time", metavar="HOW", help="rel, abs or none.")]
Paths = Annotated[bool, typer.Option("-y", help="What descriptors are; -yy is the same.", show_default=False)]
Size = Annotated[
    int, typer.Option("-s", metavar="N", min=0, max=65536, help="Bytes of texts that are shown.")
]
Good = Annotated[bool, typer.Option("-z", help="Only calls that succeed.", show_default=False)]
Failed = Annotated[bool, typer.Option("-Z", help="Only calls that fail.", show_default=False)]
Slow = Annotated[
    str, typer.Option("--slow", metavar="TIME", help="Only calls that take so long: 5ms.", show_default=False)
]
Sort = Annotated[
    str, typer.Option("--sort", metavar="BY", help="The table by time, calls, errors, p99 or name.")
]
Output = Annotated[str, typer.Option("-o", metavar="FILE", help="Write to FILE.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="A JSON object a call.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    settings = {**SETTINGS, "ignore_unknown_options": False, "allow_interspersed_args": False}
    app.command("strace", cls=CommandWithTarget, help=EXAMPLES, context_settings=settings)(strace)


def strace(
    ctx: typer.Context,
    words: Words = None,
    pid: Pids = None,
    calls: Calls = "",
    counts: Counts = False,
    both: Both = False,
    follow: Follow = True,
    durations: Durations = True,
    relative: Relative = False,
    absolute: Absolute = False,
    times: Times = "rel",
    paths: Paths = False,
    size: Size = 32,
    good: Good = False,
    failed: Failed = False,
    slow: Slow = "",
    sort: Sort = "time",
    ways: Ways = "jump",
    output: Output = "",
    json: Json = False,
    quiet: Quiet = False,
    colour: Colour = "auto",
) -> int:
    """Show system calls."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.trace import Trace

    config = _config(ctx)
    return Trace(config, Console(standard_output(), colour, quiet=True, warnings=not quiet)).run()


def _config(ctx: typer.Context) -> Config:
    """Return the checked configuration; Typer keeps the values of all options by their parameters' names."""
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.processes import parse_pids
    from runtime.errors import UsageProblem

    values = ctx.params
    check_choices(**{name: values[name] for name in ("colour", "times", "sort", "ways")})
    command = (*(values["words"] or ()), *ctx.meta.get(COMMAND_KEY, ()))
    pids = parse_pids(tuple(values["pid"] or ()))
    if bool(command) == bool(pids):
        raise UsageProblem("give a command or -p PID", hint="bpftime strace -- ls, or bpftime strace -p 4242")
    view = _view(values)
    return Config(
        program=view.program,
        pids=pids,
        command=command,
        view=view,
        output=values["output"],
        colour=values["colour"],
        format="json" if values["json"] else "text",
        quiet=True,
        to_stderr=True,
        follow=values["follow"] and bool(command),
        exit_code=True,
        ways=values["ways"],
        warnings=not values["quiet"],
    )


def _view(values: dict[str, Any]) -> View:
    """Return what is asked for of the calls.

    Raises:
        UsageProblem: a set of calls, a time or a pair of options is wrong.
    """
    from bpftime_cli.callview.classes import chosen
    from bpftime_cli.callview.view import View, check_results
    from bpftime_cli.options import parse_duration

    return View(
        chosen(values["calls"]),
        lists=not values["counts"],
        counts=values["counts"] or values["both"],
        results=check_results(only_good=values["good"], only_failed=values["failed"]),
        slow=round(1e9 * parse_duration(values["slow"], "--slow")),
        most=values["size"],
        times="abs" if values["absolute"] else "rel" if values["relative"] else values["times"],
        durations=values["durations"],
        paths=values["paths"],
        sort=values["sort"],
    )
