"""Small programs of `tests/targets`, compiled on demand and kept by their content between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "targets"
COMMON = ("-O2", "-g", "-Wall", "-Wextra", "-pthread")
COMPILERS = {".c": "gcc", ".S": "gcc", ".cpp": "g++"}


def has_compiler(name: str) -> bool:
    """Whether the compiler that a target needs is here."""
    return shutil.which(COMPILERS[_source(name).suffix]) is not None


def _source(name: str) -> Path:
    return next(p for suffix in COMPILERS if (p := SOURCES / f"{name}{suffix}").exists())


def folder() -> Path:
    path = Path(tempfile.gettempdir()) / f"bpftime-targets-{os.getuid()}"
    path.mkdir(mode=0o755, exist_ok=True)
    return path


@cache
def build(name: str, *flags: str, as_name: str = "", compiler: str = "") -> Path:
    """The program built from `tests/targets/NAME`; `as_name` is its file name, else NAME."""
    source = _source(name)
    command = [compiler or COMPILERS[source.suffix], *COMMON, *flags]
    mark = hashlib.sha256(" ".join(command).encode() + b"\0" + source.read_bytes()).hexdigest()[:16]
    place = folder() / mark / (as_name or name)
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        made = place.with_name(f"{place.name}.{os.getpid()}")
        subprocess.run([*command, str(source), "-o", str(made), "-ldl", "-lm"], check=True)
        made.replace(place)  # atomic: several test workers may build at once
    return place
