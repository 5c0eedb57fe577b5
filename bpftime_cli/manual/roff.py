"""The manual page `man/bpftime.1` in the macros of man(7). Its date is the newest one of the change log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bpftime_cli import ROOT, __version__, scripts
from bpftime_cli.manual import words
from bpftime_cli.manual.tree import Command, Option


def write(commands: tuple[Command, ...]) -> str:
    """Return the page."""
    lines = [
        '.\\" made by `python -m bpftime_cli.manual --write`',
        f'.TH BPFTIME 1 "{_date()}" "bpftime {__version__}" "User Commands"',
        ".SH NAME",
        f"bpftime \\- {_escaped('trace programs from user space with bpftrace programs and eBPF objects')}",
        ".SH SYNOPSIS",
    ]
    for command in commands:
        synopsis = " ".join(["[OPTIONS]", *(argument.metavar for argument in command.arguments)])
        lines += [f".B bpftime {_escaped(command.name)}", _line(synopsis), ".br"]
    lines = [*lines[:-1], ".SH DESCRIPTION", *_paragraph(words.DESCRIPTION), ".SH COMMANDS"]
    for command in commands:
        lines += _command(command)
    lines += [
        ".SH LANGUAGE",
        *_paragraph(words.LANGUAGE),
        *_names(),
        ".SH OUTPUT FORMATS",
        *_paragraph(words.FORMATS),
        ".SH EXAMPLES",
    ]
    lines[-1:-1] = [".SH READY SCRIPTS", *_paragraph(words.SCRIPTS), *_scripts()]
    for title, example in words.EXAMPLES:
        lines += [".TP", _line(title), f".nf\n{_line(example)}\n.fi"]
    lines += [".SH PERMISSIONS", *_paragraph(words.PERMISSIONS)]
    tables = [
        ("ENVIRONMENT", words.ENVIRONMENT),
        ("EXIT STATUS", words.EXIT_STATUS),
        ("SIGNALS", words.SIGNALS),
        ("FILES", words.FILES),
    ]
    for title, rows in tables:
        lines += [f".SH {title}", *_rows(rows)]
    lines += [
        ".SH DIFFERENCES FROM BPFTRACE",
        *_paragraph(words.DIFFERENCES),
        ".SH BUGS",
        *_paragraph(words.BUGS),
    ]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR bpftrace (8),", ".BR clang (1),", ".BR ptrace (2)", ""])


def _date() -> str:
    """Return the newest date of the change log: a clock would make every run another file."""
    log = Path(ROOT, "CHANGELOG.md")
    found = re.search(r"\d{4}-\d\d-\d\d", log.read_text()) if log.is_file() else None
    return found[0] if found else ""


def _command(command: Command) -> list[str]:
    lines = [f".SS {_escaped(command.name)}", _line(f"{command.summary}.")]
    lines += _paragraph(command.text)
    if command.examples:
        lines += [".PP", ".nf", *(_line(example) for example in command.examples), ".fi"]
    lines += _rows((argument.metavar, argument.help) for argument in command.arguments)
    for option in command.options:
        lines += [".TP", _option(option), _line(option.help or "No description.")]
    return lines


def _names() -> list[str]:
    """List what the language has, from its own tables."""
    from runtime.lang.builtins import BUILTINS  # lazy: only here
    from runtime.lang.device import OWN
    from runtime.lang.functions import AGGREGATES, FUNCTIONS
    from runtime.lang.providers import PROVIDERS

    served = {
        "Probes": [p.name for p in PROVIDERS if p.context is not None],
        "Builtins": ["arg0 to arg5", *sorted(name for name, b in BUILTINS.items() if not b.reason)],
        **{f"Builtins of {provider}": sorted(rows) for provider, rows in OWN.items()},
        "Functions": sorted([*FUNCTIONS, *AGGREGATES]),
    }
    told = [_line(f"{title}: {', '.join(names)}.") for title, names in served.items()]
    return [line for paragraph in told for line in (".PP", paragraph)]


def _scripts() -> list[str]:
    lines = []
    for name in scripts.names():
        lines += [
            ".TP",
            f"\\fB{_escaped(name)}\\fR",
            ".nf",
            *map(_line, scripts.page(name).splitlines()),
            ".fi",
        ]
    return lines


def _option(option: Option) -> str:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in option.names)
    return f"{names} \\fI{_escaped(option.metavar)}\\fR" if option.metavar else names


def _rows(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for name, about in rows for line in (".TP", f"\\fB{_escaped(name)}\\fR", _line(about))]


def _paragraph(text: str) -> list[str]:
    return [_line(line) for line in text.splitlines() if line.strip()]


def _line(text: str) -> str:
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escaped(text: str) -> str:
    ascii_only = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return "".join(c if c < "\x80" else f"\\[u{ord(c):04X}]" for c in ascii_only)
