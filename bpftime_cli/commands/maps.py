"""`bpftime maps`: read or change live maps, drain a ring."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Colour, Format, Pids, SessionName, check_format
from bpftime_cli.options import check_choice, parse_duration

Name = Annotated[str, typer.Argument(metavar="[NAME[KEY]]", help="Map, by name or id.", show_default=False)]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set an entry.", show_default=False)
]
Deletes = Annotated[
    list[str] | None, typer.Option("--delete", metavar="KEY", help="Delete an entry.", show_default=False)
]
Watch = Annotated[
    str, typer.Option("--watch", metavar="TIME", help="Print again every TIME.", show_default=False)
]
Follow = Annotated[
    bool, typer.Option("--follow", help="Go on reading a ring until Ctrl-C.", show_default=False)
]

EXAMPLES = """Print the maps of sessions, change entries, or drain a ring.

\b
bpftime maps                     everything
bpftime maps counts -f json      one map, by name, id, SESSION:NAME or SESSION:ID
bpftime maps 'counts[4242]'      one entry
bpftime maps counts --set 7=1    --delete 7
bpftime maps events --follow     print a ring's records until Ctrl-C
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("maps", help=EXAMPLES, context_settings=SETTINGS)(maps)


def maps(  # noqa: PLR0913, PLR0917 # one parameter an option is how Typer works
    name: Name = "",
    pid: Pids = None,
    change: Changes = None,
    delete: Deletes = None,
    watch: Watch = "",
    follow: Follow = False,
    session: SessionName = "",
    form: Format = "text",
    colour: Colour = "auto",
) -> int:
    """Print the maps of sessions, change entries, or drain a ring."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.mapview import MapsRequest
    from bpftime_cli.pipeline.mapview import maps as carry_out
    from bpftime_cli.pipeline.processes import parse_pids

    check_format(form)
    check_choice("--color", colour, ("auto", "always", "never"), "Invalid colour mode")
    name, _, key = name.removesuffix("]").partition("[")
    request = MapsRequest(
        name,
        key,
        parse_pids(tuple(pid or ())),
        session,
        form,
        tuple(change or ()),
        tuple(delete or ()),
        parse_duration(watch, "--watch"),
        follow,
    )
    return carry_out(request, Console(standard_output(), colour))
