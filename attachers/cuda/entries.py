"""The driver's functions that we hook or call, as one table. Names and arguments as in cuda.h."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.agent.protocol import CUDA_HANDLE


class Act(IntEnum):
    """What is done where a function is entered."""

    IMAGE = 1  # an image is loaded from memory
    FILE = 2  # an image is loaded from a file
    LINK_DATA = 3
    LINK_FILE = 4
    ENTER = 5  # a context becomes the thread's: libraries that are loaded come into it
    UNLOAD = 6
    END = 7  # a context, or the process, is about to end
    START = 8  # the driver starts: all its addresses can be asked for
    NODE = 9  # a graph gets a kernel, which may be one that was loaded before we came


@dataclass(frozen=True, slots=True)
class Entry:
    """A hooked function: `count` arguments, the image (or path) is number `image`, from 0.

    `instead`: what is called with an image where the function itself takes a path. `names`: what it is
    exported as, the base name first.
    """

    name: str
    act: Act
    count: int
    image: int = 1
    instead: str = ""
    endings: tuple[str, ...] = ()
    library: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names under which it may be exported."""
        return (self.name, *(self.name + ending for ending in self.endings))


V2 = ("_v2",)
ENTRIES = (
    Entry("cuModuleLoadData", Act.IMAGE, 2),
    Entry("cuModuleLoadDataEx", Act.IMAGE, 5),
    Entry("cuModuleLoadFatBinary", Act.IMAGE, 2),
    Entry("cuModuleLoad", Act.FILE, 2, instead="cuModuleLoadData"),
    Entry("cuLibraryLoadData", Act.IMAGE, 8, library=True),
    Entry("cuLibraryLoadFromFile", Act.FILE, 8, instead="cuLibraryLoadData", library=True),
    Entry("cuLinkAddData", Act.LINK_DATA, 8, image=2, endings=V2),
    Entry("cuLinkAddFile", Act.LINK_FILE, 6, image=2, instead="cuLinkAddData", endings=V2),
    Entry("cuCtxSetCurrent", Act.ENTER, 1, image=-1),
    Entry("cuCtxPushCurrent", Act.ENTER, 1, image=-1, endings=V2),
    Entry("cuCtxCreate", Act.ENTER, 5, image=-1, endings=("_v2", "_v3", "_v4")),
    Entry("cuModuleUnload", Act.UNLOAD, 1, image=0),
    Entry("cuLibraryUnload", Act.UNLOAD, 1, image=0, library=True),
    Entry("cuCtxDestroy", Act.END, 1, image=0, endings=V2),
    Entry("cuDevicePrimaryCtxReset", Act.END, 1, image=0, endings=V2),
    Entry("cuDevicePrimaryCtxRelease", Act.END, 1, image=0, endings=V2),
    Entry("cuInit", Act.START, 1),
    Entry("cuGraphAddKernelNode", Act.NODE, 5, image=4, endings=V2),
    Entry("cuGraphKernelNodeSetParams", Act.NODE, 2, image=1, endings=V2),
    Entry("cuGraphExecKernelNodeSetParams", Act.NODE, 3, image=2, endings=V2),
)
EXITS = ("exit", "_exit")  # of the libc: the process ends, and its contexts with it
EXIT_NUMBER = 100
# Launches: where the handle is an argument, else behind a CUlaunchConfig.
LAUNCHES = {
    "cuLaunchKernel": 0,
    "cuLaunchCooperativeKernel": 0,
    "cuLaunchKernelEx": CUDA_HANDLE,
}
LAUNCH_ENDINGS = ("", "_ptsz")
# What we call ourselves; the first name that is exported counts.
CALLED = {
    "get_proc": ("cuGetProcAddress_v2",),
    "version": ("cuDriverGetVersion",),
    "devices": ("cuDeviceGetCount",),
    "attribute": ("cuDeviceGetAttribute",),
    "context": ("cuCtxGetCurrent",),
    "context_device": ("cuCtxGetDevice",),
    "push": ("cuCtxPushCurrent_v2",),
    "pop": ("cuCtxPopCurrent_v2",),
    "capture": ("cuThreadExchangeStreamCaptureMode",),
    "stream": ("cuStreamCreate",),
    "wait": ("cuStreamSynchronize",),
    "take": ("cuMemAlloc_v2",),
    "give": ("cuMemFree_v2",),
    "register": ("cuMemHostRegister_v2",),
    "device_address": ("cuMemHostGetDevicePointer_v2",),
    "write": ("cuMemcpyHtoDAsync_v2",),
    "read": ("cuMemcpyDtoHAsync_v2",),
    "module_global": ("cuModuleGetGlobal_v2",),
    "library_global": ("cuLibraryGetGlobal",),
    "function_name": ("cuFuncGetName",),
    "kernel_name": ("cuKernelGetName",),
    "function": ("cuModuleGetFunction",),
    "function_module": ("cuFuncGetModule",),
    "attribute_of": ("cuFuncGetAttribute",),
    "set_attribute": ("cuFuncSetAttribute",),
    "launch": ("cuLaunchKernel",),
    "unload": ("cuModuleUnload",),
    "capturing": ("cuStreamIsCapturing",),
    "event": ("cuEventCreate",),
    "record": ("cuEventRecord",),
    "query": ("cuEventQuery",),
    "elapsed": ("cuEventElapsedTime_v2", "cuEventElapsedTime"),
    "destroy_event": ("cuEventDestroy_v2",),
    "cuModuleLoadData": ("cuModuleLoadData",),
    "cuLibraryLoadData": ("cuLibraryLoadData",),
    "cuLinkAddData": ("cuLinkAddData_v2",),
}
MAJOR, MINOR, PROCESSORS = 75, 76, 16  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…, …_MULTIPROCESSOR_COUNT
VERSIONS = (
    2000,
    4000,
    7000,
    11060,
    12000,
    12030,
    13000,
)  # of cuGetProcAddress: each may name another address
PER_THREAD = 2  # flag of cuGetProcAddress: the form with a stream of its own for each thread
