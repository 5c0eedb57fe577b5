"""A CUDA driver for machines without a GPU, and small programs that use it; both are compiled on demand."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

from tests.tools.target import folder

HERE = Path(__file__).parent
APPS = HERE / "apps"
LIBRARY = "libcuda.so.1"
WARNINGS = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror")
# Small functions of ours have room behind them, as the large ones of a real driver have.
DRIVER = ("-falign-functions=64", "-fPIC", "-shared", "-fvisibility=hidden", f"-Wl,-soname,{LIBRARY}")


def _made(sources: list[Path], headers: list[Path], flags: tuple[str, ...], name: str) -> Path:
    command = ["gcc", *WARNINGS, *flags]
    digest = hashlib.sha256(" ".join(command).encode())
    for path in (*sources, *headers):
        digest.update(path.read_bytes())
    place = folder() / f"cuda-{digest.hexdigest()[:16]}" / name
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        made = place.with_name(f"{name}.{id(place)}")
        words = [*command, *map(str, sources), "-o", str(made), "-ldl", "-lpthread"]
        subprocess.run(words, check=True)
        made.replace(place)
    return place


@cache
def driver() -> Path:
    """The stub driver's library, called as the real one is."""
    sources = sorted((HERE / "stub").glob("*.c"))
    return _made(sources, [HERE / "stub" / "stub.h"], DRIVER, LIBRARY)


@cache
def app(name: str, *flags: str, linked: bool = True) -> Path:
    """A program of `tests/tools/cuda/apps`; `linked`: to the driver, which it finds by its run path."""
    own = driver().parent
    links = (f"-L{own}", f"-Wl,-rpath,{own}", "-Wl,--no-as-needed", f"-l:{LIBRARY}") if linked else ()
    header = APPS / "cuda.h"
    return _made([APPS / f"{name}.c"], [header], (f"-I{APPS}", *flags, *links), name)
