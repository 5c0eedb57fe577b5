"""Programs of all kinds at one function, hooked on and taken out in any order: who runs when, and what is left."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from attachers.base import UPROBE, UPROBE_OVERRIDE, URETPROBE
from attachers.target import Target
from attachers.uprobe import FunctionAttacher, Hook
from bpftime_cli.pipeline.programs import Programs
from bpftime_cli.pipeline.resolver import Names
from runtime.errors import AttachProblem
from runtime.lang import Options, compile_script
from runtime.shm.ring import RingReader
from runtime.shm.session import Session
from tests.tools.target import build
from tests.tools.tracing import Running

ENTRIES, RETURNS, DECISIONS = 5, 5, 2
OVERRIDDEN = 4242
STEPS = 40


def script() -> str:
    parts = [f'uprobe:caller:caller_add {{ printf("e{i}"); }}' for i in range(ENTRIES)]
    parts += [f'uretprobe:caller:caller_add {{ printf("r{i}={"%lld"}", retval); }}' for i in range(RETURNS)]
    parts += [
        f'uprobe:caller:caller_add {{ printf("d{i}"); if (arg0 & 1) {{ override({OVERRIDDEN}); }} }}'
        for i in range(DECISIONS)
    ]
    return "\n".join(parts)


def reader(session: Session) -> RingReader:
    offset, size = session.maps[".events"].ring
    return RingReader(session.region.buffer, offset, size - 2 * 4096)


@dataclass
class Model:
    """What should happen: names of the programs that are hooked on, in the order of hooking on."""

    entries: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    decision: list[str] = field(default_factory=list)

    def call(self, number: int) -> tuple[list[str], int]:
        result = number + 2 * number + sum(range(2 * number & 3))
        if self.decision and number & 1:
            result = OVERRIDDEN
        returns = [f"{name}={result}" for name in (*self.exits, *self.around)]
        return [*self.entries, *self.decision, *returns], result


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_hooking_on_and_taking_out(seed: int) -> None:
    rng = random.Random(seed)
    program = build("caller")
    compiled = compile_script(script(), "stdin", Options(unsafe=True))
    programs = Programs(compiled.object)
    programs.verify_all()
    with Running(program) as running:
        session = Session.create(f"chains-{seed}", tuple(programs.maps.values()))
        target = Target.open(running.pid)
        ring = reader(session)
        world = _World(
            running, target, FunctionAttacher(target, session), programs, compiled, ring, str(program)
        )
        before = target.memory.read(world.function.address, world.function.size)
        for _ in range(STEPS):
            world.step(rng)
            world.check(rng.randrange(100))
        for name in list(world.links):
            world.take_out(name)
        world.check(1)
        assert target.memory.read(world.function.address, world.function.size) == before
        target.close()


@dataclass
class _World:
    running: Running
    target: Target
    attacher: FunctionAttacher
    programs: Programs
    compiled: object
    ring: RingReader
    path: str
    model: Model = field(default_factory=Model)
    links: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def __post_init__(self) -> None:
        self.names = Names()
        kinds = [UPROBE] * ENTRIES + [URETPROBE] * RETURNS + [UPROBE_OVERRIDE] * DECISIONS
        labels = (
            [f"e{i}" for i in range(ENTRIES)]
            + [f"r{i}" for i in range(RETURNS)]
            + [f"d{i}" for i in range(DECISIONS)]
        )
        self.images = {
            label: (self.programs.image(probe.program, self.target.build_kind), kind)
            for label, probe, kind in zip(labels, self.compiled.probes, kinds, strict=True)
        }
        self.function = self.attacher.resolve(Hook(1, *self._of("e0")))[0]

    def _of(self, label: str) -> tuple[object, str, str, int]:
        image, kind = self.images[label]
        return image, self.path, "caller_add", kind

    def step(self, rng: random.Random) -> None:
        label = rng.choice(sorted(self.images))
        if label in self.links:
            self.take_out(label)
        else:
            self.hook_on(label)

    def hook_on(self, label: str) -> None:
        self.target.refresh()
        self.last += 1
        plan = self.attacher.plan(self.attacher.resolve(Hook(self.last, *self._of(label))))
        if label[0] == "d" and (self.model.decision or plan.refused):
            assert isinstance(plan.refused[self.last], AttachProblem)
            assert plan.refused[self.last].errno == (17 if self.model.decision else 16)
            return
        assert not plan.refused
        self.attacher.apply(plan)
        self.links[label] = self.last
        wraps = any(self.function.address <= a < self.function.address + 16 for a in plan.sites_of[self.last])
        group = {"e": self.model.entries, "d": self.model.decision}.get(
            label[0], self.model.around if wraps else self.model.exits
        )
        group.append(label)

    def take_out(self, label: str) -> None:
        self.attacher.detach_by_id(self.links.pop(label))
        for group in (self.model.entries, self.model.exits, self.model.around, self.model.decision):
            if label in group:
                group.remove(label)

    def check(self, number: int) -> None:
        expected, result = self.model.call(number)
        self.running.said = b""
        self.running.process.stdin.write(b"%d\n" % number)
        self.running.process.stdin.flush()
        assert self.running.until(b"\n") == b"is %d\n" % result
        events = [self.compiled.decode_record(payload, self.names).data for payload in self.ring.drain()]
        assert [e.decode() for e in events] == expected
