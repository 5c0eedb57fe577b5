"""The commands with their options as plain data, read from Typer's own tree.

What a value means for completion follows from its metavar: one row of `VALUES` each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from bpftime_cli.app import app

# metavar → kind ("words" with a fixed list, else file, dir, command, or one of `__complete`), words
VALUES: dict[str, tuple[str, tuple[str, ...]]] = {
    "PID": ("pid", ()),
    "PATTERN": ("probe", ()),
    "PROBE": ("probe", ()),
    "SESSION": ("session", ()),
    "MAP": ("map", ()),
    "CMD": ("command", ()),
    "FILE": ("file", ()),
    "OBJECT": ("file", ()),
    "PROGRAM": ("file", ()),
    "SCRIPT": ("file", ()),
    "DIR": ("dir", ()),
    "FORMAT": ("words", ("text", "json")),
    "MODE": ("words", ("line", "full", "none")),
    "HOW": ("words", ("ptrace", "frida", "preload")),
    "BACKEND": ("words", ("auto", "inline", "frida")),
    "WHEN": ("words", ("auto", "always", "never")),
    "ACTION": ("words", ("list", "weave")),
    "TOOL": ("words", ("auto", "ptxas", "nvjitlink")),
    "WHAT": ("words", ("lost", "empty")),
    "TYPE": ("words", ("uprobe", "uretprobe")),
    "STAGE": (
        "words",
        ("parse", "ast", "types", "bytecode", "verify", "codegen", "codegen-opt", "native", "plan", "all"),
    ),
    "TASK": ("words", ("trace", "codegen", "test", "bench", "format")),
}
# command and metavar whose word alone does not say it
SPECIAL = {("maps", "NAME"): "MAP"}


@dataclass(frozen=True, slots=True)
class Option:
    """An option: `metavar` is empty for a flag, `kind` and `words` say how its value is completed."""

    names: tuple[str, ...]
    metavar: str
    help: str
    repeats: bool
    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument; `metavar` is its synopsis."""

    metavar: str
    help: str
    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `summary` one line, `text` the paragraph behind it, `examples` the lines to paste."""

    name: str
    summary: str
    text: str
    examples: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]


def commands() -> tuple[Command, ...]:
    """Return every command that help shows, in its order."""
    group: Any = typer.main.get_command(app)
    return tuple(_command(name, command) for name, command in group.commands.items() if not command.hidden)


def _command(name: str, command: Any) -> Command:
    text, _, examples = (command.help or "").partition("\b\n")
    summary, _, rest = text.strip().partition("\n")
    params = [p for p in command.params if not getattr(p, "hidden", False)]
    options = [_option(name, p) for p in params if p.param_type_name == "option"]
    options.append(Option(("-h", "--help"), "", "Show the help and exit.", False, "", ()))
    arguments = [_argument(name, p) for p in params if p.param_type_name == "argument"]
    lines = tuple(line.rstrip() for line in examples.splitlines() if line.strip())
    return Command(name, summary.rstrip("."), " ".join(rest.split()), lines, tuple(options), tuple(arguments))


def _option(command: str, param: Any) -> Option:
    names = (*param.opts, *param.secondary_opts)
    flag = param.is_flag or param.count
    metavar = "" if flag else str(param.metavar or param.type.name.upper())
    if flag:
        return Option(names, "", param.help or "", bool(param.count), "", ())
    meaning = "SESSION" if "--session" in names else metavar
    return Option(names, metavar, param.help or "", bool(param.multiple), *_meaning(command, meaning, param))


def _argument(command: str, param: Any) -> Argument:
    metavar = str(param.metavar or param.name.upper())
    return Argument(metavar, param.help or "", *_meaning(command, metavar, param))


def _meaning(command: str, metavar: str, param: Any) -> tuple[str, tuple[str, ...]]:
    """Return kind and words of a value."""
    choices = getattr(param.type, "choices", None)
    if choices:
        return "words", tuple(str(choice) for choice in choices)
    word = metavar.split(maxsplit=1)[0].strip("[].").split("[")[0].split("|")[0].split(",")[0]
    return VALUES.get(SPECIAL.get((command, word), word), ("", ()))
