"""`bpftime trace`: compile a script, arm its probes in processes, print until the end."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bpftime_cli.app import COMMAND_KEY, SETTINGS, CommandWithTarget
from bpftime_cli.commands.tracewords import (
    Arguments,
    Assembler,
    Bench,
    Buffering,
    Calls,
    Checks,
    Clear,
    CudaDump,
    DebugInfo,
    DryRun,
    EmitLlvm,
    FailOn,
    Fmt,
    HelpScript,
    IncludeFiles,
    IncludeFolders,
    Info,
    Interval,
    List,
    MaxEvents,
    Mode,
    Output,
    Pending,
    ProbeFilter,
    ReadyFd,
    ReturnSwap,
    Session,
    Set,
    Stages,
    Summary,
    Test,
    Text,
    Unsafe,
    Verbose,
    WaitDlopen,
)
from bpftime_cli.commands.words import (
    Backend,
    Colour,
    Command,
    Duration,
    ExitCode,
    Follow,
    Format,
    Inject,
    Name,
    NoWarnings,
    Pids,
    Quiet,
    Ways,
    check_choices,
)
from bpftime_cli.options import check_pattern, parse_duration, parse_fail_on

if TYPE_CHECKING:
    from bpftime_cli.callview.view import View
    from bpftime_cli.console import Console
    from bpftime_cli.pipeline.config import Config

EXAMPLES = """Compile a script and run it inside the target process.

\b
bpftime trace -e 'uprobe:libc.so.6:malloc { @[comm] = count(); }' -- python3 -c pass
bpftime trace -e 'uprobe:libc.so.6:read { @ = hist(arg2); }' -p 4242
bpftime trace script.bt -p 4242
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("trace", cls=CommandWithTarget, help=EXAMPLES, context_settings=SETTINGS)(trace)


def trace(
    ctx: typer.Context,
    arguments: Arguments = None,
    text: Text = None,
    pid: Pids = None,
    command: Command = "",
    output: Output = "",
    form: Format = "text",
    buffering: Buffering = "line",
    quiet: Quiet = False,
    no_warnings: NoWarnings = False,
    checks: Checks = False,
    verbose: Verbose = 0,
    stages: Stages = "",
    mode: Mode = "trace",
    emit_llvm: EmitLlvm = "",
    fmt: Fmt = False,
    test: Test = False,
    bench: Bench = False,
    dry_run: DryRun = False,
    unsafe: Unsafe = False,
    inject: Inject = "ptrace",
    backend: Backend = "auto",
    duration: Duration = "",
    max_events: MaxEvents = 0,
    interval: Interval = "",
    clear: Clear = False,
    exit_code: ExitCode = False,
    fail_on: FailOn = "",
    ready_fd: ReadyFd = -1,
    session: Session = "",
    assembler: Assembler = "auto",
    cuda_dump: CudaDump = "",
    colour: Colour = "auto",
    return_swap: ReturnSwap = False,
    calls: Calls = "",
    ways: Ways = "jump",
    summary: Summary = False,
    name: Name = "",
    probe_filter: ProbeFilter = "",
    named: Set = None,
    info: Info = False,
    help_script: HelpScript = "",
    follow: Follow = None,
    pending: Pending = None,
    wait_dlopen: WaitDlopen = "100ms",
    include_folders: IncludeFolders = None,
    include_files: IncludeFiles = None,
    listing: List = False,
    debuginfo: DebugInfo = "",
) -> int:
    """Compile a script and run it inside the target process."""
    return _carry_out(ctx)


def _carry_out(ctx: typer.Context) -> int:
    if ctx.params["debuginfo"]:
        from runtime.symbols.debugfiles import look_in

        look_in(ctx.params["debuginfo"].split(":"))
    if ctx.params["listing"]:
        return _list(ctx)
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.trace import Trace

    config = _config(ctx)
    console = Console(standard_output(), config.colour, config.quiet, config.warnings, config.verbose)
    if config.mode == "format":
        return _print_formatted(config, console)
    return Trace(config, console).run()


def _list(ctx: typer.Context) -> int:
    """Print probes: of the script that is given, else of the pattern, else all."""
    from bpftime_cli.console import Console, standard_output
    from bpftime_cli.pipeline.probelist import Listing, show_probes
    from bpftime_cli.pipeline.processes import parse_pids

    values = ctx.params
    texts, arguments = values["text"] or [], values["arguments"] or []
    pids, verbose = parse_pids(tuple(values["pid"] or [])), bool(values["verbose"])
    if texts or (arguments and Path(arguments[0]).is_file() and ":" not in arguments[0]):
        program, file, params = _program(texts, arguments)
        asked = Listing("", program, file, pids, tuple(params), verbose, values["form"])
    else:
        asked = Listing(",".join(arguments), pids=pids, verbose=verbose, form=values["form"])
    return show_probes(asked, Console(standard_output()))


def _print_formatted(config: Config, console: Console) -> int:
    """Print the script in the one style."""
    from runtime.lang.pretty import pretty  # lazy: only for --fmt

    console.data(pretty(config.program, config.file).encode("utf-8", "surrogateescape"))
    console.out.flush()
    return 0


CHECKED = ("form", "buffering", "inject", "backend", "ways", "colour", "mode", "assembler")
MODES = {"fmt": "format", "test": "test", "bench": "bench"}  # options that are short for a mode
AS_GIVEN = (
    "output",
    "buffering",
    "quiet",
    "checks",
    "verbose",
    "dry_run",
    "emit_llvm",
    "unsafe",
    "inject",
    "backend",
    "return_swap",
    "max_events",
    "clear",
    "exit_code",
    "ready_fd",
    "session",
    "assembler",
    "cuda_dump",
    "colour",
    "name",
    "follow",
    "pending",
    "ways",
)  # options that are fields of the configuration under the same name


def _config(ctx: typer.Context) -> Config:
    """Return the checked configuration; Typer keeps the values of all options by their parameters' names."""
    from bpftime_cli.pipeline.config import Config
    from bpftime_cli.pipeline.headers import Headers
    from bpftime_cli.pipeline.processes import parse_pids
    from bpftime_cli.pipeline.stages import check_stages
    from runtime.errors import UsageProblem

    values = ctx.params
    launched, named = _command(values["command"], ctx.meta.get(COMMAND_KEY, []))
    pids = parse_pids(tuple(values["pid"] or []))
    view = _view(values, has_target=bool(launched or pids or values["name"]))
    program, file, params = (
        (view.program, "view", [])
        if view is not None
        else _program(values["text"] or [], values["arguments"] or [])
    )
    targeted = bool(pids or values["name"])
    if not values["command"] and _are_parameters(program, launched, targeted=targeted):
        launched, named = [], launched
    _check_targets(values["command"], launched, pids, values["name"])
    if values["checks"] and values["no_warnings"]:
        raise UsageProblem("Cannot use both -k and --no-warnings.")
    check_choices(**{name: values[name] for name in CHECKED})
    return Config(
        program=program,
        file=file,
        params=(*params, *(f"--{word}" for word in values["named"] or ()), *named),
        probe_filter=check_pattern(values["probe_filter"]),
        pids=pids,
        command=tuple(launched),
        format=values["form"],
        mode=next((mode for option, mode in MODES.items() if values[option]), values["mode"]),
        warnings=not values["no_warnings"],
        view=view,
        stages=check_stages(s for s in values["stages"].split(",") if s),
        duration=parse_duration(values["duration"], "--duration"),
        interval=parse_duration(values["interval"], "-i"),
        wait_dlopen=round(1000 * parse_duration(values["wait_dlopen"], "--wait-dlopen")),
        fail_on=parse_fail_on(values["fail_on"]),
        headers=Headers(tuple(values["include_folders"] or ()), tuple(values["include_files"] or ())),
        **{name: values[name] for name in AS_GIVEN},
    )


def _view(values: dict[str, Any], *, has_target: bool) -> View | None:
    """Return the view of system calls, which a target without a program means; None where there is one."""
    from runtime.errors import UsageProblem

    if values["text"] or values["arguments"] or not has_target:
        if values["calls"] or values["summary"]:
            raise UsageProblem("--calls and --summary are for a target without a program")
        return None
    from bpftime_cli.callview.classes import chosen
    from bpftime_cli.callview.view import View

    return View(chosen(values["calls"]), lists=not values["summary"], counts=values["summary"])


def _program(texts: list[str], arguments: list[str]) -> tuple[str, str, list[str]]:
    """Return program text, its name in messages, and the parameters.

    Raises:
        UsageProblem: there is none.
        Problem: the file cannot be read.
    """
    from bpftime_cli import scripts
    from runtime.errors import Problem, UsageProblem
    from runtime.lang.suggest import near

    if texts:
        return "\n".join(texts), "stdin", arguments
    if not arguments:
        raise UsageProblem("no program", hint="give a script file, or text with -e")
    name, *params = arguments
    if name == "-":
        return sys.stdin.read(), "stdin", params
    path = Path(name)
    try:
        ready = None if path.exists() else scripts.find(name)
        return (ready or path).read_text(errors="surrogateescape"), ready.name if ready else name, params
    except OSError as error:
        hint = near(name, scripts.names()) or "give a script file, or text with -e"
        raise Problem(f"failed to open file '{name}': {error.strerror}", hint=hint) from None
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


def _are_parameters(program: str, words: list[str], *, targeted: bool) -> bool:
    """Tell whether words behind `--` go to a script that asks for some: no command, or it has its target."""
    asks = re.search(r"\$[0-9#]|\bgetopt\s*\(", program)
    return bool(asks and words) and (targeted or ("/" not in words[0] and shutil.which(words[0]) is None))


def _split(text: str) -> list[str]:
    from runtime.errors import UsageProblem

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageProblem(f"-c: {str(error).lower()}", hint="quote the command as in a shell") from None


def _check_targets(command: str, launched: list[str], pids: tuple[int, ...], name: str = "") -> None:
    from runtime.errors import UsageProblem

    words = [
        word
        for word, given in (("-c" if command else "-- COMMAND", launched), ("-p", pids), ("--name", name))
        if given
    ]
    if len(words) > 1:
        raise UsageProblem(f"Cannot use both {words[0]} and {words[1]}.")
