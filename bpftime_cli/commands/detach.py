"""`bpftime detach`: take links out of their processes."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Pids, Quiet, SessionName

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Links, as list shows them.", show_default=False)
]
Stale = Annotated[
    bool, typer.Option("--stale", help="What ended tracers and processes left.", show_default=False)
]
All = Annotated[
    bool, typer.Option("--all", help="All links, of --session or of all sessions.", show_default=False)
]
Unload = Annotated[
    bool, typer.Option("--unload", help="With --all: remove the sessions as well.", show_default=False)
]

EXAMPLES = """Take links out of their processes; the code is then as it was before.

\b
bpftime detach 7 8          these links (SESSION:ID where two sessions have the number)
bpftime detach -p 4242      everything in this process
bpftime detach --stale      what killed tracers and ended processes left
bpftime detach --all        all links; with --unload programs and maps as well
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("detach", help=EXAMPLES, context_settings=SETTINGS)(detach)


def detach(  # noqa: PLR0913, PLR0917 # one parameter an option is how Typer works
    ids: Ids = None,
    pid: Pids = None,
    stale: Stale = False,
    every: All = False,
    unload: Unload = False,
    session: SessionName = "",
    quiet: Quiet = False,
) -> int:
    """Take links out of their processes."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.linking import DetachRequest
    from bpftime_cli.pipeline.linking import detach as carry_out
    from bpftime_cli.pipeline.processes import parse_pids
    from runtime.errors import UsageProblem

    request = DetachRequest(tuple(ids or ()), parse_pids(tuple(pid or ())), stale, every, unload, session)
    if sum(map(bool, (request.ids, request.pids, stale, every))) != 1:
        raise UsageProblem("say what to detach", hint="ID..., or one of -p PID, --stale, --all")
    if unload and not every:
        raise UsageProblem("--unload goes with --all")
    return carry_out(request, Console(standard_output(), quiet=quiet))
