"""The kernel probes of a script: attached in one process after another, their maps brought here."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from attachers.cuda.attacher import CudaAttacher, CudaLink, Listener
from attachers.cuda.data import KERNEL, KERNEL_RETURN, OPS, SPACES, KernelData
from attachers.cuda.launches import LaunchProbe
from attachers.cuda.names import any_matches, short_name
from attachers.cuda.names import near as near_names
from attachers.cuda.plan import CONTEXTS, MOST_RING, small
from attachers.cuda.types import Image, Swapped
from bpftime_cli.console import Console
from bpftime_cli.pipeline.cudacheck import STATUS
from bpftime_cli.pipeline.kernelobjects import ObjectKernels
from bpftime_cli.pipeline.kernels import SERVED
from bpftime_cli.pipeline.processes import Traced
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import AttachProblem, Problem
from runtime.lang import Script, ScriptProbe
from runtime.maps.spec import MapSpec
from runtime.nvptx.body import Body
from runtime.nvptx.compile import Device, bodies, shared_maps
from runtime.nvptx.maps import Mirror, Where, dropped, fold
from runtime.shm.desk import Knock
from runtime.shm.session import Session

PROVIDERS = {"cuda": KERNEL, "cudaret": KERNEL_RETURN, "cudamem": KERNEL}
LAUNCH, DONE, LOAD = "cudalaunch", "cudadone", "cudaload"
ON_HOST = (LAUNCH, DONE)  # at launches, in the traced process or when the device is done
ROOM = CONTEXTS * (MOST_RING + (1 << 20))  # bytes of the session's region for what contexts share with us
INJECTION = "CUDA_INJECTION64_PATH"
LISTED = 5  # kernels that are named in a message


@dataclass
class KernelProbes:
    """The kernel probes of one trace, in all its processes. `how`: as `CudaAttacher` takes it.

    `run`: runs a program here, with its context.
    """

    console: Console
    names: Names
    script: Script | ObjectKernels
    programs: Programs | ObjectKernels
    session: Session
    how: tuple[str, str] = ("auto", "")
    run: Callable[[ScriptProbe, bytes], object] = lambda _probe, _context: None
    _numbers: dict[str, int] = field(default_factory=dict)
    _attachers: dict[tuple[int, int], CudaAttacher] = field(default_factory=dict)
    _bodies: dict[str, Body] = field(default_factory=dict)
    _mirrors: dict[str, Mirror] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _unwoven: Counter[str] = field(default_factory=Counter)

    # --- attaching ---

    @property
    def probes(self) -> list[ScriptProbe]:
        """Return the script's kernel probes."""
        return [p for p in self.script.probes if p.provider in PROVIDERS]

    @property
    def launches(self) -> list[ScriptProbe]:
        """Return the script's probes of launches and of their ends, which run on the host."""
        return [p for p in self.script.probes if p.provider in ON_HOST]

    @property
    def loads(self) -> list[ScriptProbe]:
        """Return the script's probes of loads, which run here."""
        return [p for p in self.script.probes if p.provider == LOAD]

    @property
    def count(self) -> int:
        """Return how many probes of the script have to do with kernels."""
        return sum(p.provider in SERVED for p in self.script.probes)

    def __bool__(self) -> bool:
        return self.count > 0

    def maps(self) -> list[MapSpec]:
        """Return the maps that programs of devices use, in the order of their index."""
        return [small(spec) for spec in self.programs.device_maps.values()]

    @property
    def shared(self) -> frozenset[str]:
        """Return the names of the maps that programs of the host use as well."""
        return shared_maps(self.programs.object.programs, self.programs.maps)

    def arm(self, traced: Traced) -> int:
        """Attach all in a process, to kernels that it loads from now on; returns how many.

        Raises:
            Problem: a program cannot run on a device, or the process cannot be patched.
        """
        if not self:
            return 0
        attacher = self._attacher(traced)
        attacher.process.arm()
        if attacher.process.functions and has_profiler(traced.target.pid):
            self._tell(f"{INJECTION} is set: a profiler changes the CUDA driver as well")
        for name, reason in attacher.process.refused.items():
            self._tell(f"{name} of the CUDA driver cannot be hooked: {reason}")
        return self.count

    def _attacher(self, traced: Traced) -> CudaAttacher:
        key = (traced.target.pid, traced.stack)
        if key not in self._attachers:
            self._attachers[key] = self._attach(traced)
        return self._attachers[key]

    def _attach(self, traced: Traced) -> CudaAttacher:
        maps = self.maps()
        listener = Listener(self._number, self._note, self._note_refused, self._note_ahead)
        own = CudaAttacher(
            traced.target, self.session, maps, listener=listener, how=self.how, shared=self.shared
        )
        own.process.launches.number_of = self._number
        kind = traced.target.build_kind
        own.process.launches.probes = [
            LaunchProbe(self.programs.image(p.program, kind) if p.provider == LAUNCH else None, p.parts)
            for p in self.launches
        ]
        self._compile(maps)
        for probe in self.probes:
            try:
                own.create_attach(
                    self._bodies[probe.program],
                    data_of(probe.provider, probe.parts),
                    PROVIDERS[probe.provider],
                )
            except AttachProblem as problem:
                raise AttachProblem(
                    str(problem), errno=problem.errno, hint=problem.hint, span=probe.span
                ) from None
        return own

    def _number(self, kernel: str) -> int:
        """Return a kernel's number in the session; its name is known by it from now on."""
        if kernel not in self._numbers:
            self._numbers[kernel] = len(self._numbers) + 1
            self.names.kernels[self._numbers[kernel]] = short_name(kernel)
        return self._numbers[kernel]

    def _compile(self, maps: list[MapSpec]) -> None:
        if self._bodies:
            return
        names = list(dict.fromkeys(p.program for p in self.probes))
        verified = [self.programs.verified(name) for name in names]
        table = {spec.name: spec for spec in maps}
        found = bodies(verified, table, list(table), Device(pinned=self.shared))
        self._bodies = dict(zip(names, found, strict=True))
        for body in found:
            if body.local:
                self._tell(f"a kernel probe keeps {body.local} bytes of local memory in each thread")

    def serve(self, traced: Traced, knock: Knock, tid: int) -> None:
        """Tell a thread at a function of the driver what to do.

        Raises:
            Problem: the process cannot be reached.
        """
        if self:
            self._attacher(traced).process.serve(knock, tid)

    @property
    def attachers(self) -> list[CudaAttacher]:
        """Return what is attached, one for each process."""
        return list(self._attachers.values())

    # --- what is told ---

    def _note(self, image: Image) -> None:
        """Run the probes of loads; tell once of each reason why kernels run without their probes."""
        swapped = image.swapped
        for probe in self.loads:
            if any_matches(probe.parts, "*") or any(any_matches(probe.parts, name) for name in swapped.seen):
                is_woven = swapped.image is not None and not image.result
                self.run(probe, struct.pack("<3Q", image.arch, image.bytes, is_woven))
        for note in swapped.notes:
            self._tell(note)
        if swapped.kernels and not image.result:
            for line in swapped.details:
                self.console.note(f"cuda: {line}", 1)
        elif image.result and swapped.image is not None:
            self._tell(f"the driver refused a woven image (CUDA error {image.result}): the original is used")
        elif swapped.reason:
            self._unwoven[swapped.reason] += 1
            self._tell(f"kernels of an image run without probes: {swapped.reason}")

    def _note_refused(self, kernel: str, reason: str) -> None:
        """Tell of a kernel that was loaded before and runs without its probes."""
        self._tell(f"{short_name(kernel)} was loaded before and runs without probes: {reason}")

    def _note_ahead(self, swapped: Swapped) -> None:
        names = _some([short_name(kernel) for kernel in swapped.kernels])
        self.console.note(f"cuda: woven before its first launch: {names or swapped.reason}", 1)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.console.warn([Problem(text)])

    def report(self) -> None:
        """Tell of probes that no kernel had, and of what was lost."""
        for problem in self._missing():
            self.console.warn([problem])
        missed = sum(own.process.missed for own in self._attachers.values())
        if missed:
            text = f"{missed} calls of the CUDA driver did not wait for us: kernels may run without probes"
            self.console.warn([Problem(text)])
        lost = sum(own.lost() for own in self._attachers.values())
        if lost:
            self.console.warn([f"Total lost event count of kernels: {lost}"])
        for name, mirror in self._mirrors.items():
            count = dropped(self._copies(mirror.placed.index))
            if count:
                self.console.warn([Problem(f"{count} updates of {name} in kernels found no room")])

    def _missing(self) -> list[Problem]:
        """Return a problem for each probe that no kernel of any process had."""
        found: list[Problem] = []
        all_seen = {name for own in self._attachers.values() for name in own.seen}
        for index, probe in enumerate(self.probes, 1):
            links = [own.links[index] for own in self._attachers.values() if index in own.links]
            if any(link.kernels for link in links):
                continue
            found.append(self._unmatched(probe, links, all_seen))
        launched = {name for own in self._attachers.values() for name in own.process.launches.seen}
        return found + [
            self._unmatched(probe, [], launched)
            for probe in self.launches
            if not any(any_matches(probe.parts, name) for name in launched)
        ]

    def _why_none(self) -> str:
        """Say why no kernel was seen at all."""
        processes = [own.process for own in self._attachers.values()]
        if not any(process.functions for process in processes):
            return "the program has not loaded the CUDA driver, libcuda.so.1"
        results = [process.start_result for process in processes if process.start_result]
        if results:
            reason = STATUS.get(results[0], f"CUDA error {results[0]}")
            return f"the CUDA driver did not start: {reason}; bpftime doctor tells more"
        return "the program has loaded no kernels that can be probed"

    def _unmatched(self, probe: ScriptProbe, links: list[CudaLink], seen: set[str]) -> Problem:
        near = [name for own in self._attachers.values() for link in links[:1] for name in own.near(link)]
        pattern = probe.parts[-1] if probe.provider != "cudamem" else probe.parts[0]
        near = near or near_names(pattern, seen)
        if any(any_matches((pattern,), name) for name in seen):
            hint = next(iter(self._unwoven), "-v tells more")
            return AttachProblem(f"'{pattern}' ran without probes", errno=95, hint=hint, span=probe.span)
        registered = {name for own in self._attachers.values() for name in own.process.registration.kernels}
        if any(any_matches((pattern,), name) for name in registered):
            hint = "the program has it, and loads it when it is launched for the first time"
            return AttachProblem(f"'{pattern}' was not launched", errno=2, hint=hint, span=probe.span)
        near, seen = near or near_names(pattern, registered), seen | registered
        if near:
            hint = f"did you mean {_some(near)}?"
        elif seen:
            hint = f"{len(seen)} kernels were seen: {_some(sorted(seen))}"
        else:
            hint = self._why_none()
        return AttachProblem(f"no kernel matches '{pattern}'", errno=2, hint=hint, span=probe.span)

    def weave_ahead(self) -> None:
        """Weave an image that a process has registered and will load, one each time; nobody waits for it."""
        for own in self._attachers.values():
            own.process.weave_ahead()

    # --- what devices have written ---

    def payloads(self) -> list[bytes]:
        """Take the records that kernels have written since; launches that have ended run their programs."""
        for own in self._attachers.values():
            for number, context in own.process.ended():
                self.run(self.launches[number], context)
        return [payload for _, payload in self.records()]

    def records(self) -> list[tuple[str, bytes]]:
        """Take the records that kernels have written since, each with the name of its ring."""
        return [record for own in self._attachers.values() for record in own.records()]

    def collect(self, *, read: bool = True) -> None:
        """Bring what devices have counted into the session's maps; `read`: ask the devices first."""
        if not self._attachers:
            return
        for own in self._attachers.values() if read else ():
            own.process.read()
        placed = next((own.placed for own in self._attachers.values() if own.placed), ())
        for one in placed:
            if one.ring >= 0 or one.where is Where.SESSION:
                continue
            mirror = self._mirrors.setdefault(one.name, Mirror(one))
            view = self.session.view(one.name)
            rows = fold(one, self._copies(one.index), raised=self._is_raised(one.name))
            size = view.spec.value_size  # of objects: for as many multiprocessors as there may be
            try:
                mirror.store(view, [(key, value.ljust(size, b"\0")) for key, value in rows])
            except Problem as problem:
                self._tell(str(problem))

    def _is_raised(self, name: str) -> bool:
        """Return whether a map holds lowest or highest values, as which both are kept."""
        decoder = self.script.maps.get(name) if isinstance(self.script, Script) else None
        return decoder is not None and getattr(decoder.shape.value, "name", "") in ("min", "max")

    def _copies(self, index: int) -> list[bytes]:
        return [copy for own in self._attachers.values() for copy in own.copies(index)]

    def detach(self) -> None:
        """Switch all probes off and read the maps for the last time."""
        for own in self._attachers.values():
            try:
                own.detach_all()
            except (Problem, OSError) as problem:
                self.console.note(f"process {own.process.target.pid}: {problem}", 1)
        self.collect(read=False)


def has_profiler(pid: int) -> bool:
    """Return whether a process was started with a profiler in its CUDA driver (CUPTI documentation)."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.startswith(INJECTION.encode() + b"=") for word in words)


def data_of(provider: str, parts: tuple[str, ...]) -> KernelData:
    """Return the private data of a probe of a provider; `parts`: what follows its name.

    Raises:
        AttachProblem: it names an operation or a space that there is not.
    """
    if provider != "cudamem":
        return replace(KernelData.from_string(parts[-1]), module=parts[0] if len(parts) > 1 else "")
    kernel, *more = parts
    ops = tuple(op for op in OPS if more and op in _words(more[0])) or OPS
    words = _words(more[1]) if len(more) > 1 else []
    spaces = tuple(space for space in SPACES if space in words or "all" in words)
    return KernelData((kernel,), ops, spaces)


def _words(text: str) -> list[str]:
    return text.replace("|", ",").split(",")


def _some(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
