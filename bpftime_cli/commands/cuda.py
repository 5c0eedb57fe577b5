"""`bpftime cuda`: what kernels a file has, and what they become with probes in them."""

from __future__ import annotations

from typing import Annotated

import typer

from bpftime_cli.app import SETTINGS
from bpftime_cli.commands.words import Format, Quiet, check_format

Action = Annotated[str, typer.Argument(metavar="ACTION", help="list or weave.", show_default=False)]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="PTX, fatbin, cubin, program or library.", show_default=False)
]
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="SCRIPT",
        help="weave: a script, its file, or an object with programs for kernels; several allowed.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="weave: write here; .cubin and .fatbin are assembled, all else is PTX.",
        show_default=False,
    ),
]
Arch = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="ARCH",
        help="weave: the device, such as sm_90. [default: the PTX's own]",
        show_default=False,
    ),
]
Assembler = Annotated[
    str, typer.Option("--assembler", metavar="TOOL", help="weave: auto, ptxas or nvjitlink.")
]
Image = Annotated[
    int,
    typer.Option(
        "--image",
        metavar="N",
        help="weave: number of the image in FILE, as list shows it.",
        show_default=False,
    ),
]

EXAMPLES = """List the kernels of a file, or weave probes into them.

`list` shows each kernel with the devices it has PTX and machine code for; only PTX can be probed.
`weave` prints the woven PTX, or writes it, or what assemblers make of it. No GPU is needed.

\b
bpftime cuda list ./app
bpftime cuda weave k.ptx --probe 'cuda:vecadd { @ = count(); }'
bpftime cuda weave ./app --probe count.bt --arch sm_90 -o woven.cubin
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("cuda", help=EXAMPLES, context_settings=SETTINGS)(cuda)


def cuda(
    action: Action,
    file: File,
    probes: Probes = None,
    output: Output = "",
    arch: Arch = "",
    assembler: Assembler = "auto",
    image: Image = -1,
    form: Format = "text",
    quiet: Quiet = False,
) -> int:
    """List kernels, or weave probes into them."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.options import check_choice
    from bpftime_cli.pipeline import weaving
    from runtime.errors import UsageProblem

    check_choice("ACTION", action, ("list", "weave"), "Unknown action")
    check_choice("--assembler", assembler, ("auto", "ptxas", "nvjitlink"), "Unknown assembler")
    check_format(form)
    console = Console(standard_output(), quiet=quiet)
    if action == "list":
        if probes or output or arch:
            raise UsageProblem("list takes no --probe, --output or --arch", hint="did you mean weave?")
        return weaving.list_kernels(file, form, console)
    request = weaving.Request(file, tuple(probes or ()), output, arch, assembler, image)
    return weaving.weave(request, console)
