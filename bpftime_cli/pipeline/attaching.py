"""Programs of sessions hooked into processes by hand, and links taken out again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from attachers.base import SYSCALL, UPROBE, UPROBE_OVERRIDE, UREPLACE, URETPROBE, FunctionData
from attachers.inject.visit import find_state
from attachers.interceptor.plan import InterceptorPlan
from attachers.patch.apply import remove
from attachers.patch.cost import HOOK, IN_PLACE, cost_of
from attachers.patch.plan import Probe
from attachers.resolve import find_modules
from attachers.syscalls.attacher import AFTER, BEFORE, CallAttacher
from attachers.syscalls.data import SyscallData
from attachers.syscalls.probes import CallProbe
from attachers.syscalls.standing import carry_out
from attachers.target import Target
from attachers.uprobe import FunctionAttacher, Hook
from attachers.usdt import MarkerText
from attachers.usdt import resolve as resolve_markers
from bpftime_cli.pipeline.objects import Loaded
from bpftime_cli.pipeline.sessions import OpenSession
from bpftime_cli.pipeline.usdtspecs import SPECS, with_specs
from runtime.ebpf.object import Program
from runtime.errors import AttachProblem, Problem, TargetProblem, UsageProblem
from runtime.jit.image import Image
from runtime.shm.folder import ProcessMark
from runtime.shm.handlers import Handlers, Link, LinkState
from runtime.types import ContextKind

TYPES = {"uprobe": UPROBE, "uretprobe": URETPROBE, "override": UPROBE_OVERRIDE, "replace": UREPLACE}
PROVIDERS = {**TYPES, "u": UPROBE, "ur": URETPROBE, "uprobe.override": UPROBE_OVERRIDE, "ureplace": UREPLACE}
CONTEXTS = dict.fromkeys(TYPES.values(), ContextKind.UPROBE) | {URETPROBE: ContextKind.URETPROBE}
WORDS = {number: word for word, number in TYPES.items()} | {SYSCALL: "syscall"}
FORMS = "uprobe:BINARY:FUNCTION[+OFFSET], or uretprobe:, override:, replace:, usdt:BINARY:PROVIDER:NAME"
MARKERS = ("usdt", "U")
CALLS = ("tracepoint", "syscall")  # providers of system calls in probe texts
CALL_CONTEXTS = frozenset((*BEFORE, *AFTER))
# Sections whose programs go to the calls that they name: before them, and after them.
KERNEL_CALLS = {"ksyscall": "enter", "kretsyscall": "exit"}
CALL_TEXT = re.compile(r"(raw_)?(syscalls/)?sys_(enter|exit)(_|$)")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program goes. `is_offset`: `function` is a number, and that is an offset in the file.

    `is_marker`: `function` is a marker's PROVIDER:NAME. `own`: what the program itself wants to get.
    """

    type: int
    binary: str
    function: str
    is_offset: bool = False
    is_marker: bool = False
    own: ContextKind | None = None

    @property
    def context(self) -> ContextKind:
        """Return what a program gets there."""
        if self.own is not None:
            return self.own
        return ContextKind.USDT if self.is_marker else CONTEXTS[self.type]


def place_of_text(text: str, program: Program, kind: str = "") -> Place:
    """Return the place that a probe text means; `kind` or the program's own type where the text has none.

    Raises:
        UsageProblem: it is none of the accepted forms.
    """
    first, colon, rest = text.partition(":")
    if first in MARKERS and colon:
        return _marker(rest)
    if first in CALLS and colon:
        return _call(text if first == "tracepoint" else rest, program)
    if not kind and program.context is ContextKind.USDT and first not in PROVIDERS:
        return _marker(text)
    named = first in PROVIDERS and bool(colon)
    provider = PROVIDERS[first] if named and not kind else own_type(program, kind)
    if named:
        text = rest
    if named and PROVIDERS[first] != provider:
        raise UsageProblem(f"--type {kind} does not go with '{first}:'", hint=FORMS)
    binary, _, function = text.rpartition(":")
    if not binary or not function:
        raise UsageProblem(f"wrong probe: '{text}'", hint=f"write {FORMS}")
    return Place(provider, binary, function)


def place_of_section(program: Program, kind: str = "") -> Place | None:
    """Return the place that a program's section names, None where it names none.

    Raises:
        AttachProblem: it is no function probe.
    """
    if not kind and program.context is ContextKind.USDT:
        return _marker(program.attach) if program.attach else None
    if not kind and program.context in CALL_CONTEXTS:
        return _section_call(program)
    provider = own_type(program, kind)
    binary, _, function = program.attach.rpartition(":")
    if not binary or not function:
        return None
    return Place(provider, binary, function, NUMBER.fullmatch(function) is not None)


def _call(text: str, program: Program) -> Place:
    """Return the place of a program at system calls.

    Raises:
        AttachProblem: there are no such calls.
    """
    return Place(SYSCALL, "", SyscallData.from_string(text).to_string(), own=program.context)


def _section_call(program: Program) -> Place | None:
    """Return the calls that a section names: tracepoint/syscalls/…, raw_tp/sys_enter, ksyscall/openat.

    Raises:
        AttachProblem: they are none of system calls, so only the kernel has them.
    """
    prefix = program.section.removeprefix("?").partition("/")[0]
    if not program.attach:
        return None
    if prefix in KERNEL_CALLS:
        return _call(f"{KERNEL_CALLS[prefix]}:{program.attach}", program)
    if not CALL_TEXT.match(program.attach):
        raise AttachProblem(
            f"program '{program.name}' ({program.section}) instruments kernel code: user space has none",
            errno=95,
            hint="tracepoint/syscalls/…, raw_tp/sys_enter, raw_tp/sys_exit, ksyscall/… are served",
        )
    return _call(program.attach, program)


def _marker(text: str) -> Place:
    """Return the place of BINARY:PROVIDER:NAME.

    Raises:
        UsageProblem: it has another form.
    """
    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        raise UsageProblem(f"wrong marker: '{text}'", hint="write usdt:BINARY:PROVIDER:NAME")
    return Place(UPROBE, parts[0], f"{parts[1]}:{parts[2]}", is_marker=True)


def own_type(program: Program, kind: str = "") -> int:
    """Return the attach type of a program.

    Raises:
        UsageProblem: the asked type does not exist.
        AttachProblem: the program is not for functions.
    """
    if kind:
        if kind not in TYPES:
            raise UsageProblem(f"unknown attach type '{kind}'", hint=f"types: {', '.join(TYPES)}")
        return TYPES[kind]
    prefix = program.section.removeprefix("?").partition("/")[0]
    if prefix in PROVIDERS:
        return PROVIDERS[prefix]
    for number, context in CONTEXTS.items():
        if program.context is context:
            return number
    raise AttachProblem(
        f"program '{program.name}' ({program.section}) is no function probe",
        errno=95,
        hint="uprobe and uretprobe programs can be attached; --type says otherwise",
    )


# --- in


class Attaching:
    """Hooks programs of one loaded object into processes and writes the handlers."""

    def __init__(self, loaded: Loaded, session_id: bytes) -> None:
        self.loaded = loaded
        self.id = session_id
        self.handlers = Handlers(loaded.session.region)

    def attach(self, attacher: FunctionAttacher, name: str, place: Place, cookie: int = 0) -> tuple[int, str]:
        """Hook one program into the attacher's process; returns the link's id and the place as text.

        Raises:
            AttachProblem: it cannot be placed there.
            TargetProblem: the process cannot be reached.
        """
        target = attacher.target
        target.refresh()  # the sites of links made since
        image = self.loaded.programs.image(
            name, place.context, target.build_kind, returns=place.type == UREPLACE
        )
        text = _text(target, place)
        event = self.handlers.add_event(place.type, target.pid, text)
        link = self.handlers.add_link(
            self.loaded.kept.programs[name], event, target.pid, target.start, cookie
        )
        armed: _Armed | None = None
        try:
            probes = self._probes(attacher, image, place, cookie)
            armed = _arm(attacher, [replace(p, link=link) for p in probes], link)
        finally:
            if armed is None:
                self.handlers.remove(link)
                self.handlers.remove(event)
        self.handlers.set_link(
            link, LinkState.ARMED, sites=armed.sites, refused=armed.refused, cost=armed.cost
        )
        return link, text if place.is_marker else f"{WORDS[place.type]}:{text}"

    def _probes(self, attacher: FunctionAttacher, image: Image, place: Place, cookie: int) -> list[Probe]:
        """Return the sites of a place in the attacher's process.

        Raises:
            AttachProblem: there is none.
        """
        if place.type == SYSCALL:
            calls = CallAttacher(attacher.target, attacher.session)
            return [*calls.resolve(image, SyscallData.from_string(place.function), cookie)]
        if not place.is_marker:
            data = _data(attacher.target, place)
            hook = Hook(0, image, data.module, _function(attacher.target, data), place.type, cookie)
            return attacher.resolve(hook)
        text = MarkerText(place.binary, *place.function.split(":"))
        found = resolve_markers(attacher.target, self.id, text, image)
        view = self.loaded.session.view(SPECS) if SPECS in self.loaded.session.maps else None
        return with_specs(found, view, self.loaded.programs.object.btf, cookie)


class _Armed(NamedTuple):
    """How many places were armed, whether some were refused, and the number of the dearest class of cost."""

    sites: int
    refused: bool
    cost: int


def _arm(attacher: FunctionAttacher, probes: list[Probe], link: int) -> _Armed:
    """Arm all places of a link.

    Raises:
        AttachProblem: nothing could be armed.
    """
    calls = [p for p in probes if isinstance(p, CallProbe)]
    plan = CallAttacher(attacher.target, attacher.session).plan(calls) if calls else attacher.plan(probes)
    planned, refused = len(plan.sites_of.get(link, ())), link in plan.refused
    if not planned:
        raise plan.refused.get(link) or AttachProblem("nothing matches", errno=2)
    carry_out(attacher.target, plan, attacher.apply)
    if link in plan.refused and planned == 1 and not refused:
        raise plan.refused[link]
    costs = [cost_of(spot) for spot, _, _ in plan.thunks]
    if isinstance(plan, InterceptorPlan) and any(hook.probe.link == link for hook in plan.hooks):
        costs.append(HOOK)
    return _Armed(planned, link in plan.refused, max(costs, key=lambda c: c.ns, default=IN_PLACE).number)


def _text(target: Target, place: Place) -> str:
    """Return a place as its handler keeps it: private data, or a marker's whole probe text."""
    if place.type == SYSCALL:
        return place.function
    if not place.is_marker:
        return _data(target, place).to_string()
    binary = place.binary if "*" in place.binary else find_modules(target, place.binary)[0].path
    return f"usdt:{binary}:{place.function}"


def _data(target: Target, place: Place) -> FunctionData:
    """Return a place as private data; the module's path in full where only one is meant."""
    binary = place.binary
    if "*" not in binary:
        binary = find_modules(target, binary)[0].path
    if place.is_offset or NUMBER.fullmatch(place.function):
        number = int(place.function, 0)
        if not place.is_offset:
            number = find_modules(target, binary)[0].elf.to_offset(number)
        return FunctionData(binary, "", number)
    symbol, plus, offset = place.function.partition("+")
    if plus and not NUMBER.fullmatch(offset):
        raise AttachProblem(
            f"Invalid offset '{offset}'", errno=22, hint="write FUNCTION+NUMBER, such as main+16"
        )
    return FunctionData(binary, symbol, int(offset, 0) if plus else 0)


def _function(target: Target, data: FunctionData) -> str:
    if data.symbol:
        return data.symbol + (f"+{data.offset}" if data.offset else "")
    return f"{find_modules(target, data.module)[0].elf.to_address(data.offset):#x}"


# --- out


@dataclass(slots=True)
class Detached:
    """What a detach did: `count` links, and what went wrong."""

    count: int
    problems: list[Problem]


def detach_links(found: Iterable[tuple[OpenSession, Link]]) -> Detached:
    """Take links out of their processes and free their handlers; one visit a process and session."""
    groups: dict[tuple[str, int, int], tuple[OpenSession, list[Link]]] = {}
    for session, link in found:
        groups.setdefault((session.name, link.pid, link.start), (session, []))[1].append(link)
    result = Detached(0, [])
    for session, links in groups.values():
        try:
            take_out(links[0], session.id, frozenset(link.id for link in links))
        except (Problem, OSError) as error:
            if ProcessMark(links[0].pid, links[0].start).is_alive:
                result.problems.append(_kept(links[0].pid, error))
                continue
        with session.folder.locked():
            for link in links:
                session.handlers.remove(link.id)
                session.handlers.remove(link.event)
        result.count += len(links)
    return result


def take_out(link: Link, session: bytes, links: frozenset[int]) -> None:
    """Remove links of a session from one process, if it still is that process and carries our state."""
    if not ProcessMark(link.pid, link.start).is_alive or not find_state(link.pid):
        return
    target = Target.open(link.pid)
    try:
        remove(target, session, links)
    finally:
        target.close()


def _kept(pid: int, error: Exception) -> Problem:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return TargetProblem(f"process {pid} keeps its probes: {text}", hint="they are harmless and end with it")


def is_attached(link: Link) -> LinkState:
    """Return a link's state as it is now: gone when its process has ended or become another program."""
    if link.state is not LinkState.ARMED:
        return link.state
    try:
        alive = ProcessMark(link.pid, link.start).is_alive and find_state(link.pid)
    except Problem:
        alive = Path(f"/proc/{link.pid}").exists()
    return LinkState.ARMED if alive else LinkState.GONE
