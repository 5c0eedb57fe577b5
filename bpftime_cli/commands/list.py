"""`bpftime list`: what is loaded and attached, which probes match, which processes there are."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Format, Pids, SessionName, check_format

Pattern = Annotated[str, typer.Argument(metavar="[PATTERN]", help="Probes to look for.", show_default=False)]
Links = Annotated[bool, typer.Option("--links", help="Links only.", show_default=False)]
Processes = Annotated[
    bool, typer.Option("--processes", help="Processes that may be traced.", show_default=False)
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More columns.", show_default=False)]

EXAMPLES = """List programs, maps and links of all sessions, or the probes that match a pattern.

\b
bpftime list                                sessions, programs, maps, links; cleans up after killed tracers
bpftime list 'uprobe:libc.so.6:*malloc*'    probes, ready to paste
bpftime list 'uprobe:*:SSL_*' -p 4242       among the files that a process has mapped
bpftime list -v 'usdt:libpython*:*' -p 4242 markers, with the types of their arguments
bpftime list --processes                    what may be traced
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("list", help=EXAMPLES, context_settings=SETTINGS)(show)


def show(  # noqa: PLR0913, PLR0917 # one parameter an option is how Typer works
    pattern: Pattern = "",
    pid: Pids = None,
    links: Links = False,
    processes: Processes = False,
    session: SessionName = "",
    verbose: Verbose = False,
    form: Format = "text",
) -> int:
    """List programs, maps and links, or probes."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.processes import parse_pids

    check_format(form)
    pids = parse_pids(tuple(pid or ()))
    console = Console(standard_output())
    if pattern:
        from bpftime_cli.pipeline.patterns import show_matches

        return show_matches(pattern, pids, (verbose, form), console)
    from bpftime_cli.pipeline.listing import ListRequest, show_processes, show_sessions

    if processes:
        return show_processes(form, console)
    return show_sessions(ListRequest(session, pids, links, verbose, form), console)
