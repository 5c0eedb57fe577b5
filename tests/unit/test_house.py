"""The house rules that a machine can hold: layers, doors, sizes, words, imports, fresh files."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftime_cli.manual.__main__ import fresh
from bpftime_cli.manual.tree import commands
from bpftime_cli.manual.words import EXIT_STATUS
from runtime.agent import protocol

ROOT = Path(__file__).parents[2]
TOPS = {"bpftime_cli": {"attachers", "runtime"}, "attachers": {"runtime"}, "runtime": set()}
DOORS = {
    "llvmlite": ("runtime/jit/llvm.py",),
    "capstone": ("runtime/jit/disasm.py",),
    "frida": ("attachers/inject/device.py",),
    "rich": ("bpftime_cli/console.py", "bpftime_cli/render/live.py"),
    "hatchling": ("runtime/agent/hatch_build.py",),
}
LATE = ["rich", "llvmlite", "capstone", "frida", "elftools", "asyncio", "pydantic", "multiprocessing"]
PYTHON = sorted(f.relative_to(ROOT) for top in TOPS for f in (ROOT / top).rglob("*.py"))
SOURCES = sorted([*PYTHON, *(f.relative_to(ROOT) for f in (ROOT / "runtime/agent").glob("*.[ch]"))])
GENERATED = {"runtime/agent/protocol.h"}
NEUTRAL = {"runtime.errors", "runtime.types"}
# Spelled in pieces so that this file does not say them.
FORBIDDEN = re.compile(
    r"\b(TO"
    r"DO|FIX"
    r"ME|XX"
    r"X|NotImplemented"
    r"Error)\b|\bfor n"
    r"ow\b|/(wo"
    r"rk|fa"
    r"rm)/|/opt/ve"
    r"nv",
    re.I,
)
VAGUE_NAMES = re.compile(r"(^|/)(utils?|common|manager|misc)(\.py|/|$)")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and full name of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def room_table() -> dict[str, set[str]]:
    """Return the rooms of ARCHITECTURE.md with what each may import."""
    rows = re.findall(r"^\| `([\w.]+)` \|.*\|([^|]*)\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    return {room: set(re.findall(r"`([\w.]+)`", allowed)) for room, allowed in rows if "." in room}


ROOMS = room_table()


@pytest.mark.parametrize("file", PYTHON, ids=str)
def test_imports_go_down_and_through_doors(file: Path) -> None:
    top = file.parts[0]
    room = ".".join(file.parts[:2])
    for line, name in imported(ast.parse((ROOT / file).read_text())):
        base = name.partition(".")[0]
        where = f"{file}:{line}"
        if base in DOORS:
            assert str(file) in DOORS[base], f"{where}: import {base} only in {DOORS[base]}"
        if base not in TOPS:
            continue
        assert base == top or base in TOPS[top], f"{where}: {top} may not import {name}"
        target = ".".join(name.split(".")[:2])
        if room in ROOMS and target not in NEUTRAL | {room}:
            allowed = ROOMS[room]
            assert target in allowed or base in allowed, (
                f"{where}: ARCHITECTURE.md does not let {room} import {target}"
            )


def test_rooms_of_the_architecture_are_all_rooms() -> None:
    folders = {
        f"{top}.{f.name}" for top in TOPS for f in (ROOT / top).iterdir() if (f / "__init__.py").exists()
    }
    assert folders == set(ROOMS)
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in re.findall(r"`((?:runtime|attachers|bpftime_cli|tests)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), f"ARCHITECTURE.md names {path}"


@pytest.mark.parametrize("file", SOURCES, ids=str)
def test_sizes_and_words(file: Path) -> None:
    text = (ROOT / file).read_text()
    if str(file) not in GENERATED:
        assert len(text.splitlines()) <= 500, f"{file} has {len(text.splitlines())} lines"
    found = FORBIDDEN.search(text)
    assert not found, f"{file}:{text[: found.start()].count(chr(10)) + 1}: says '{found[0]}'"
    assert not VAGUE_NAMES.search(str(file))


@pytest.mark.parametrize("file", PYTHON, ids=str)
def test_python_style(file: Path) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert ast.get_docstring(tree), f"{file} has no docstring"
    is_command = file.parts[:2] == ("bpftime_cli", "commands")
    for function in functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        where = f"{file}:{function.lineno} {function.name}"
        # A command's parameters are its options, one a line: a table.
        options = [a for a in function.args.args if is_command and a.annotation is not None]
        assert lines <= 60 or len(options) > 6, f"{where}: {lines} lines"
        arguments = [
            a for a in (*function.args.args, *function.args.kwonlyargs) if a.arg not in ("self", "cls")
        ]
        assert len(arguments) <= 6 or options, f"{where}: {len(arguments)} parameters"
    prints = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"
    ]
    assert not prints, f"{file}:{prints[0].lineno}: print()"


def test_medians() -> None:
    lines = [len((ROOT / f).read_text().splitlines()) for f in SOURCES if str(f) not in GENERATED]
    sizes = [
        (n.end_lineno or 0) - n.lineno + 1
        for f in PYTHON
        for n in functions(ast.parse((ROOT / f).read_text()))
    ]
    assert statistics.median(lines) <= 170
    assert statistics.median(sizes) <= 10


def test_one_place_catches_everything() -> None:
    # The start itself; words for a shell.
    allowed = {"bpftime_cli/__main__.py", "bpftime_cli/complete.py"}
    for file in PYTHON:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            name = node.type.id if isinstance(node.type, ast.Name) else ""
            passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            broad = node.type is None or name in ("Exception", "BaseException")
            assert not broad or passes_on or str(file) in allowed, f"{file}:{node.lineno}: catches everything"


@pytest.mark.parametrize("arguments", [["--help"], ["trace", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bpftime_cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert not loaded & set(LATE)


def test_only_kernel_probes_import_what_serves_them() -> None:
    """Start-up time is a feature: all that weaves kernels is a sixth of what a trace would import."""
    code = "import sys; from bpftime_cli.pipeline import listing, loading, trace; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = [name for name in run.stdout.split() if name.startswith(("attachers.cuda", "runtime.nvptx"))]
    assert set(heavy) <= {"attachers.cuda", "attachers.cuda.data"}  # numbers of attach types


def test_protocol_header_is_fresh() -> None:
    assert (ROOT / "runtime/agent/protocol.h").read_text() == protocol.header(), (
        "python -m runtime.agent.protocol > runtime/agent/protocol.h"
    )


@pytest.mark.parametrize("name", sorted(fresh()))
def test_generated_file_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == fresh()[name], "python -m bpftime_cli.manual --write"


def test_every_option_is_in_every_generated_file() -> None:
    texts = {name: text.replace("\\-", "-") for name, text in fresh().items()}
    for command in commands():
        for option in command.options:
            for name, text in texts.items():
                for word in option.names:
                    spelled = word.lstrip("-") if name.endswith(".fish") else word
                    assert spelled in text, f"{name} lacks {command.name} {word}"


def test_readme_has_the_exit_statuses() -> None:
    text = (ROOT / "README.md").read_text()
    for number, meaning in EXIT_STATUS:
        assert f"| {number} | {meaning} |" in text
