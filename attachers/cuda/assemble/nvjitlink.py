"""NVIDIA's linker library in a process of its own: it assembles PTX, and links several images.

As a program it reads JSON from its input, {"options": [...], "images": [[kind, name, base64]]}, and writes
{"cubin": base64} or {"error": text}.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from attachers.cuda.assemble.cubin import usage_of
from attachers.cuda.assemble.ptxas import complaint
from attachers.cuda.assemble.result import Assembled, AssemblerProblem, Tool

LIMIT_S = 120
PTX, CUBIN, FATBIN = "PTX", "CUBIN", "FATBIN"
# What the library has other words for; all others it hands to its own ptxas.
_RENAMED = {
    **dict.fromkeys(("--generate-line-info", "-generate-line-info", "-lineinfo"), "-lineinfo"),
    **dict.fromkeys(("--device-debug", "-g"), "-g"),
}


def assemble(text: bytes, target: str, options: Sequence[str], tool: Tool) -> Assembled:
    """Assemble PTX for an architecture.

    Raises:
        AssemblerProblem: the library refuses the text, fails or takes too long.
    """
    return link([(PTX, "woven.ptx", text.rstrip(b"\0") + b"\0")], target, options, tool)


def link(
    images: Sequence[tuple[str, str, bytes]], target: str, options: Sequence[str], tool: Tool
) -> Assembled:
    """Link images, each a kind, a name and its bytes, into one cubin.

    Raises:
        AssemblerProblem: the library refuses them, fails or takes too long.
    """
    words = [_RENAMED.get(option, f"-Xptxas={option}") for option in options]
    job = {
        "options": [f"-arch={target}", *words],
        "images": [[kind, name, base64.b64encode(data).decode()] for kind, name, data in images],
    }
    root = str(Path(__file__).parents[3])
    program = f"import sys; sys.path.insert(0, {root!r}); from {__name__} import main; main()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AssemblerProblem(f"{tool} took more than {LIMIT_S} s") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise complaint(done.stderr.decode(errors="replace"), tool, done.returncode) from None
    if "error" in answer:
        raise complaint(answer["error"], tool)
    cubin = base64.b64decode(answer["cubin"])
    return Assembled(cubin, tool, usage_of(cubin), answer.get("log", ""))


def main() -> None:
    """Do one job from the input."""
    job = json.load(sys.stdin)
    from cuda.bindings import nvjitlink  # in this process only: what it does wrong ends no tracer

    try:
        handle = nvjitlink.create(len(job["options"]), job["options"])
    except nvjitlink.nvJitLinkError as error:
        sys.stdout.write(json.dumps({"error": f"{error} for {' '.join(job['options'])}"}))
        return
    try:
        for kind, name, data in job["images"]:
            raw = base64.b64decode(data)
            nvjitlink.add_data(handle, getattr(nvjitlink.InputType, kind), raw, len(raw), name)
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        answer = {"cubin": base64.b64encode(bytes(cubin)).decode()}
    except nvjitlink.nvJitLinkError as error:
        size = nvjitlink.get_error_log_size(handle)
        log = bytearray(size)
        if size:
            nvjitlink.get_error_log(handle, log)
        answer = {"error": log.decode(errors="replace").rstrip("\0") or str(error)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
