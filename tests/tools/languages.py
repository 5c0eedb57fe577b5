"""Targets that need more than one compiler's call: Go, Rust, libraries with versions, stripped files."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.tools.target import SOURCES, build

VERSIONS = "V1 { };\nV2 { } V1;\nV3 { } V2;\n"


def run(*argv: str | Path, folder: Path | None = None, **env: str) -> None:
    """Run a tool that must succeed."""
    done = subprocess.run(
        [str(a) for a in argv],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"


def has(tool: str) -> bool:
    """Whether a tool is here."""
    return shutil.which(tool) is not None


def go(folder: Path, *flags: str) -> Path:
    """The program of till.go; `flags` of `go build`."""
    path = folder / "till"
    cache_folder = str(folder.parent / "gocache")
    run("go", "build", *flags, "-o", path, SOURCES / "till.go", GOCACHE=cache_folder, GO111MODULE="off")
    return path


def rust(folder: Path, mangling: str) -> Path:
    """The program of till.rs with names mangled as `v0` or `legacy`."""
    path = folder / "till"
    options = ["-Z", "unstable-options"] if mangling == "legacy" else []
    flag = f"symbol-mangling-version={mangling}"
    run("rustc", "-O", *options, "-C", flag, SOURCES / "till.rs", "-o", path, RUSTC_BOOTSTRAP="1")
    return path


def picker(folder: Path) -> Path:
    """The program of picker.c beside its library `libversions.so`."""
    script = folder / "versions.map"
    script.write_text(VERSIONS)
    library = folder / "libversions.so"
    run(
        "gcc",
        "-O2",
        "-fPIC",
        "-shared",
        SOURCES / "versions.c",
        f"-Wl,--version-script={script}",
        "-o",
        library,
    )
    path = folder / "picker"
    sources = (SOURCES / "picker.c", SOURCES / "twin.c")
    run("gcc", "-O2", *sources, "-o", path, f"-L{folder}", "-lversions", "-Wl,-rpath,$ORIGIN")
    return path


@cache
def whole(*flags: str) -> Path:
    """plain.c with a build-id, not stripped."""
    return build("plain", "-Wl,--build-id=sha1", *flags)


def marked(folder: Path, kind: str) -> Path:
    """The program of marked.c, linked as `static`, `static-pie`, `no-pie`, or for musl, also statically."""
    path = folder / "marked"
    headers = ("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu")
    compiler: tuple[str, ...] = ("musl-gcc", *headers) if "musl" in kind else ("gcc",)
    flag = {"musl": (), "musl-static": ("-static",)}.get(kind, (f"-{kind}",))
    run(*compiler, "-O2", *flag, SOURCES / "marked.c", "-o", path)
    return path


def stripped(folder: Path, *flags: str) -> tuple[Path, Path]:
    """A stripped `plain` and the file with its symbols, which lies apart and is not linked to it."""
    path, symbols = folder / "plain", folder / "apart" / "plain.debug"
    symbols.parent.mkdir()
    run("objcopy", "--only-keep-debug", whole(*flags), symbols)
    run("strip", "-s", whole(*flags), "-o", path)
    return path, symbols
