"""The tree of commands. Each is one file in `commands/`, imported for its options; work is imported later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

COMMAND_KEY = "bpftime.command"
WITHOUT_EFFECT = {
    "--usdt-file-activation": False,
    "--no-feature": True,
    "--dwarf-pid": True,
    "--traceable-functions": True,
}  # bpftrace's options that are accepted → whether a value follows


class CommandWithTarget(TyperCommand):
    """A command that launches what follows `--`: Typer alone would mix it with the positional arguments.

    When the first word behind `--` begins with `--`, these are parameters of the script, as in bpftrace.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 # Click's is private
        """Cut the arguments at the first `--`, and drop what bpftrace takes and means nothing here."""
        if "--" in args:
            cut = args.index("--")
            ctx.meta[COMMAND_KEY] = args[cut + 1 :]
            args = args[:cut]
        return super().parse_args(ctx, list(_meant(args)))


def _meant(args: list[str]) -> Iterator[str]:
    rest = iter(args)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name not in WITHOUT_EFFECT:
            yield word
        elif WITHOUT_EFFECT[name] and not equals:
            next(rest, None)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
    help="Trace programs from user space: bpftrace's language, without root and without kernel eBPF.",
)


def _version(value: bool) -> None:
    if value:
        from bpftime_cli import __version__

        typer.echo(f"bpftime {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: bool = typer.Option(
        False, "-V", "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Trace programs from user space: bpftrace's language, without root and without kernel eBPF."""
    del version


def _register() -> None:
    from bpftime_cli import commands

    commands.register(app)


_register()
