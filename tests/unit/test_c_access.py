"""Every way to a member gives the same: pointer, variable, map, tuple, and the struct as it is printed."""

from __future__ import annotations

import ctypes
import json
import random

import pytest

from runtime.lang.c.lexer import tokens
from runtime.lang.c.parser import CParser
from runtime.lang.c.scope import Scope
from runtime.lang.c.types import Enum, Opaque, Struct
from runtime.lang.code import signed64
from runtime.lang.types import Array, Int, Type
from tests.tools.cstructs import HEAD, PATTERN, Structs
from tests.tools.script import run_script

LEAVES = 12  # members of one struct that are looked at
Leaf = tuple[str, str, list[str | int]]  # with literal indices, with variables, keys of the decoded value


def leaves(kind: Type, literal: str, variable: str, keys: list[str | int]) -> list[Leaf]:
    """All integers in a type, with both ways to write the path to each."""
    if isinstance(kind, Struct):
        return [
            leaf
            for f in kind.fields.values()
            for leaf in leaves(f.type, f"{literal}.{f.name}", f"{variable}.{f.name}", [*keys, f.name])
        ]
    if isinstance(kind, Array):
        return [
            leaf
            for i in range(kind.count)
            for leaf in leaves(kind.element, f"{literal}[{i}]", f"{variable}[$i{i}]", [*keys, i])
        ]
    if isinstance(kind, Enum | Opaque) or not isinstance(kind, Int):
        return []
    return [(literal, variable, keys)]


@pytest.mark.parametrize("seed", range(25))
def test_all_ways_lead_to_the_same(seed: int) -> None:
    maker = Structs(500 + seed)
    text = HEAD + maker.struct(0)[0]
    scope = Scope()
    CParser(tokens(text), scope).parse()
    struct = scope.tags["struct", "s0"]
    found = leaves(struct, "", "", [])
    chosen = random.Random(seed).sample(found, min(LEAVES, len(found)))
    indices = "".join(f"$i{i} = {i};" for i in range(4))
    ways = "".join(
        f"print((int64)$p{at}); print((int64)$p{by}); print((int64)$v{at}); print((int64)$v{by});"
        f" print((int64)@{at}); print((int64)@{by}); print((int64)$t.1{at}); print((int64)@k[1]{by});"
        for at, by, _ in chosen
    )
    program = (
        f"{text}uprobe:a:b {{ $p = (struct s0 *)arg0; {indices} $v = *$p; $t = (5, *$p); @ = *$p; @k[1] = $v;"
        f" print(@); {ways} clear(@); clear(@k); }}"
    )
    memory = ctypes.create_string_buffer(PATTERN, len(PATTERN) + 64)
    at = (ctypes.addressof(memory) + 63) & ~63
    ctypes.memmove(at, PATTERN, len(PATTERN))
    if struct.size == 0 or not chosen:
        pytest.skip("a struct without integers")
    status, out, err = run_script(program, calls=[[at]], form="json")
    assert status == 0, err
    printed = [json.loads(line)["data"] for line in out.splitlines()]
    values = [int(number) for number in printed[1:]]
    for index, (path, _, keys) in enumerate(chosen):
        expected = printed[0]["@"]
        for key in keys:
            expected = expected[key]
        assert values[8 * index : 8 * index + 8] == [signed64(int(expected))] * 8, (path, text)
