"""What `doctor` says of CUDA: driver, devices, assemblers. The driver is asked by a child process.

To start it may take half a second, or hang, or end the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bpftime_cli.pipeline.finding import Finding

LIMIT = 10.0  # seconds
MODULE = Path("/proc/driver/nvidia/version")
# Run by the child: no import of ours. CUresult 100 is NO_DEVICE; attributes 75 and 76 the compute capability.
ASK = """
import ctypes, json
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    print(json.dumps({"error": "none", "text": str(error)}))
    raise SystemExit
number = ctypes.c_int()
cuda.cuDriverGetVersion(ctypes.byref(number))
found = {"version": number.value, "devices": []}
found["status"] = cuda.cuInit(0)
cuda.cuDeviceGetCount(ctypes.byref(number)) if not found["status"] else None
for device in range(number.value if not found["status"] else 0):
    name, major, minor = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetName(name, 256, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    found["devices"].append([name.value.decode(errors="replace"), major.value * 10 + minor.value])
print(json.dumps(found))
"""
STATUS = {
    3: "it is not initialised",
    34: "it is a stub library",
    100: "there is no device",
    803: "the kernel module differs",
}
OLDEST = 75  # architecture that the assemblers of CUDA 13 know


def findings_of_cuda() -> Iterator[Finding]:
    """Give what is found out about the driver, the devices and the assemblers."""
    yield from _driver()
    yield _assemblers()


def _driver() -> Iterator[Finding]:
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        cure = "nvidia-smi tells whether it works at all; cuda: probes are off until it does"
        yield Finding("warn", "CUDA driver", f"did not start within {LIMIT:.0f} s", cure)
        return
    try:
        found = json.loads(done.stdout)
    except ValueError:
        yield Finding(
            "warn", "CUDA driver", f"ended the process that asked it ({done.returncode})", "nvidia-smi"
        )
        return
    if "error" in found:
        yield Finding("ok", "CUDA driver", "none (optional)")
        return
    version = f"{found['version'] // 1000}.{found['version'] % 1000 // 10}"
    module = f", {MODULE.read_text().splitlines()[0]}" if MODULE.exists() else ""
    if found["status"]:
        reason = STATUS.get(found["status"], f"CUDA error {found['status']}")
        yield Finding(
            "warn", "CUDA driver", f"for CUDA {version}, but {reason}{module}", "nvidia-smi tells more"
        )
        return
    yield Finding("ok", "CUDA driver", f"for CUDA {version}{module}")
    for number, (name, arch) in enumerate(found["devices"]):
        yield _device(number, name, arch)


def _device(number: int, name: str, arch: int) -> Finding:
    if arch >= OLDEST:
        return Finding("ok", "CUDA device", f"{number}: {name}, sm_{arch}")
    text = f"{number}: {name}, sm_{arch}: woven kernels are assembled by its driver"
    return Finding("warn", "CUDA device", text, "nothing: it takes longer to load a kernel")


def _assemblers() -> Finding:
    from attachers.cuda.assemble.tools import found  # lazy: it looks for libraries

    names = ", ".join(f"{tool} (PTX {tool.isa[0]}.{tool.isa[1]})" for tool in found())
    return Finding("ok", "CUDA assembler", names or "none: drivers assemble woven kernels (optional)")
