"""The C part of a script to a scope of types, constants and macros."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from runtime.errors import Problem
from runtime.lang import tree
from runtime.lang.c.lexer import CError, CToken
from runtime.lang.c.parser import CParser
from runtime.lang.c.preprocess import Macros, Preprocessor, includes, read_output
from runtime.lang.c.scope import Scope, TypeSource
from runtime.lang.source import Source


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the C part of a script finds around it.

    `predefined`: macros. `headers` runs a compiler's preprocessor on a text; it is used where files are
    included, or are to be before the script (`leading`). `types`: where types come from that the script
    does not define.
    """

    predefined: Macros = field(default_factory=lambda: {"BPFTIME": "1"})
    headers: Callable[[str], str] | None = None
    leading: bool = False
    types: tuple[TypeSource, ...] = ()


def read_definitions(source: Source, definitions: list[tree.Definition], around: Surroundings) -> Scope:
    """Read everything before the probes.

    Raises:
        Problem: a definition is wrong, with its place; no preprocessor where one is needed.
    """
    scope = Scope(list(around.types))
    macros = dict(around.predefined)
    text = _only(source.text, definitions)
    try:
        if around.leading or includes(text):
            found = _with_headers(source, definitions, text, macros, around.headers)
        else:
            found = Preprocessor(macros).run(text)
        CParser(found, scope).parse()
    except CError as error:
        _fail(source, definitions, error)
    scope.macros = {name: body for name, body in macros.items() if body is not None}
    scope.parametric = frozenset(name for name, body in macros.items() if body is None)
    return scope


def _fail(source: Source, definitions: list[tree.Definition], error: CError) -> NoReturn:
    at = error.at
    if at[0] < 0 or at[0] >= len(source.text):
        at = definitions[-1].at if definitions else (0, 1)
    raise source.problem(at, str(error), error.hint) from None


def _only(text: str, definitions: list[tree.Definition]) -> str:
    """The text with everything but the definitions made blank, so that places stay what they are."""
    parts: list[str] = []
    at = 0
    for node in definitions:
        parts.append("".join("\n" if char == "\n" else " " for char in text[at : node.at[0]]))
        parts.append(node.text)
        at = node.at[1]
        if not node.text.lstrip().startswith("#") and not node.text.rstrip().endswith(";"):
            parts.append(";")  # scripts may leave the last one out
            at += 1
    return "".join(parts)


def _with_headers(
    source: Source,
    definitions: list[tree.Definition],
    text: str,
    macros: Macros,
    headers: Callable[[str], str] | None,
) -> list[CToken]:
    first = next((node for node in definitions if includes(node.text)), None)
    if headers is None:
        raise source.problem(
            first.at if first else (0, 1),
            "#include needs a C preprocessor, and none was found",
            "declare the struct in the script, give the binary debug info, or install cc or clang",
        )
    place = first.at if first else (0, 1)
    head = "".join(f"#define {name} {body}\n" for name, body in macros.items())
    try:
        output = headers(f'{head}#line 1 "<stdin>"\n{text}\n')
    except Problem as problem:
        raise source.problem(place, str(problem), problem.hint) from None
    return read_output(output, text, macros)
