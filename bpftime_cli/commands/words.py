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
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="BACKEND",
        help="How functions are probed: inline, frida, or auto, Frida where a named one has no room.",
    ),
]
Ways = Annotated[
    str,
    typer.Option(
        "--syscalls",
        metavar="WAY",
        help="System calls without room for a jump: by trap, or page0; dispatch: those of generated code.",
    ),
]
Command = Annotated[
    str, typer.Option("-c", metavar="CMD", help="Launch a command (no shell).", show_default=False)
]
Inject = Annotated[
    str,
    typer.Option(
        "--inject",
        metavar="HOW",
        help="How the agent gets in: ptrace, frida (running process) or preload (launch).",
    ),
]
Duration = Annotated[
    str,
    typer.Option("--duration", metavar="TIME", help="Stop after TIME: 500ms, 10s, 2m.", show_default=False),
]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="End with the launched command's status.", show_default=False)
]
FORMATS = ("text", "json")
CHOICES = {
    "form": ("-f", FORMATS, "Invalid output format"),
    "buffering": ("-B", ("line", "full", "none"), "Invalid buffering mode"),
    "inject": ("--inject", ("ptrace", "frida", "preload"), "Invalid injector"),
    "backend": ("--backend", ("auto", "inline", "frida"), "Invalid backend"),
    "ways": ("--syscalls", ("jump", "trap", "page0", "page0-always", "dispatch"), "Invalid way"),
    "assembler": ("--cuda-assembler", ("auto", "ptxas", "nvjitlink", "driver"), "Invalid assembler"),
    "times": ("--time", ("rel", "abs", "none"), "Invalid kind of times"),
    "sort": ("--sort", ("time", "calls", "errors", "p99", "name"), "Invalid order"),
    "mode": ("--mode", ("trace", "codegen", "test", "bench", "format"), "Invalid mode"),
    "colour": ("--color", ("auto", "always", "never"), "Invalid colour mode"),
}  # parameter → option, what it takes, what a wrong one is called


def check_choices(**given: str) -> None:
    """Refuse values that do not exist; `given` are parameters by their names in `CHOICES`.

    Raises:
        UsageProblem: with the list of what there is.
    """
    from bpftime_cli.options import check_choice  # lazy, as in the commands

    for name, value in given.items():
        option, choices, text = CHOICES[name]
        check_choice(option, value, choices, text)


def check_format(form: str) -> None:
    """Refuse an output format that does not exist.

    Raises:
        UsageProblem: with the list of formats.
    """
    check_choices(form=form)
