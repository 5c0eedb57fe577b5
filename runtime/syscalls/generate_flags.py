"""Make `flags.tsv` anew: `python -m runtime.syscalls.generate_flags --write`.

The members of each set of `sets.toml` are found among the macros of C headers, and their values by a program
that the C compiler makes. Headers and macros that are missing here are left out, but nothing that the table
has is dropped: older headers make the same file.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from runtime.syscalls.flags import FILE, WORD, read_rows

SETS = Path(__file__).with_name("sets.toml")
HEAD = "# set\tkind\tname=value,...; made by python -m runtime.syscalls.generate_flags\n"
MACRO = re.compile(r"^#define (\w+) (?=.)", re.M)


def _compiler(source: str, *arguments: str) -> str:
    command = ["cc", "-D_GNU_SOURCE", *arguments]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def headers(names: list[str]) -> str:
    """Return the includes of those that are here and go together."""
    text = ""
    for name in names:
        line = f"#include <{name}>\n"
        try:
            _compiler(text + line, "-E", "-xc", "-o", "/dev/null", "-")
            _compiler(text + line + "int main(void) { return 0; }", "-fsyntax-only", "-xc", "-")
            text += line
        except subprocess.CalledProcessError:
            continue
    return text


def members(row: dict[str, Any], macros: set[str]) -> list[str]:
    """Return the names of a set among all macros."""
    if "only" in row:
        only: list[str] = row["only"]
        return [name for name in only if name in macros]
    ignored = tuple(row.get("ignore", ()))
    stems = tuple(name for name in ignored if name.endswith("_"))
    found = [name for name in sorted(macros) if name.startswith(tuple(row["prefix"])) and name not in ignored]
    extra: list[str] = row.get("only_extra", [])
    return [name for name in found if not name.startswith(stems)] + extra


def values(includes: str, names: list[str]) -> dict[str, int]:
    """Return the values of those names that are integers, by a program."""
    lines = "".join(f'printf("{name} %lld\\n", (long long)({name}));\n' for name in names)
    source = f"#include <stdio.h>\n{includes}int main(void) {{ {lines} return 0; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/values"
        _compiler(source, "-w", "-xc", "-o", program, "-")
        text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def _numeric(includes: str, names: list[str]) -> list[str]:
    """Leave out macros that are no expressions of integers, which would not compile."""
    lines = "".join(f"enum {{ x_{name} = ({name}) ? 1 : 2 }};\n" for name in names)
    command = ["cc", "-D_GNU_SOURCE", "-w", "-fsyntax-only", "-fmax-errors=0", "-xc", "-"]
    done = subprocess.run(command, input=includes + lines, capture_output=True, text=True, check=False)
    first = includes.count("\n") + 1
    wrong = {int(found[1]) - first for found in re.finditer(r"^<stdin>:(\d+):\d+: error", done.stderr, re.M)}
    return [name for number, name in enumerate(names) if number not in wrong]


def rows() -> list[list[str]]:
    """Return the rows of the table: those of this machine's headers, completed by those that the file has."""
    table = tomllib.loads(SETS.read_text())
    includes = headers(table.pop("headers")["list"])
    macros = set(MACRO.findall(_compiler(includes, "-E", "-dM", "-xc", "-")))
    enumerators = {name for row in table.values() for name in row.get("only", ())}
    wanted = {name: members(row, macros | enumerators) for name, row in table.items()}
    every = sorted({name for names in wanted.values() for name in names})
    known = values(includes, _numeric(includes, every))
    before = {row[0]: dict(pair.split("=") for pair in row[2].split(",") if pair) for row in read_rows()}
    return [_row(name, row, wanted[name], known, before.get(name, {})) for name, row in table.items()]


def _row(
    name: str, row: dict[str, Any], names: list[str], known: dict[str, int], before: dict[str, str]
) -> list[str]:
    found = {n: int(value, 0) for n, value in before.items()} | {n: known[n] for n in names if n in known}
    found = {n: value for n, value in found.items() if value & WORD >= row.get("least", 0)}
    found |= row.get("values", {})
    if "zero" in row:
        found[row["zero"]] = 0
    kind = row["kind"] + (f":{row['mask']:#x}" if "mask" in row else "")
    first: list[str] = row.get("order", [])
    ordered = sorted(found.items(), key=lambda pair: (_rank(pair[0], first), pair[1] & WORD, pair[0]))
    return [name, kind, ",".join(f"{n}={value:#x}" for n, value in ordered)]


def _rank(name: str, first: list[str]) -> int:
    return first.index(name) if name in first else len(first)


def main() -> int:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(prog="python -m runtime.syscalls.generate_flags")
    parser.add_argument("--write", action="store_true", help="write flags.tsv")
    options = parser.parse_args()
    text = HEAD + "".join("\t".join(row) + "\n" for row in rows())
    if options.write:
        FILE.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
