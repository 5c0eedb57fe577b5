"""Types of values that are only printed or compared: the tracer looks their text up when it prints them."""

from __future__ import annotations

from runtime.lang.types import Fixed


class KernelSymbol(Fixed):
    """An address of the kernel, printed as the symbol's name."""

    __slots__ = ()
    word = True
    shape = ("ksym_t", 8, 8)


class CgroupPath(Fixed):
    """`u32 pattern; u32 0; u64 id of the group`, printed as the paths that match the pattern."""

    __slots__ = ()
    shape = ("cgroup_path_t", 16, 8)


class CudaKernel(Fixed):
    """The number that a CUDA kernel has in the session, printed as its name."""

    __slots__ = ()
    word = True
    shape = ("kernel_t", 8, 8)


CUDA_KERNEL = CudaKernel()
KERNEL_SYMBOL = KernelSymbol()
CGROUP_PATH = CgroupPath()
