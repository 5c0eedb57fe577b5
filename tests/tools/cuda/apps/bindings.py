"""A program of cuda-python: it loads PTX and launches its kernel once. Arguments: the file."""

import ctypes
import sys
from pathlib import Path

from cuda.bindings import driver


def must(result):
    status, *values = result
    assert int(status) == 0, status
    return values[0] if values else None


must(driver.cuInit(0))
context = must(driver.cuDevicePrimaryCtxRetain(must(driver.cuDeviceGet(0))))
must(driver.cuCtxSetCurrent(context))
module = must(driver.cuModuleLoadData(Path(sys.argv[1]).read_bytes() + b"\0"))
kernel = must(driver.cuModuleGetFunction(module, b"vecadd"))
pointers = [int(must(driver.cuMemAlloc(400))) for _ in range(3)]
types = (*[ctypes.c_void_p] * 3, ctypes.c_int)
must(driver.cuLaunchKernel(kernel, 4, 1, 1, 32, 1, 1, 0, 0, ((*pointers, 100), types), 0))
print("done")
