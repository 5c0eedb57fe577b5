"""`bpftime list`: what is loaded and attached, which probes match, which processes there are."""

from __future__ import annotations

import sys

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.options import check_choice

EXAMPLES = """List programs, maps and links of all sessions, or the probes that match a pattern.

\b
bpftime list                                sessions, programs, maps, links; cleans up after killed tracers
bpftime list 'uprobe:libc.so.6:*malloc*'    probes, ready to paste
bpftime list 'uprobe:*:SSL_*' -p 4242       among the files that a process has mapped
bpftime list --processes                    what may be traced
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("list", help=EXAMPLES, context_settings=SETTINGS)(show)


def show(  # noqa: PLR0913 # one parameter an option is how Typer works
    pattern: str = typer.Argument("", metavar="[PATTERN]", help="Probes to look for.", show_default=False),
    pid: list[str] = typer.Option([], "-p", "--pid", metavar="PID", help="Only in these processes.", show_default=False),
    links: bool = typer.Option(False, "--links", help="Links only.", show_default=False),
    processes: bool = typer.Option(False, "--processes", help="Processes that may be traced.", show_default=False),
    session: str = typer.Option("", "--session", metavar="NAME", help="Only this session.", show_default=False),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="More columns.", show_default=False),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
) -> int:
    """List programs, maps and links, or probes."""
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.processes import parse_pids

    check_choice("-f", form, ("text", "json"), "Invalid output format")
    pids = parse_pids(tuple(pid))
    console = Console(sys.stdout.buffer)
    if pattern:
        from bpftime_cli.pipeline.patterns import show_matches

        return show_matches(pattern, pids, (verbose, form), console)
    from bpftime_cli.pipeline.listing import ListRequest, show_processes, show_sessions

    if processes:
        return show_processes(form, console)
    return show_sessions(ListRequest(session, pids, links, verbose, form), console)
