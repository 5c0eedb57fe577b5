"""The language on bad input: only a `Problem` comes out, and soon."""

from __future__ import annotations

import pytest

from runtime.errors import Problem
from runtime.lang import compile_script
from tests.fuzz.lang import attempt

DEEP = 10_000
NESTED = {
    "parentheses": "begin { print(" + "(" * DEEP + "1" + ")" * DEEP + "); }",
    "blocks": "begin " + "{" * DEEP + "}" * DEEP,
    "unary": "begin { print(" + "-" * DEEP + "1); }",
    "a chain of additions": "begin { $a = 1; print($a" + " + $a" * DEEP + "); }",
    "else if": "begin { $a = 1; if ($a) { }" + " else if ($a) { }" * DEEP + " }",
    "indices": "begin { $a = 1; print($a" + "[0]" * DEEP + "); }",
    "casts": "begin { print(" + "(int8)" * DEEP + "1); }",
    "ternaries": "begin { print(" + "1 ? 1 : " * DEEP + "1); }",
    "tuples": "begin { print(" + "(1," * DEEP + "1" + ")" * DEEP + "); }",
    "types": "begin { print((" + "typeof(" * DEEP + "1" + ")" * DEEP + ")1); }",
    "typeof": "begin { print(" + "sizeof(typeof(" * DEEP + "1" + "))" * DEEP + "); }",
}


@pytest.mark.parametrize("block", range(20))
def test_spliced_tokens(block: int) -> None:
    for seed in range(block * 250, block * 250 + 250):
        attempt(seed)


@pytest.mark.parametrize("name", NESTED)
def test_deep_nesting_is_an_error(name: str) -> None:
    with pytest.raises(Problem, match="nested more than"):
        compile_script(NESTED[name])


def test_a_large_script_compiles() -> None:
    text = "begin { $a = 1; " + "@x[$a] = $a + 2; " * 1500 + "}"
    assert len(compile_script(text).object.programs[0].insns) > 1500 * 8


def test_a_huge_probe_is_refused() -> None:
    text = "begin { if ($1) { " + "@x[1] = 2; " * 5000 + "} }"
    with pytest.raises(Problem, match="too large"):
        compile_script(text)
