"""Which assemblers are here: `ptxas` in PATH and in NVIDIA's wheels, the linker library of a wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attachers.cuda.assemble.result import AssemblerProblem, Tool
from attachers.cuda.extra import EXTRA

_RELEASE = re.compile(r"release (\d+)\.(\d+)")
_WHEEL_BINARIES = ("*/bin/ptxas",)
LIMIT_S = 10
OLDEST = 75  # architecture that CUDA 13 makes code for


@cache
def found() -> tuple[Tool, ...]:
    """Give every assembler of this machine: `ptxas` of PATH, of wheels, then the library."""
    tools = [_ptxas(path) for path in dict.fromkeys(_binaries())]
    return *(tool for tool in tools if tool), *_library()


def _binaries() -> Iterator[str]:
    in_path = shutil.which("ptxas")
    if in_path:
        yield in_path
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for pattern in _WHEEL_BINARIES:
            yield from (str(path) for path in sorted(Path(folder).glob(pattern)))


def _ptxas(path: str) -> Tool | None:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    release = _RELEASE.search(done.stdout)
    return Tool("ptxas", (int(release[1]), int(release[2])), path) if release else None


def _library() -> Iterator[Tool]:
    """The version is that of the wheel: to ask the library itself would load it here."""
    from importlib.metadata import PackageNotFoundError, version

    for package in ("nvidia-nvjitlink", "nvidia-nvjitlink-cu12", "nvidia-nvjitlink-cu13"):
        try:
            major, minor, *_ = version(package).split(".")
            if importlib.util.find_spec("cuda.bindings"):
                yield Tool("nvjitlink", (int(major), int(minor)))
                return
        except (PackageNotFoundError, ModuleNotFoundError, ValueError):
            continue


def chosen(wanted: str, isa: tuple[int, int], driver: int = 0, arch: int = 90) -> Tool | None:
    """Choose the assembler for a text; None where the driver must assemble it itself.

    Args:
        wanted: `auto`, `ptxas`, `nvjitlink` or `driver`.
        isa: the text's PTX version.
        driver: the driver's version as 13000, 0 unknown: it loads no cubin of a newer major version's tools.
        arch: the device's; tools from 13 on know none below 75.

    Raises:
        AssemblerProblem: the wanted one is not here, cannot read this version, or is too new for the driver.
    """
    if wanted == "driver":
        return None
    here = [tool for tool in found() if wanted in ("auto", tool.name)]
    if not here and wanted == "auto":
        return None
    if not here:
        raise AssemblerProblem(f"no {wanted} on this machine", hint=EXTRA)
    loadable = [tool for tool in here if not driver or tool.version[0] <= driver // 1000]
    fitting = [tool for tool in loadable if tool.isa >= isa and (arch >= OLDEST or tool.version < (13, 0))]
    if fitting:
        return fitting[0]
    if wanted == "auto":
        return None
    if not loadable:
        raise AssemblerProblem(f"the driver, of CUDA {driver // 1000}, loads no code made by {here[0]}")
    newest = max(loadable, key=lambda tool: tool.isa)
    raise AssemblerProblem(
        f"PTX {isa[0]}.{isa[1]} is newer than what {newest} reads ({newest.isa[0]}.{newest.isa[1]})",
        hint="pip install -U nvidia-cuda-nvcc nvidia-nvjitlink",
    )
