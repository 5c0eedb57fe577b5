"""A program run with its driver hooked and its images swapped by a function of the test: no script, no weaving."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attachers.cuda.driver import CudaProcess
from attachers.cuda.plan import Plan
from attachers.cuda.types import Device, Image, Offer, Swapped, Weaver
from attachers.target import Target
from bpftime_cli.console import Console
from bpftime_cli.pipeline.config import Config
from bpftime_cli.pipeline.processes import Processes, Traced
from runtime.maps.spec import MapSpec
from runtime.nvptx.maps import Facts, place
from runtime.shm.session import Session
from tests.tools.cuda import driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.shm.desk import Knock

SPARE = 8 << 20
MAPS = Plan(place([MapSpec("counts", 2, 4, 8, 100)], 4, 128), Facts(4, 128))


@dataclass
class Hooked:
    """What was seen: images with what became of them, status, last copies of device memory, loads by the driver."""

    log: Path
    images: list[Image] = field(default_factory=list)
    offered: list[bytes] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    copies: list[bytes] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    status: int | None = None

    def loads(self) -> list[bytes]:
        """The images that the driver has got, in order."""
        files = sorted(self.log.glob("load-*.bin"), key=lambda p: int(p.name.split("-")[1]))
        return [file.read_bytes() for file in files]


def run(command: list[str], log: Path, swap: Callable[[bytes], Swapped], plan: Plan = MAPS) -> Hooked:
    """Run a command to its end with its driver hooked."""
    seen = Hooked(log)

    def noted(offer: Offer, device: Device) -> Swapped:
        seen.offered.append(offer.image)
        seen.devices.append(device)
        return swap(offer.image)

    def make(target: Target, session: Session) -> CudaProcess:
        return CudaProcess(target, session, Weaver(noted, lambda _: plan, seen.images.append))

    with traced(command, make, BPFTIME_STUB_LOG=str(log)) as (processes, known):
        to_the_end(processes)
    seen.status = processes.child_status
    seen.copies = [copy for process in known.values() for copy in process.copies()]
    for process in known.values():
        seen.refused |= process.refused
    return seen


@contextmanager
def traced(
    command: list[str], make: Callable[[Target, Session], CudaProcess], **environment: str
) -> Iterator[tuple[Processes, dict[int, CudaProcess]]]:
    """Have a command ready to run whose processes' CUDA side `make` makes."""
    with _environment(LD_LIBRARY_PATH=str(driver().parent), **environment):
        session = Session.create("test", (), spare=SPARE)
        processes = Processes(Config(command=tuple(command)), Console(sys.stdout.buffer), session)
        known: dict[int, CudaProcess] = {}

        def arm(traced: Traced) -> int:
            pid = traced.target.pid
            if pid not in known:
                known[pid] = make(traced.target, session)
            return known[pid].arm()

        def serve(traced: Traced, knock: Knock, tid: int) -> None:
            if traced.target.pid not in known:  # a fork child
                arm(traced)
            known[traced.target.pid].serve(knock, tid)

        processes.arm, processes.serve_cuda = arm, serve
        yield processes, known


def to_the_end(processes: Processes) -> None:
    """Run it to its end."""
    processes.open()
    try:
        for traced in processes.traced:
            processes.arm(traced)
        processes.go()
        while processes.poll():
            processes.welcome()
            processes.sleep(0.02)
    finally:
        processes.detach()
        processes.stop_child()
        processes.close()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
