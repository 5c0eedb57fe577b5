"""The options of `trace` as annotated types: one row an option."""

from __future__ import annotations

from typing import Annotated

import typer


def show_info(wanted: bool) -> None:
    """Print what works on this machine and end."""
    if wanted:
        from bpftime_cli.commands.doctor import doctor  # lazy: rarely asked

        raise typer.Exit(doctor())


def show_script(name: str) -> None:
    """Print what a ready script says of itself, or one line for each of all, and end."""
    if not name:
        return
    from bpftime_cli import scripts  # lazy: rarely asked

    if scripts.find(name) is not None:
        typer.echo(scripts.page(name), nl=False)
        raise typer.Exit
    for known in scripts.names():
        typer.echo(f"{known:16} {scripts.page(known).splitlines()[0]}")
    raise typer.Exit(0 if name == "all" else 1)


Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCRIPT] [PARAM]...",
        help="Script file or - for standard input, then its parameters.",
        show_default=False,
    ),
]
Text = Annotated[
    list[str] | None,
    typer.Option("-e", metavar="TEXT", help="Program text; several are joined.", show_default=False),
]
Output = Annotated[str, typer.Option("-o", metavar="FILE", help="Write data to FILE.", show_default=False)]
Buffering = Annotated[str, typer.Option("-B", metavar="MODE", help="Output buffering: line, full or none.")]
Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, help="Steps with timings; -vv the plan.", show_default=False),
]
Stages = Annotated[
    str,
    typer.Option(
        "-d",
        metavar="STAGE[,STAGE]",
        help="Print parse, ast, types, bytecode, verify, codegen, codegen-opt, native, plan or all.",
        show_default=False,
    ),
]
Mode = Annotated[
    str,
    typer.Option(
        "--mode",
        metavar="TASK",
        help="trace, codegen (only compile), test, bench, or format (print the script in one style).",
    ),
]
EmitLlvm = Annotated[
    str,
    typer.Option(
        "--emit-llvm",
        metavar="FILE",
        help="Write the LLVM modules to FILE.original.ll and FILE.optimized.ll.",
        show_default=False,
    ),
]
Fmt = Annotated[
    bool,
    typer.Option("--fmt", help="Print the script in one style; same as --mode format.", show_default=False),
]
Test = Annotated[
    bool, typer.Option("--test", help="Run test: probes; same as --mode test.", show_default=False)
]
Bench = Annotated[
    bool, typer.Option("--bench", help="Run bench: probes; same as --mode bench.", show_default=False)
]
ProbeFilter = Annotated[
    str,
    typer.Option(
        "--probe-filter", metavar="REGEX", help="Only places whose full name matches.", show_default=False
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A named parameter, which getopt reads.", show_default=False
    ),
]
Info = Annotated[
    bool,
    typer.Option(
        "--info",
        help="What works on this machine, as doctor.",
        callback=show_info,
        is_eager=True,
        show_default=False,
    ),
]
HelpScript = Annotated[
    str,
    typer.Option(
        "--help-script",
        metavar="NAME",
        help="What a ready script does; without a known name, all of them.",
        callback=show_script,
        is_eager=True,
        show_default=False,
    ),
]
Calls = Annotated[
    str,
    typer.Option(
        "--calls",
        metavar="SET",
        help="Without a program: the system calls to show, names or %classes.",
        show_default=False,
    ),
]
Summary = Annotated[
    bool,
    typer.Option(
        "--summary", help="Without a program: a table of system calls at the end.", show_default=False
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Arm, print the plan, take out again.", show_default=False)
]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="Allow what changes the target.", show_default=False)]
Checks = Annotated[
    bool,
    typer.Option("-k", help="Warn of reads and map look-ups that fail while tracing.", show_default=False),
]
MaxEvents = Annotated[
    int,
    typer.Option("--max-events", min=0, metavar="N", help="Stop after N printed events.", show_default=False),
]
Interval = Annotated[
    str,
    typer.Option("-i", "--interval", metavar="TIME", help="Print all maps every TIME.", show_default=False),
]
Clear = Annotated[bool, typer.Option("--clear", help="With -i: from zero each time.", show_default=False)]
FailOn = Annotated[
    str,
    typer.Option(
        "--fail-on", metavar="WHAT", help="Status 4 if it happened: lost, empty.", show_default=False
    ),
]
ReadyFd = Annotated[
    int,
    typer.Option(
        "--ready-fd", metavar="N", help="Write READY=1 to descriptor N when armed.", show_default=False
    ),
]
Session = Annotated[
    str, typer.Option("--session", metavar="NAME", help="Name of the session.", show_default=False)
]
Assembler = Annotated[
    str,
    typer.Option(
        "--cuda-assembler",
        metavar="HOW",
        help="Who assembles woven kernels: ptxas, nvjitlink, driver, or auto, the first that can.",
    ),
]
CudaDump = Annotated[
    str,
    typer.Option(
        "--cuda-dump",
        metavar="DIR",
        help="Keep the images of kernels, and what they become, in DIR.",
        show_default=False,
    ),
]
ReturnSwap = Annotated[
    bool,
    typer.Option(
        "--allow-return-swap",
        help="Allow replaced return addresses where nothing else works.",
        show_default=False,
    ),
]
Pending = Annotated[
    bool | None,
    typer.Option(
        "--pending/--no-pending",
        help="Probes wait for libraries not loaded yet. [default: in a launched program]",
        show_default=False,
    ),
]
WaitDlopen = Annotated[
    str,
    typer.Option(
        "--wait-dlopen", metavar="TIME", help="How long a thread that loads a library waits for its probes."
    ),
]
List = Annotated[
    bool,
    typer.Option(
        "-l",
        "--list",
        help="List probes: all, of a pattern, of a script; -v with arguments.",
        show_default=False,
    ),
]
DebugInfo = Annotated[
    str,
    typer.Option(
        "--debuginfo", metavar="DIR[:DIR]", help="Folders with separate debug files.", show_default=False
    ),
]
IncludeFolders = Annotated[
    list[str] | None,
    typer.Option("-I", metavar="DIR", help="Folder with C headers for #include.", show_default=False),
]
IncludeFiles = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="FILE", help="C header read before the script.", show_default=False),
]
