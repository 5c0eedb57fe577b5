"""The whole way from text to `Script`: parse, configure, fold, type, generate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.ebpf.object import Object, Program
from runtime.errors import joined
from runtime.lang import imports, subprograms, tree
from runtime.lang.bodies import read_bodies
from runtime.lang.builtins import CHILD
from runtime.lang.c.definitions import read_definitions
from runtime.lang.c.expand import Names
from runtime.lang.checker import Body, Checker
from runtime.lang.complaints import COUNTS
from runtime.lang.config import Config, read_config
from runtime.lang.decode import FailureDecoder
from runtime.lang.fold import Folder
from runtime.lang.generator import Generator, Output
from runtime.lang.known import Known
from runtime.lang.macros import Expander, collect
from runtime.lang.mapcode import ZEROS
from runtime.lang.mapdecoder import MapDecoder
from runtime.lang.mapshape import MapShape, shape_of
from runtime.lang.parameters import Parameters
from runtime.lang.parser import parse
from runtime.lang.points import read_points
from runtime.lang.probenames import MOST, NAMES
from runtime.lang.records import RING
from runtime.lang.script import Options, Script, ScriptProbe
from runtime.lang.source import Source
from runtime.lang.types import Aggregate
from runtime.lang.variables import MapFacts
from runtime.maps.spec import MapKind, MapSpec
from runtime.types import DEVICE_KINDS

RING_BYTES = 64 << 20
FEW_BYTES = 1 << 18  # where nothing but a few failures of each place can come
PAGE = 4096
MOST_PARAMETERS = 9  # that a check makes up for the names of probes
READ_ONLY = 0x80  # BPF_F_RDONLY_PROG
DEPTH = 20000  # Python frames for the deepest tree that the parser lets pass
MAP_KINDS = {
    "hash": False,
    "lruhash": False,
    "percpuhash": True,
    "percpulruhash": True,
}  # name → for aggregations


def compile_script(text: str, file: str = "stdin", options: Options | None = None) -> Script:
    """Compile a script.

    Raises:
        Problem: what is wrong, with its place; `Problems` when it is more than one thing.
    """
    with _deep_recursion():
        return _compile(Source(text, file), options or Options())


def probes_of(text: str, file: str, params: tuple[str, ...], pid: bool) -> list[str]:
    """Read the attach points of a script, in order, with full names and parameters put in.

    Raises:
        Problem: what is wrong, with its place.
    """
    with _deep_recursion():
        source = Source(text, file)
        script = parse(source)
        imports.merge(source, script)
    positional = Parameters.of(params).positional
    points = [point for probe in script.probes for point in probe.points]
    return [
        one.text for point in points for one in read_points(source, point.at, point.text, positional, pid)
    ]


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _compile(source: Source, options: Options) -> Script:
    script = parse(source)
    imports.merge(source, script)
    options.observe("parse", [script])
    config = read_config(source, script.config, options.environment)
    _refuse_unserved(source, script)
    parameters = Parameters.of(options.params)
    folder = Folder(source, parameters)
    scope = read_definitions(source, script.definitions, options.around)
    Names(source, scope).expand(script)
    _expand(source, script)
    anything = ("*",) * MOST_PARAMETERS if options.anything else ()
    bodies, missing = read_bodies(
        source,
        script,
        parameters.positional + anything,
        options.debug,
        named=options.pid,
        missing=config.text("missing_probes"),
    )
    known = Known(source, config, options)
    for node in (*script.functions, *(body.probe for body in bodies)):
        known.replace(node)
        folder.fold(node)
    parameters.check()
    options.observe("ast", [*script.functions, *(body.probe for body in bodies)])
    functions = subprograms.collect(source, script.functions)
    checker = Checker(source, config, options.unsafe, scope, functions=functions, debug=options.debug)
    _declare_maps(source, script.maps, checker)
    checker.check(bodies)
    if checker.errors:
        raise joined(checker.errors)
    options.observe("types", [*script.functions, *(body.probe for body in bodies)])
    shapes = {name: shape_of(facts, config) for name, facts in checker.maps.items() if facts.used}
    _check_declarations(source, shapes, checker.maps)
    output = Output(
        config, shapes, functions=checker.functions, checks=options.checks, has_child=options.child
    )
    programs, probes = _generate(source, output, bodies)
    specs = _specs(output, config, programs)
    _refuse_both_sides(source, programs, specs, checker.maps)
    warnings = (*config.warnings, *missing, *folder.warnings, *checker.warnings)
    return Script(
        Object(source.file, "script", config.text("license"), tuple(programs), specs),
        tuple(probes),
        {name: MapDecoder(shape, output.reading) for name, shape in sorted(shapes.items())},
        tuple(output.events),
        warnings,
        config,
        tuple(output.failures),
        tuple(output.addresses),
        tuple(output.probe_names),
    )


def _expand(source: Source, script: tree.Script) -> None:
    """Replace all uses of macros in probes.

    Raises:
        Problem: a use fits no definition, or a macro reaches for what it was not given.
    """
    expander = Expander(source, collect(source, script.macros))
    for node in (*script.functions, *script.probes):
        expander.expand(node)
    if expander.errors:
        raise joined(expander.errors)


def _refuse_unserved(source: Source, script: tree.Script) -> None:
    if not script.probes:
        raise source.problem((0, 1), "No probes to attach")


def _declare_maps(source: Source, declarations: list[tree.MapDeclaration], checker: Checker) -> None:
    for node in declarations:
        if node.kind not in MAP_KINDS:
            raise source.problem(
                node.kind_at, f"Invalid bpf map type: {node.kind}", f"Valid map types: {', '.join(MAP_KINDS)}"
            )
        if node.name in checker.maps:
            raise source.problem(node.at, f"{node.name} is declared twice")
        if not 1 <= node.entries < 1 << 31:
            raise source.problem(node.at, f"max entries must be 1 to {(1 << 31) - 1}, not {node.entries}")
        checker.maps[node.name] = MapFacts(
            node.name, node.at, kind=node.kind, entries=node.entries, declared=node.at
        )


def _generate(source: Source, output: Output, bodies: list[Body]) -> tuple[list[Program], list[ScriptProbe]]:
    programs: list[Program] = []
    probes: list[ScriptProbe] = []
    for index, body in enumerate(bodies):
        context = body.provider.context
        assert context is not None
        generator = Generator(source, output, body)
        code = generator.program()
        name = str(index)
        attach = body.points[0].text
        programs.append(
            Program(name, body.provider.name, context, attach, code.insns, code.map_refs, code.lines)
        )
        probes += [
            ScriptProbe(
                name, point.provider.name, point.parts, source.span(point.at), point.text,
                generator.uses_cookie, point.name, point.period, point.event,
            )
            for point in body.points
        ]  # fmt: skip
    return programs, probes


def _specs(output: Output, config: Config, programs: list[Program]) -> tuple[MapSpec, ...]:
    specs = [shape.spec() for shape in output.maps.values()]
    if output.zeros:
        specs.append(MapSpec(ZEROS, MapKind.ARRAY, 4, output.zeros, 1))
    if any(CHILD in program.map_refs.values() for program in programs):
        specs.append(MapSpec(CHILD, MapKind.ARRAY, 4, 8, 1))
    if output.probe_names:
        specs.append(MapSpec(NAMES, MapKind.ARRAY, 4, MOST * len(output.probe_names), 1))
    if output.failures:
        specs.append(MapSpec(COUNTS, MapKind.ARRAY, 4, 8 * len(output.failures), 1))
    specs += [
        MapSpec(name, MapKind.ARRAY, 4, len(data), 1, READ_ONLY, initial=data)
        for name, data in output.tables.items()
    ]
    if output.events:
        pages = config.number("perf_rb_pages")
        only_failures = all(isinstance(event, FailureDecoder) for event in output.events)
        size = 1 << (pages * PAGE - 1).bit_length() if pages else FEW_BYTES if only_failures else RING_BYTES
        specs.append(MapSpec(RING, MapKind.RINGBUF, 0, 0, size))
    return tuple(specs)


def _refuse_both_sides(
    source: Source, programs: list[Program], specs: tuple[MapSpec, ...], maps: dict[str, MapFacts]
) -> None:
    """Refuse maps with keys that kernels and the host both use, unless all they do is add."""
    sides = {True: set[str](), False: set[str]()}
    for program in programs:
        sides[program.context in DEVICE_KINDS].update(program.map_refs.values())
    both = sides[True] & sides[False]
    for spec in specs:
        if spec.name in both and spec.name in maps and not spec.added_only and spec.kind != MapKind.ARRAY:
            raise source.problem(
                maps[spec.name].first,
                f"{spec.name} is used in GPU kernels and on the host",
                "both may use maps without keys, and count(), sum(), avg(), stats(), hist(), lhist()",
            )


def _check_declarations(source: Source, shapes: dict[str, MapShape], maps: dict[str, MapFacts]) -> None:
    for name, shape in shapes.items():
        facts, added = maps[name], isinstance(shape.value, Aggregate)
        if facts.kind and facts.declared and MAP_KINDS[facts.kind] != added:
            raise source.problem(
                facts.declared,
                f"Incompatible map types. Type from declaration: {facts.kind}. Type from value/key type:"
                f" {'percpuhash' if added else 'hash'}",
            )
