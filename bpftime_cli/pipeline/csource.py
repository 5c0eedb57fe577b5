"""From a C program to an eBPF object: clang where it is installed, else the ziglang wheel, else one error."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from runtime.errors import ObjectProblem, Problem

FLAGS = ("-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-g", "-O2")
# Freestanding there means without the system's headers: they are named, behind the compiler's own.
ZIG_FLAGS = (
    *("-target", "bpfel-freestanding", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-g", "-O2", "-fno-sanitize=all"),
    *("-idirafter", "/usr/include"),
)
MISSING = "no compiler for eBPF found: neither clang nor the ziglang wheel is installed"
LINES = 12  # of the compiler's words that are shown


def compiler() -> list[str]:
    """Return the words that compile C to eBPF.

    Raises:
        Problem: there is neither clang nor the ziglang wheel.
    """
    clang = os.environ.get("BPF_CLANG") or shutil.which("clang")
    if clang:
        return [clang, *FLAGS]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", *ZIG_FLAGS]
    raise Problem(
        MISSING, hint="apt install clang, or pip install ziglang; or give the compiled object (.bpf.o)"
    )


def compile_source(path: Path) -> bytes:
    """Compile one file and return the object.

    Raises:
        Problem: there is no compiler.
        ObjectProblem: the compiler refused the file; the first of its lines say why.
    """
    includes = [f"-I{folder}" for folder in sorted(Path("/usr/include").glob("*-linux-gnu"))]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "object.o"
        command = [*compiler(), *includes, f"-I{path.parent}", "-c", str(path), "-o", str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise Problem(
                f"cannot run {command[0]}: {error.strerror}", hint="set BPF_CLANG or install clang"
            ) from None
        if done.returncode or not out.is_file():
            raise ObjectProblem(_words(done.stderr), file=str(path), hint=_hint(done.stderr))
        return out.read_bytes()


def _words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    return "the compiler refused it:\n" + "\n".join(lines[first : first + LINES])


def _hint(text: str) -> str:
    if "bpf/" in text and "not found" in text:
        return "install the headers: apt install libbpf-dev linux-libc-dev"
    if "vmlinux.h" in text:
        return "make it: bpftool btf dump file /sys/kernel/btf/vmlinux format c > vmlinux.h"
    return ""
