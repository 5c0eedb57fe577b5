"""Programs inside kernels, from eBPF to what their maps hold: the driver is a stub, kernels are interpreted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attachers.cuda.attacher import CudaAttacher
from attachers.cuda.data import KERNEL, KERNEL_RETURN, KernelData
from runtime.maps.spec import MapSpec
from runtime.nvptx.maps import fold
from runtime.types import ContextKind
from tests.tools.bodies import compiled
from tests.tools.cuda import APPS, app
from tests.tools.cuda.hooked import to_the_end, traced
from tests.tools.cuda.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from attachers.cuda.driver import CudaProcess
    from attachers.target import Target
    from runtime.shm.session import Session

PTX = APPS / "vecadd.ptx"
COUNT = """
    *(u32 *)(r10 - 4) = {index}
    r1 = map[counts] ll
    r2 = r10
    r2 += -4
    call map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock add u64 (r0 + 0) r1
out:
    r0 = 0
    exit
"""
COUNTS = MapSpec("counts", 2, 4, 8, 4, added_only=True)


@pytest.mark.parametrize("flag", ["-DMODULE", "-DLIBRARY"])
def test_every_thread_is_counted_at_entry_return_and_store(tmp_path: Path, flag: str) -> None:
    log = tmp_path / "log"
    log.mkdir()
    entry, leave, store = (compiled(COUNT.format(index=i), [COUNTS], kind) for i, kind in enumerate(KINDS))
    attachers: list[CudaAttacher] = []

    def make(target: Target, session: Session) -> CudaProcess:
        own = CudaAttacher(target, session, [COUNTS], how=("driver", ""))
        own.create_attach(entry, KernelData(("vecadd",)), KERNEL)
        own.create_attach(leave, KernelData(("vec*",)), KERNEL_RETURN)
        own.create_attach(store, KernelData(("*",), ("st",)), KERNEL)
        attachers.append(own)
        return own.process

    with Server(tmp_path) as server:
        environment = {**server.environment, "BPFTIME_STUB_LOG": str(log), "LAUNCHES": "3"}
        with traced([str(app("vecadd", flag)), str(PTX)], make, **environment) as (processes, _):
            to_the_end(processes)
    assert not server.faults
    assert processes.child_status == 0
    [own] = attachers
    rows = dict(fold(own.placed[0], own.copies(0)))
    values = [int.from_bytes(rows[i.to_bytes(4, "little")], "little") for i in range(4)]
    assert values == [3 * 128, 3 * 128, 3 * 100, 0]
    assert not own.waiting()


KINDS = (ContextKind.CUDA, ContextKind.CUDA_RETURN, ContextKind.CUDA_MEMORY)
