"""What programs of CUDA run on: this machine's device, or the stub driver where `BPFTIME_CUDA=stub` asks for that."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.cuda import driver
from tests.tools.cuda.server import Server
from tests.tools.tracing import environment

NONE = "no CUDA device"
# cuda.h: 16 multiprocessors, 75 and 76 the compute capability. In a process of its own: a driver may end it.
LOOK = """
import ctypes
cuda, name = ctypes.CDLL("libcuda.so.1"), ctypes.create_string_buffer(100)
assert not cuda.cuInit(0) and not cuda.cuDeviceGetName(name, 100, 0)
values, version = [ctypes.c_int() for _ in range(3)], ctypes.c_int()
for value, attribute in zip(values, (16, 75, 76)):
    assert not cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
cuda.cuDriverGetVersion(ctypes.byref(version))
print(version.value, *(value.value for value in values), name.value.decode())
"""
LIMIT = 60


@dataclass(frozen=True)
class Machine:
    """The first device and the version of its driver; `environment`: of programs, where they find that."""

    name: str
    processors: int
    arch: int
    driver: int
    environment: dict[str, str] = field(default_factory=environment)
    stub: Server | None = None

    @property
    def assembler(self) -> str:
        """What `--cuda-assembler` must say: the stub runs text only."""
        return "driver" if self.stub else "auto"


def look(variables: dict[str, str], stub: Server | None = None) -> Machine | None:
    """Give the first device that programs with these variables see."""
    words = [sys.executable, "-c", LOOK]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        return None
    *numbers, name = done.stdout.strip().split(maxsplit=4)
    version, processors, major, minor = map(int, numbers)
    return Machine(name, processors, 10 * major + minor, version, variables, stub)


@contextmanager
def stubbed() -> Iterator[Machine]:
    """Have the stub driver, whose kernels are interpreted."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        own = {**server.environment, "LD_LIBRARY_PATH": str(driver().parent)}
        found = look(environment(**own), server)
        assert found
        yield found


@contextmanager
def machine() -> Iterator[Machine | None]:
    """Have what the environment asks for, None where there is no device."""
    if os.environ.get("BPFTIME_CUDA") == "stub":
        with stubbed() as found:
            yield found
    else:
        yield look(environment())
