"""`bpftime maps`: read or change live maps, drain a ring."""

from __future__ import annotations

import sys

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.options import check_choice, parse_duration

EXAMPLES = """Print the maps of sessions, change entries, or drain a ring.

\b
bpftime maps                     everything
bpftime maps counts -f json      one map, by name, id, SESSION:NAME or SESSION:ID
bpftime maps counts --set 7=1    --delete 7
bpftime maps events --follow     print a ring's records until Ctrl-C
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("maps", help=EXAMPLES, context_settings=SETTINGS)(maps)


def maps(  # noqa: PLR0913 # one parameter an option is how Typer works
    name: str = typer.Argument("", metavar="[NAME]", help="Map, by name or id.", show_default=False),
    change: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Set an entry.", show_default=False),
    delete: list[str] = typer.Option([], "--delete", metavar="KEY", help="Delete an entry.", show_default=False),
    watch: str = typer.Option("", "--watch", metavar="TIME", help="Print again every TIME.", show_default=False),
    follow: bool = typer.Option(False, "--follow", help="Go on reading a ring until Ctrl-C.", show_default=False),
    session: str = typer.Option("", "--session", metavar="NAME", help="Only this session.", show_default=False),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
    colour: str = typer.Option("auto", "--color", metavar="WHEN", help="auto, always or never."),
) -> int:
    """Print the maps of sessions, change entries, or drain a ring."""
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.mapview import MapsRequest
    from bpftime_cli.pipeline.mapview import maps as carry_out

    check_choice("-f", form, ("text", "json"), "Invalid output format")
    check_choice("--color", colour, ("auto", "always", "never"), "Invalid colour mode")
    request = MapsRequest(name, session, form, tuple(change), tuple(delete), parse_duration(watch, "--watch"), follow)
    return carry_out(request, Console(sys.stdout.buffer, colour))
