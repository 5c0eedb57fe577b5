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
OF_RUNTIME = ("registered",)
RUNTIME = ("-falign-functions=64", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-soname,libcudart.so.13")
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
def runtime() -> Path:
    """The double of the runtime's library."""
    return _made([HERE / "runtime" / "cudart.c"], [], RUNTIME, "libcudart.so.13")


@cache
def whole_app(name: str, *flags: str) -> Path:
    """A program with the runtime inside, as nvcc links it: its symbols are there, and nothing exports them."""
    links = (f'-DFATBIN="{APPS / "vecadd.fatbin"}"', "-fvisibility=hidden", "-falign-functions=64", *flags)
    return _made([APPS / f"{name}.c", HERE / "runtime" / "cudart.c"], [], links, f"{name}-whole")


@cache
def app(name: str, *flags: str, bound: bool = True) -> Path:
    """A program of `tests/tools/cuda/apps`, linked to the driver, or to the runtime which opens that later.

    Unless it is `bound` to the stub driver it takes the machine's, or that of `LD_LIBRARY_PATH`.
    """
    library = runtime() if name in OF_RUNTIME else driver()
    own = library.parent
    links: tuple[str, ...] = (f"-L{own}", "-Wl,--no-as-needed", f"-l:{library.name}")
    links += (f"-Wl,-rpath,{own}",) if bound else ()
    links += (f'-DFATBIN="{APPS / "vecadd.fatbin"}"',)
    header = APPS / "cuda.h"
    return _made([APPS / f"{name}.c"], [header], (f"-I{APPS}", *flags, *links), name)
