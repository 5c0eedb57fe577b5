"""Options that several commands have in common, as annotated types."""

from __future__ import annotations

from typing import Annotated

import typer

Pids = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        "--pid",
        metavar="PID",
        help="Running process; several with commas or several -p.",
        show_default=False,
    ),
]
Format = Annotated[str, typer.Option("-f", "--format", metavar="FORMAT", help="text or json.")]
SessionName = Annotated[
    str, typer.Option("--session", metavar="NAME", help="Only this session.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No chatter.", show_default=False)]
NoWarnings = Annotated[bool, typer.Option("--no-warnings", help="No warnings.", show_default=False)]
Colour = Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")]
Name = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="NAME",
        help="All own processes of this name; with --follow those that start later too.",
        show_default=False,
    ),
]
Follow = Annotated[
    bool | None,
    typer.Option(
        "--follow/--no-follow",
        help="Also what the target forks and becomes. [default: for a launched one]",
        show_default=False,
    ),
]
FORMATS = ("text", "json")


def check_format(form: str) -> None:
    """Refuse an output format that does not exist.

    Raises:
        UsageProblem: with the list of formats.
    """
    from bpftime_cli.options import check_choice  # lazy, as in the commands

    check_choice("-f", form, FORMATS, "Invalid output format")


Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="BACKEND",
        help="How functions are probed: inline, frida, or auto, Frida where a named one has no room.",
    ),
]
