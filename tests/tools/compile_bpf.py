"""eBPF objects from C: compiled on demand with clang, kept for the process."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

TARGETS = Path(__file__).parents[1] / "targets" / "bpf"
FLAGS = ["-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-g", "-O2", "-Wall", "-Wno-unused-variable"]
MULTIARCH = [f"-I{path}" for path in Path("/usr/include").glob("*-linux-gnu")]


def sources() -> list[Path]:
    return sorted(TARGETS.glob("*.bpf.c"))


def has_clang() -> bool:
    return shutil.which("clang") is not None


@cache
def compile_bpf(source: Path, *more: str) -> bytes | None:
    """The object's bytes, None where clang or the headers of libbpf are missing."""
    if not has_clang():
        return None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.o"
        command = ["clang", *FLAGS, *MULTIARCH, *more, "-c", str(source), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            if "file not found" in done.stderr:
                return None
            raise AssertionError(done.stderr)
        return out.read_bytes()
