"""`bpftime check`: a verdict and a reason for each program of a file."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.tracewords import IncludeFiles, IncludeFolders
from bpftime_cli.commands.words import Format, check_format

File = Annotated[
    str, typer.Argument(metavar="FILE", help="eBPF object, C source, script, or name of a ready script.")
]
Params = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PARAM]...", help="Parameters of a script.", show_default=False),
]

EXAMPLES = """Parse, relocate and verify an object or a script without loading it.

\b
bpftime check count.bpf.o
bpftime check script.bt -f json
bpftime check funccount libc.so.6 malloc
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("check", help=EXAMPLES, context_settings=SETTINGS)(check)


def check(
    file: File,
    params: Params = None,
    form: Format = "text",
    include_folders: IncludeFolders = None,
    include_files: IncludeFiles = None,
) -> int:
    """Verify a file without loading it."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.checking import check as carry_out
    from bpftime_cli.pipeline.headers import Headers

    check_format(form)
    headers = Headers(tuple(include_folders or ()), tuple(include_files or ()))
    return carry_out(file, tuple(params or ()), form, Console(standard_output()), headers)
