"""Objects on their way into a session: read, globals set, verified, maps placed, handlers written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from bpftime_cli.pipeline.csource import compile_source
from bpftime_cli.pipeline.typed import EVENTS, encode
from runtime.btf.types import Btf, Kind
from runtime.ebpf.object import Object, Program
from runtime.elf import load
from runtime.errors import Problem, Problems, Refused, UsageProblem
from runtime.jit.image import Image
from runtime.jit.unit import Build
from runtime.maps.layout import MapLayout, possible_cpus
from runtime.maps.spec import MapKind, MapSpec
from runtime.shm.folder import KeptMap, KeptObject, SessionFolder
from runtime.shm.handlers import Handlers
from runtime.shm.region import Region
from runtime.shm.session import PlacedMap, Session
from runtime.types import DEVICE_KINDS, ContextKind
from runtime.verify import Verified, verify

ELF = b"\x7fELF"
PRINTK = (6, 177, 501)  # helpers trace_printk, trace_vprintk, and puts of kernels
TEXT_RING = 1 << 20  # bytes for lines of trace_printk
CONTEXTS = tuple(ContextKind)


def read_object(name: str) -> bytes:
    """Return the bytes of an object: from an ELF file, or from C source, which is compiled.

    Raises:
        Problem: the file cannot be read, or is something else.
    """
    path = Path(name)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or "not a file name"
        raise Problem(
            f"failed to open file '{name}': {text}", hint="give an eBPF object (.bpf.o) or C source (.bpf.c)"
        ) from None
    if path.suffix == ".c" and not data.startswith(ELF):
        return compile_source(path)
    if path.suffix == ".bt":
        raise UsageProblem(f"{name} is a script", hint=f"run it with: bpftime trace {name}")
    return data


class LoadedPrograms:
    """The programs of one object, verified once a context, compiled once a context and build."""

    def __init__(self, obj: Object) -> None:
        self.object = obj
        self.maps: dict[str, MapSpec] = {m.name: m for m in obj.maps}
        self.device_maps = _device_maps(obj)
        for spec in self.device_maps.values():
            self.maps[spec.name] = _session_map(spec)
        self._verified: dict[tuple[str, ContextKind], Verified] = {}

    def program(self, name: str) -> Program:
        """Return a program by its name.

        Raises:
            Problem: the object has none of that name.
        """
        found = next((p for p in self.object.programs if p.name == name), None)
        if found is None:
            names = ", ".join(p.name for p in self.object.programs)
            raise Problem(f"no program '{name}' in {self.object.path}", hint=f"it has: {names}")
        return found

    def verified(self, name: str, context: ContextKind | None = None) -> Verified:
        """Return a program with its proofs, for its own context or another one.

        Raises:
            Refused: it is not safe there, or not supported.
        """
        program = self.program(name)
        context = context or program.context
        if (name, context) not in self._verified:
            wanted = replace(program, context=context)
            try:
                maps = {**self.maps, **self.device_maps} if context in DEVICE_KINDS else self.maps
                self._verified[name, context] = verify(wanted, maps, self.object.btf)
            except Refused as problem:
                text = f"program '{program.section}:{name}' refused: {problem}"
                raise type(problem)(text, span=problem.span, hint=problem.hint, trace=problem.trace) from None
        return self._verified[name, context]

    def verify_all(self) -> list[str]:
        """Verify what is to be loaded and choose the maps' final shapes; returns the warnings.

        Raises:
            Problem: a program that is to be loaded is refused; all of them are told.
        """
        problems: list[Problem] = []
        refused = False
        for program in self.object.programs:
            try:
                self.verified(program.name)
            except Problem as problem:
                refused = True
                if program.autoload:
                    problems.append(problem)
        if problems:
            raise problems[0] if len(problems) == 1 else Problems(problems)
        every = list(self._verified.values())
        if not refused:
            self._choose_shapes(every)
        printing = [v for v in every if any(call.helper in PRINTK for call in v.calls.values())]
        if printing:
            self.maps[EVENTS] = MapSpec(EVENTS, MapKind.RINGBUF, 0, 0, TEXT_RING)
        if any(v.program.context in DEVICE_KINDS for v in printing):
            self.device_maps[EVENTS] = self.maps[EVENTS]
        return [w for v in every for w in (*v.warnings, *v.unbounded)]

    def _choose_shapes(self, every: list[Verified]) -> None:
        from runtime.jit.compile import thread_keyed  # lazy: not needed for check

        for name in thread_keyed(v for v in every if v.program.context not in DEVICE_KINDS):
            spec = self.maps[name]
            if spec.kind == MapKind.HASH and not spec.added_only and name not in self.device_maps:
                self.maps[name] = replace(spec, thread_keyed=True)

    def image(self, name: str, context: ContextKind, kind: str, *, returns: bool = False) -> Image:
        """Return native code for a build kind (`rseq` or `plain`); `returns`: with r0 as its result."""
        from runtime.jit.compile import compile_program  # lazy: not needed for check

        build = Build(kind, possible_cpus(), "vdso")
        return compile_program(self.verified(name, context), self.maps, build, returns=returns)


def _device_maps(obj: Object) -> dict[str, MapSpec]:
    """Return the maps that programs for kernels use, by name."""
    programs = [p for p in obj.programs if p.context in DEVICE_KINDS]
    used = {name for program in programs for name in program.map_refs.values()}
    return {spec.name: spec for spec in obj.maps if spec.name in used}


def _session_map(spec: MapSpec) -> MapSpec:
    """Return what a map of devices is in the session, whatever device it will be."""
    from attachers.cuda.attacher import THREADS  # lazy: only objects for kernels need it
    from runtime.nvptx.layout import MAX_SLOTS
    from runtime.nvptx.maps import session_spec

    return session_spec(spec, MAX_SLOTS, THREADS)


def prepare(data: bytes, file: str, values: dict[str, str], targets: tuple[Btf, ...] = ()) -> LoadedPrograms:
    """Read an object and set its globals.

    Raises:
        ObjectProblem: it is no proper object.
        Problem: a global does not exist, or a value does not fit.
    """
    programs = LoadedPrograms(load(data, file, targets))
    for name, text in values.items():
        _set_global(programs, name, text)
    return programs


def _set_global(programs: LoadedPrograms, name: str, text: str) -> None:
    btf = programs.object.btf
    known: list[str] = []
    for spec in programs.maps.values():
        section = btf.resolve(spec.value_type) if btf is not None and spec.value_type else None
        if btf is None or section is None or section.kind is not Kind.DATASEC:
            continue
        for member in section.members:
            variable = btf.type(member.type)
            known.append(variable.name)
            if variable.name == name:
                raw = encode(btf, variable.to, member.value, text)
                start = member.offset // 8
                old = (spec.initial or b"").ljust(spec.value_size, b"\0")
                programs.maps[spec.name] = replace(spec, initial=old[:start] + raw + old[start + len(raw) :])
                return
    hint = f"it has: {', '.join(sorted(known))}" if known else "it has none with types: compile with -g"
    raise Problem(f"no global '{name}' in {programs.object.path}", hint=hint)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An object in a session: its programs, its maps placed, and the record that says where."""

    programs: LoadedPrograms
    session: Session
    kept: KeptObject


def room_for(programs: LoadedPrograms) -> int:
    """Return the bytes of region that an object's maps take.

    Raises:
        Problem: a map cannot exist.
    """
    cpus = possible_cpus()
    return sum(MapLayout.of(spec, cpus).bytes + 4096 for spec in programs.maps.values())


def place(programs: LoadedPrograms, region: Region, data: bytes, file: str, values: dict[str, str]) -> Loaded:
    """Place an object's maps in a region and enter its maps and programs as handlers.

    Raises:
        Problem: the region or the memory is full.
    """
    session = Session(region)
    handlers = Handlers(region)
    maps: dict[str, KeptMap] = {}
    for spec in programs.maps.values():
        try:
            placed = session.place(spec)
        except OSError as error:
            raise Problem(
                f"no memory for map '{spec.name}' ({error.strerror})",
                hint="make room in the session's folder",
            ) from None
        number = handlers.add_map(spec.name, placed.offset)
        maps[spec.name] = KeptMap(number, placed.offset, spec.added_only, spec.thread_keyed)
    entered: dict[str, int] = {}
    digest = hashlib.sha256(data)
    for program in programs.object.programs:
        if program.autoload:
            context = CONTEXTS.index(program.context)
            entered[program.name] = handlers.add_program(
                program.name, context, len(program.insns) // 8, digest.digest()
            )
    sections = {p.name: p.section for p in programs.object.programs}
    kept = KeptObject(digest.hexdigest(), str(Path(file).absolute()), maps, entered, sections, values)
    return Loaded(programs, session, kept)


def reopen(folder: SessionFolder, region: Region, kept: KeptObject) -> Loaded:
    """Read a kept object again and find its maps where they were placed.

    Raises:
        Problem: the object was changed.
    """
    programs = prepare(folder.kept_object(kept.sha256), kept.file, kept.values)
    if EVENTS in kept.maps:
        programs.maps[EVENTS] = MapSpec(EVENTS, MapKind.RINGBUF, 0, 0, TEXT_RING)
    session = Session(region)
    cpus = possible_cpus()
    for name, where in kept.maps.items():
        if name not in programs.maps:
            raise Problem(
                f"session '{folder.name}' does not fit its object {kept.file}", hint="load it again"
            )
        spec = replace(programs.maps[name], added_only=where.added_only, thread_keyed=where.thread_keyed)
        programs.maps[name] = spec
        session.maps[name] = PlacedMap(spec, MapLayout.of(spec, cpus), where.offset, where.id)
    return Loaded(programs, session, kept)
