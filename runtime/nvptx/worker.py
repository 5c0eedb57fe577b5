"""Compile modules in a process of its own: LLVM ends it at some mistakes, and the tracer must live on.

As a program it reads JSON from its input, a list of [text, cpu, features], and writes a list of assemblies.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import Bug
from runtime.jit import cache, llvm

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 60
Job = tuple[str, str, str]


def assemblies(jobs: Sequence[Job]) -> list[str]:
    """Compile several modules; what was compiled before comes from the cache.

    Raises:
        Bug: LLVM does not accept one of them, or ended.
    """
    keys = [hashlib.sha256("\0".join((*job, llvm.version())).encode()).hexdigest() for job in jobs]
    found: dict[str, str] = {}
    for key in keys:
        kept = cache.read("nvptx", key)
        if kept is not None:
            found[key] = kept[1].decode()
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in found}
    if missing:
        for key, text in zip(missing, _run(list(missing.values())), strict=True):
            cache.write("nvptx", key, {}, text.encode())
            found[key] = text
    return [found[key] for key in keys]


def _run(jobs: list[Job]) -> list[str]:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    # -P: the folder that the tracer runs in may have modules of the same names.
    argv = [sys.executable, "-P", "-m", "runtime.nvptx.worker"]
    try:
        done = subprocess.run(
            argv,
            input=json.dumps(jobs).encode(),
            env=environment,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Bug(f"the compiler for devices did not run: {error}") from error
    if done.returncode:
        raise Bug(
            f"the compiler for devices ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
    answer: list[str] = json.loads(done.stdout)
    return answer


def main() -> None:
    """Serve one request."""
    jobs = json.load(sys.stdin)
    json.dump([llvm.compile_ptx(*job) for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
