"""Kernel probes as links of a session: waiting, attached, and switched off when somebody removes one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from bpftime_cli.pipeline.kernellinks import KernelLinks
from runtime.errors import Span
from runtime.lang import ScriptProbe
from runtime.shm.handlers import Handlers, LinkState
from runtime.shm.region import Region

PROBE = ScriptProbe("program", "cudaret", ("vecadd",), Span("x", 1, 1, 1, 1), "cudaret:vecadd")


def test_a_link_waits_until_it_has_kernels_and_goes_when_it_is_removed() -> None:
    region = Region.create("kernel-links-test", 1 << 20)
    try:
        handlers, gone = Handlers(region), list[int]()
        process = SimpleNamespace(target=SimpleNamespace(pid=4, start=9))
        kernels: set[str] = set()
        own: Any = SimpleNamespace(
            process=process,
            types=(8, 9),
            links={1: SimpleNamespace(kernels=kernels)},
            detach_by_id=gone.append,
        )
        links = KernelLinks(handlers, {"program": 3})
        links.look([own], [PROBE])
        [link] = handlers.links()
        assert (link.state, link.sites, link.pid, link.program) == (LinkState.PENDING, 0, 4, 3)
        assert handlers.events()[link.event].type == 9
        kernels.add("_Z6vecaddPKfS0_Pfi")
        links.look([own], [PROBE])
        [link] = handlers.links()
        assert (link.state, link.sites) == (LinkState.ARMED, 1)
        handlers.remove(link.id)
        links.look([own], [PROBE])
        assert gone == [1]
    finally:
        region.close()
