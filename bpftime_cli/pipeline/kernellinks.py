"""Kernel probes as links of a session, for `list`: waiting until a module with such a kernel is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attachers.cuda.attacher import CudaAttacher
from attachers.cuda.data import KERNEL, KERNEL_RETURN
from runtime.lang import ScriptProbe
from runtime.shm.handlers import Handlers, LinkState

TYPES = (KERNEL, KERNEL_RETURN)


@dataclass
class KernelLinks:
    """The kernel probes of one object in all its processes. `programs`: their numbers in the session."""

    handlers: Handlers
    programs: Mapping[str, int]
    _entered: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)

    def look(self, attachers: Iterable[CudaAttacher], probes: Sequence[ScriptProbe]) -> None:
        """Enter what was attached since, and say of each link whether it has kernels.

        A link that somebody has removed (`bpftime detach`) is switched off.
        """
        for own in attachers:
            target = own.process.target
            key = (target.pid, target.start)
            if key not in self._entered:
                self._entered[key] = {
                    link: self._enter(probe, own.types, key)
                    for link, probe in zip(own.links, probes, strict=False)
                }
            listed = {one.id for one in self.handlers.links()}
            for link, number in self._entered[key].items():
                if link not in own.links:
                    continue
                if number not in listed:
                    own.detach_by_id(link)
                    continue
                kernels = own.links[link].kernels
                state = LinkState.ARMED if kernels else LinkState.PENDING
                self.handlers.set_link(number, state, sites=len(kernels))

    def _enter(self, probe: ScriptProbe, types: tuple[int, ...], process: tuple[int, int]) -> int:
        pid, start = process
        event = self.handlers.add_event(types[probe.provider == "cudaret"], pid, probe.text)
        return self.handlers.add_link(self.programs[probe.program], event, pid, start)
