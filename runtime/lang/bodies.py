"""From probes as they are written to programs: attach points are read, and grouped by provider."""

from __future__ import annotations

from dataclasses import replace

from runtime.errors import Problem, Unserved, joined
from runtime.lang import tree
from runtime.lang.checker import Body
from runtime.lang.debug import Debug
from runtime.lang.fields import uses_args
from runtime.lang.points import read_points
from runtime.lang.providers import Point, served, split_point
from runtime.lang.source import Source
from runtime.lang.tracepoints import fields_of
from runtime.types import ContextKind

WITH_FIELDS = frozenset(
    (ContextKind.SYS_ENTER, ContextKind.SYS_EXIT, ContextKind.RAW_SYS_ENTER, ContextKind.RAW_SYS_EXIT)
)


def read_bodies(
    source: Source,
    script: tree.Script,
    params: tuple[str, ...],
    debug: Debug | None,
    *,
    named: bool,
    missing: str,
) -> tuple[list[Body], list[Problem]]:
    """Make one body for each provider of each probe, in order, and the warnings about what cannot be served.

    `named`: a process is given, so the binary may be left out. `debug`: knows the parameters of functions and
    the types of their programs. `missing`: the script's missing_probes, error,
    warn or ignore.

    Raises:
        Problem: errors of all attach points at once, or nothing is left.
    """
    errors: list[Problem] = []
    unserved: list[Problem] = []
    bodies: list[Body] = []
    names: set[str] = set()
    for probe in script.probes:
        points: list[Point] = []
        each = uses_args(probe)
        for point in probe.points:
            try:
                for found in read_points(source, point.at, point.text, params, named):
                    points += (
                        _with_parameters(source, found, debug) if each else split_point(found, each=each)
                    )
            except Unserved as error:
                unserved.append(error)
            except Problem as error:
                errors.append(error)
        errors += _used_twice(source, points, names)
        bodies += _by_kind(probe, points, debug, each=each)
    if errors or (unserved and missing == "error"):
        raise joined([*errors, *unserved])
    if not bodies:
        raise source.problem((0, 1), "No probes to attach")
    return bodies, unserved if missing == "warn" else []


def _with_parameters(source: Source, point: Point, debug: Debug | None) -> list[Point]:
    """Return a point as those that each have parameters of their own.

    Raises:
        Problem: they are not known.
    """
    if point.provider.name != "uprobe":
        return split_point(point, each=True)
    if debug is None:
        raise source.problem(point.at, "no debuginfo can be read here", "use arg0, arg1, …")
    try:
        found = debug.functions(point.parts)
    except Problem as problem:
        raise source.problem(point.at, str(problem), problem.hint) from None
    return [
        replace(point, parts=parts, text=":".join((point.provider.name, *parts)), fields=fields)
        for parts, fields in found
    ]


def _by_kind(probe: tree.Probe, points: list[Point], debug: Debug | None, *, each: bool) -> list[Body]:
    """Give each kind of probe a body of its own: what a builtin is depends on it."""
    groups = _grouped(points, each=each)
    bodies = []
    for number, group in enumerate(groups):
        block = tree.clone(probe, lambda at: at) if number + 1 < len(groups) else probe
        first = group[0]
        fields = first.fields
        if each and first.provider.context in WITH_FIELDS:
            fields = fields_of(first.provider.context, served(first))
        types = [debug.types(point.parts) for point in group if debug and point.provider.registers]
        bodies.append(Body(first.provider, group, block, list(types), fields=fields))
    return bodies


def _grouped(points: list[Point], *, each: bool) -> list[list[Point]]:
    """Return points in groups that share a program: of one kind, and where it matters of equal arguments."""
    groups: dict[object, list[Point]] = {}
    for point in points:
        own: tuple[object, ...] = ()
        if each:
            by_parts = point.provider.context in WITH_FIELDS
            own = (point.parts,) if by_parts else tuple((point.fields or {}).items())
        groups.setdefault((id(point.provider), *own), []).append(point)
    return list(groups.values())


def _used_twice(source: Source, points: list[Point], names: set[str]) -> list[Problem]:
    """Find tests and benchmarks whose name was used before."""
    found = []
    for point in points:
        if point.provider.returns and point.text in names:
            name, kind = point.parts[0], point.provider.name.upper()
            text = f'"{name}" was used as the name for more than one {kind} probe'
            found.append(source.problem(point.at, text))
        names.add(point.text)
    return found
