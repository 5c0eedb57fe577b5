"""`bpftime trace`: compile a script, arm its probes in processes, print until the end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from bpftime_cli.app import COMMAND_KEY, SETTINGS, CommandWithTarget
from bpftime_cli.options import parse_duration, parse_fail_on

EXAMPLES = """Compile a script and run it inside the target process.

\b
bpftime trace -e 'uprobe:libc.so.6:malloc { @[comm] = count(); }' -- python3 -c pass
bpftime trace -e 'uprobe:libc.so.6:read { @ = hist(arg2); }' -p 4242
bpftime trace script.bt -p 4242
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("trace", cls=CommandWithTarget, help=EXAMPLES, context_settings=SETTINGS)(trace)


def trace(  # noqa: PLR0913 # one parameter an option is how Typer works
    ctx: typer.Context,
    arguments: list[str] = typer.Argument(
        None,
        metavar="[SCRIPT] [PARAM]...",
        help="Script file or - for standard input, then its parameters.",
        show_default=False,
    ),
    text: list[str] = typer.Option(
        [], "-e", metavar="TEXT", help="Program text; several are joined.", show_default=False
    ),
    pid: list[str] = typer.Option(
        [],
        "-p",
        "--pid",
        metavar="PID",
        help="Running process; several with commas or several -p.",
        show_default=False,
    ),
    command: str = typer.Option(
        "", "-c", metavar="CMD", help="Launch a command (no shell).", show_default=False
    ),
    output: str = typer.Option("", "-o", metavar="FILE", help="Write data to FILE.", show_default=False),
    form: str = typer.Option("text", "-f", "--format", metavar="FORMAT", help="text or json."),
    buffering: str = typer.Option("line", "-B", metavar="MODE", help="Output buffering: line, full or none."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No chatter.", show_default=False),
    no_warnings: bool = typer.Option(False, "--no-warnings", help="No warnings.", show_default=False),
    verbose: int = typer.Option(
        0, "-v", "--verbose", count=True, help="Steps with timings; -vv the plan.", show_default=False
    ),
    stages: str = typer.Option(
        "",
        "-d",
        metavar="STAGE[,STAGE]",
        help="Print bytecode, verify, native or all on stderr, and go on.",
        show_default=False,
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Arm, print the plan, take out again.", show_default=False
    ),
    unsafe: bool = typer.Option(False, "--unsafe", help="Allow what changes the target.", show_default=False),
    inject: str = typer.Option(
        "ptrace",
        "--inject",
        metavar="HOW",
        help="How the agent gets into a running process: ptrace or frida.",
    ),
    duration: str = typer.Option(
        "", "--duration", metavar="TIME", help="Stop after TIME: 500ms, 10s, 2m.", show_default=False
    ),
    max_events: int = typer.Option(
        0, "--max-events", min=0, metavar="N", help="Stop after N printed events.", show_default=False
    ),
    interval: str = typer.Option(
        "", "-i", "--interval", metavar="TIME", help="Print all maps every TIME.", show_default=False
    ),
    clear: bool = typer.Option(False, "--clear", help="With -i: from zero each time.", show_default=False),
    exit_code: bool = typer.Option(
        False, "--exit-code", help="End with the launched command's status.", show_default=False
    ),
    fail_on: str = typer.Option(
        "", "--fail-on", metavar="WHAT", help="Status 4 if it happened: lost, empty.", show_default=False
    ),
    ready_fd: int = typer.Option(
        -1, "--ready-fd", metavar="N", help="Write READY=1 to descriptor N when armed.", show_default=False
    ),
    session: str = typer.Option(
        "", "--session", metavar="NAME", help="Name of the session.", show_default=False
    ),
    colour: str = typer.Option("auto", "--color", metavar="WHEN", help="auto, always or never."),
    return_swap: bool = typer.Option(
        False,
        "--allow-return-swap",
        help="Allow replaced return addresses where nothing else works.",
        show_default=False,
    ),
) -> int:
    """Compile a script and run it inside the target process."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.options import check_choice
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.processes import parse_pids
    from bpftime_cli.pipeline.stages import check_stages
    from bpftime_cli.pipeline.trace import Trace

    program, file, params = _program(text, arguments or [])
    launched, named = _command(command, ctx.meta.get(COMMAND_KEY, []))
    pids = parse_pids(tuple(pid))
    _check_targets(command, launched, pids)
    check_choice("-f", form, ("text", "json"), "Invalid output format")
    check_choice("-B", buffering, ("line", "full", "none"), "Invalid buffering mode")
    check_choice("--inject", inject, ("ptrace", "frida"), "Invalid injector")
    check_choice("--color", colour, ("auto", "always", "never"), "Invalid colour mode")
    config = Config(
        program=program,
        file=file,
        params=(*params, *named),
        pids=pids,
        command=tuple(launched),
        output=output,
        format=form,
        buffering=buffering,
        quiet=quiet,
        warnings=not no_warnings,
        verbose=verbose,
        stages=check_stages(s for s in stages.split(",") if s),
        dry_run=dry_run,
        unsafe=unsafe,
        inject=inject,
        return_swap=return_swap,
        duration=parse_duration(duration, "--duration"),
        max_events=max_events,
        interval=parse_duration(interval, "-i"),
        clear=clear,
        exit_code=exit_code,
        fail_on=parse_fail_on(fail_on),
        ready_fd=ready_fd,
        session=session,
        colour=colour,
    )
    console = Console(standard_output(), colour, quiet, not no_warnings, verbose)
    return Trace(config, console).run()


def _program(texts: list[str], arguments: list[str]) -> tuple[str, str, list[str]]:
    """Return program text, its name in messages, and the parameters.

    Raises:
        UsageProblem: there is none.
        Problem: the file cannot be read.
    """
    from runtime.errors import Problem, UsageProblem

    if texts:
        return "\n".join(texts), "stdin", arguments
    if not arguments:
        raise UsageProblem("no program", hint="give a script file, or text with -e")
    name, *params = arguments
    if name == "-":
        return sys.stdin.read(), "stdin", params
    try:
        return Path(name).read_text(errors="surrogateescape"), name, params
    except OSError as error:
        raise Problem(
            f"failed to open file '{name}': {error.strerror}", hint="give a script file, or text with -e"
        ) from None
    except ValueError:
        raise Problem(f"failed to open file '{name!r}'", hint="give a script file, or text with -e") from None


def _command(text: str, tail: list[str]) -> tuple[list[str], list[str]]:
    """Return the command to launch and the script's parameters from behind `--`."""
    from runtime.errors import UsageProblem

    if tail and (tail[0].startswith("--") or (text and tail)):
        return _split(text), tail
    if not text:
        return tail, []
    words = _split(text)
    if not words:
        raise UsageProblem("-c needs a command")
    return words, []


def _split(text: str) -> list[str]:
    from runtime.errors import UsageProblem

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageProblem(f"-c: {str(error).lower()}", hint="quote the command as in a shell") from None


def _check_targets(command: str, launched: list[str], pids: tuple[int, ...]) -> None:
    from runtime.errors import UsageProblem

    if launched and pids:
        raise UsageProblem("Cannot use both -c and -p." if command else "Cannot use both -- COMMAND and -p.")
