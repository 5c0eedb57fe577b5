"""Write the generated files, or say which of them are old."""

from __future__ import annotations

import sys
from pathlib import Path

from bpftime_cli import ROOT
from bpftime_cli.manual import bash, fish, roff, zsh
from bpftime_cli.manual.tree import commands

MAKERS = {
    "man/bpftime.1": roff.write,
    "completions/bpftime.bash": bash.write,
    "completions/_bpftime": zsh.write,
    "completions/bpftime.fish": fish.write,
}


def fresh() -> dict[str, str]:
    """Return every generated file's text by its path in the tree."""
    tree = commands()
    return {name: make(tree) for name, make in MAKERS.items()}


def main(arguments: list[str]) -> int:
    """Write with `--write`; else return 1 if a file is old, and name it."""
    old = 0
    for name, text in fresh().items():
        path = Path(ROOT, name)
        if path.is_file() and path.read_text() == text:
            continue
        if "--write" in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        sys.stderr.write(f"{name} is old: python -m bpftime_cli.manual --write\n")
        old = 1
    return old


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
