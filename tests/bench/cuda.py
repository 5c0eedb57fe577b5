"""What probes in kernels cost, on a CUDA device: original image, the same re-assembled, probe switched off, probed.

A launch is timed by events; the figure is the median of many, in one process, after a warm-up. Outputs of all runs
must be those of the original bit for bit. `BPFTIME_CUDA=stub` runs it on the stub driver, where times mean nothing.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median

from attachers.cuda.assemble.assembling import assemble
from attachers.cuda.assemble.result import AssemblerProblem
from attachers.cuda.assemble.tools import chosen
from tests.bench.row import Row
from tests.tools.compile_bpf import compile_bpf
from tests.tools.cuda import APPS, app
from tests.tools.cuda.machine import NONE, Machine, machine
from tests.tools.target import SOURCES
from tests.tools.tracing import BPFTIME, PATIENCE, Running, Tracer, counts, read_until

PTX = APPS / "measured.ptx"
PER_THREAD = SOURCES / "gpu" / "perthread.bpf.c"
ISA = 7, 0  # of that file
REASSEMBLED, DISABLED = 1.02, 1.01


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel of `measured.cu`: its size on a device and on the stub driver; what a counter in it may cost."""

    kernel: str
    size: int
    stub_size: int
    counter: float = 1.05


@dataclass(frozen=True, slots=True)
class Probe:
    """What is measured: `{}` is the kernel."""

    name: str
    text: str
    goal: float


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds a launch, the output of the last, threads of all launches; whether it has what it should have."""

    us: float
    output: bytes
    threads: int
    woven: bool = True


CASES = (
    Case("vector_add", 16 << 20, 256),
    Case("matmul", 1024, 16, 1.02),
    Case("reduction", 16 << 20, 256),
    Case("softmax", 4096, 4),
    Case("small", 4096, 32),  # a graph of them
)
COUNTER = Probe("counter by multiprocessor", "cuda:{} {{ @[smid] = count(); }}", 0)
PROBES = (
    Probe("latency histogram", "cudaret:{} {{ @[smid] = hist(elapsed); }}", 1.10),
    Probe("memory operations by size", "cudamem:{} {{ @[size] = count(); }}", 1.5),
)
THREADS = Probe("histogram for each thread", "", 1.15)


@dataclass
class Bench:
    """One kernel on one machine. `launches`: before and timed."""

    machine: Machine
    case: Case
    folder: Path
    launches: tuple[int, int] = (20, 200)

    def rows(self) -> Iterator[Row]:
        """Give its figures: without a probe, then with each; what could not be measured is told in its row."""
        yield from self._tried("original", lambda: [Row(self._name("original"), self.original.us, "us")])
        yield from self._tried("re-assembled", self._again_rows)
        yield from self._tried(COUNTER.name, self._counter_rows)
        for probe in PROBES:
            yield from self._tried(
                probe.name, lambda p=probe: [self.judged(p.name, self._traced(p)[0], p.goal)]
            )
        yield from self._tried(THREADS.name, lambda: [self._per_thread()])

    def _tried(self, name: str, make: Callable[[], list[Row]]) -> list[Row]:
        try:
            return make()
        except (AssertionError, AssemblerProblem, OSError, subprocess.SubprocessError) as problem:
            return [Row(self._name(name), 0, "", skipped=f"FAILED, {' '.join(str(problem).split())}")]

    def _again_rows(self) -> list[Row]:
        return [self.judged("re-assembled", self.again, REASSEMBLED, self.original)] if self.again else []

    def _counter_rows(self) -> list[Row]:
        probed, disabled, said = self._traced(COUNTER)
        return [
            self.judged("probe switched off", disabled, DISABLED),
            self.judged(COUNTER.name, probed, self.case.counter, said=said),
        ]

    def judged(
        self, name: str, figure: Figure, goal: float, base: Figure | None = None, said: str | None = None
    ) -> Row:
        """Compare with what a probe is added to, the re-assembled image, unless with another.

        `said`: of a tracer that counted each thread. Times of the stub have no goal.
        """
        goal = 0 if self.machine.stub else goal
        base = base or self.again or self.original
        row = Row(
            self._name(name), figure.us / base.us, "x", "the original", figure.us / self.original.us, goal
        )
        counted = sum(counts((said or "").encode()).values())
        if not figure.woven:
            return replace(row, skipped="WRONG, no image was woven")
        if figure.output != self.original.output:
            return replace(row, skipped="WRONG, its output is not the original's")
        if said is not None and counted != figure.threads:
            return replace(row, skipped=f"WRONG, {counted} threads counted of {figure.threads}")
        return row

    def _name(self, what: str) -> str:
        return f"{self.case.kernel}: {what}"

    @cached_property
    def original(self) -> Figure:
        """As the program is."""
        with self._running(PTX) as target:
            return self._work(target)

    @cached_property
    def again(self) -> Figure | None:
        """Made by our assembler, nothing woven in; none where the driver assembles."""
        image = reassembled(self.machine, self.machine.assembler)
        if not image:
            return None
        cubin = self.folder / "again.cubin"
        cubin.write_bytes(image)
        with self._running(cubin) as target:
            return self._work(target)

    def _running(self, image: Path, before: tuple[str, ...] = ()) -> Running:
        return Running(*before, *self._command(image), env=self.machine.environment)

    def _command(self, image: Path) -> tuple[str, ...]:
        size = self.case.stub_size if self.machine.stub else self.case.size
        words = app("measured", bound=False), image, self.case.kernel, size, *self.launches
        return tuple(map(str, words))

    def _work(self, target: Running) -> Figure:
        place = self.folder / "output"
        target.process.stdin.write(f"{place}\n".encode())
        target.process.stdin.flush()
        text = read_until(target.process.stdout, b"done\n").decode()
        times = [int(word) for word in re.findall(r"^ns (\d+)$", text, re.MULTILINE)]
        assert len(times) == self.launches[1], text
        return Figure(
            median(times) / 1000, place.read_bytes(), counts(text.encode())["threads"] * sum(self.launches)
        )

    def _traced(self, probe: Probe) -> tuple[Figure, Figure, str]:
        """Give the figures with a probe and after its tracer left, and what that said."""
        kept = Path(tempfile.mkdtemp(dir=self.folder))
        with self._running(PTX) as target:
            program = probe.text.format(self.case.kernel)
            words = (*self._how(kept), "-p", str(target.pid), "-e", program)
            with Tracer(words, env=self.machine.environment) as tracer:
                probed = self._work(target)
                ended = tracer.end()
            assert not ended.status and "@" in ended.out, f"status {ended.status}, {ended.err}"
            figures = [replace(figure, woven=_is_woven(kept)) for figure in (probed, self._work(target))]
            return figures[0], figures[1], ended.out

    def _how(self, kept: Path) -> tuple[str, ...]:
        return ("-q", "--cuda-assembler", self.machine.assembler, "--cuda-dump", str(kept))

    def _per_thread(self) -> Row:
        """A map of the kind that has values for each thread is of objects only."""
        data = compile_bpf(PER_THREAD)
        if data is None:
            return Row(self._name(THREADS.name), 0, "", skipped="no clang, or no header of libbpf")
        file = self.folder / "perthread.bpf.o"
        file.write_bytes(data)
        kept = Path(tempfile.mkdtemp(dir=self.folder))
        with self._running(PTX, (*BPFTIME, "load", *self._how(kept), str(file), "--")) as target:
            figure = self._work(target)
            target.process.communicate(timeout=PATIENCE)
        figure = replace(figure, woven=_is_woven(kept))
        return self.judged(THREADS.name, figure, THREADS.goal)


def reassembled(here: Machine, assembler: str) -> bytes:
    """The image as the tracer would have it assembled, nothing woven in; empty where the driver does that."""
    tool = chosen(assembler, ISA, here.driver, here.arch)
    return assemble(PTX.read_text(), f"sm_{here.arch}", (), tool).cubin if tool else b""


def _is_woven(kept: Path) -> bool:
    return any(kept.glob("*.woven"))


def rows() -> Iterator[Row]:
    """Every kernel, or one line where there is no device."""
    with machine() as here, tempfile.TemporaryDirectory() as folder:
        if here is None:
            yield Row("probes in kernels", 0, "", skipped=NONE)
            return
        yield Row(f"{here.name}, sm_{here.arch}, CUDA {here.driver}", here.processors, "SMs")
        for case in CASES:
            launches = (1, 2) if here.stub else (20, 200)
            yield from Bench(here, case, Path(folder), launches).rows()
