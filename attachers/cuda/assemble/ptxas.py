"""`ptxas` as a process: text in a file, cubin out, its complaints by line."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attachers.cuda.assemble.cubin import usage_of
from attachers.cuda.assemble.result import Assembled, AssemblerProblem, Tool

LIMIT_S = 120
_COMPLAINT = re.compile(r"line (\d+); *(?:error|fatal) *: *(.*)")
_FATAL = re.compile(r"ptxas (?:fatal|error) *: *(.*)")
_KERNEL = re.compile(r"(?:Compiling entry function|Function properties for) '?([\w$.]+)'?")
_SPILL = re.compile(r"(\d+) bytes spill stores")


def assemble(text: bytes, target: str, options: Sequence[str], tool: Tool) -> Assembled:
    """Assemble PTX for an architecture such as `sm_90a`.

    Raises:
        AssemblerProblem: the tool refuses the text, fails or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="bpftime-cuda-") as folder:
        source, result = Path(folder, "woven.ptx"), Path(folder, "woven.cubin")
        source.write_bytes(text)
        command = [tool.path, f"-arch={target}", "-v", *options, str(source), "-o", str(result)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise AssemblerProblem(f"{tool} took more than {LIMIT_S} s") from None
        except OSError as error:
            raise AssemblerProblem(f"{tool} cannot be run: {error.strerror}") from None
        log = done.stdout + done.stderr
        if done.returncode or not result.exists():
            raise complaint(log, tool, done.returncode)
        cubin = result.read_bytes()
    spills = spilled(log)
    usage = {name: replace(used, spilled=spills.get(name, 0)) for name, used in usage_of(cubin).items()}
    return Assembled(cubin, tool, usage, log)


def complaint(log: str, tool: Tool, status: int = 1) -> AssemblerProblem:
    """Give the error for what an assembler printed."""
    found = _COMPLAINT.findall(log)
    if found:
        lines = tuple(dict.fromkeys(int(line) for line, _ in found))
        return AssemblerProblem(f"{tool}: line {found[0][0]}: {found[0][1].strip()}", lines=lines)
    fatal = _FATAL.search(log)
    if fatal:
        return AssemblerProblem(f"{tool}: {fatal[1].strip()}")
    if log.strip() and status >= 0:
        return AssemblerProblem(f"{tool}: {log.strip().splitlines()[0]}")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return AssemblerProblem(f"{tool} ended with {how}")


def spilled(log: str) -> dict[str, int]:
    """Give the bytes that each function spills, from what `-v` prints."""
    found: dict[str, int] = {}
    name = ""
    for line in log.splitlines():
        kernel = _KERNEL.search(line)
        name = kernel[1] if kernel else name
        spill = _SPILL.search(line)
        if spill and name:
            found[name] = int(spill[1])
    return found
