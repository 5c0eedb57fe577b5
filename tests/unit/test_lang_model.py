"""Integers of all widths and signs: operators, casts and promotion against a model in Python, on edge values."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.tools.script import run_script

TYPES = [(size, signed) for size in (1, 2, 4, 8) for signed in (True, False)]
OPERATORS = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", ">", "<=", ">=", "&&", "||")
COMPARED = {
    "==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, ">": int.__gt__, "<=": int.__le__, ">=": int.__ge__,
}  # fmt: skip
CHUNK = 120  # expressions a program

Type = tuple[int, bool]


def name(kind: Type) -> str:
    return f"{'' if kind[1] else 'u'}int{8 * kind[0]}"


def edges(kind: Type) -> list[int]:
    size, signed = kind
    bits = 8 * size - signed
    low = -(1 << bits) if signed else 0
    return sorted({0, 1, 2, 7, (1 << bits) - 1, (1 << bits) // 2, low, low + 1, -1 if signed else 1})


def fit(value: int, kind: Type) -> int:
    size, signed = kind
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value


def literal(value: int) -> str:
    return f"({value})" if value >= 0 else f"(-{-value})"


def unsigned(value: int) -> int:
    return value & (1 << 64) - 1


def model(op: str, a: int, left: Type, b: int, right: Type) -> str:
    """What the language prints for two typed values: both are 64 bits wide, signed if either is, or by `-`."""
    signed = left[1] or right[1]
    if op in ("&&", "||"):
        return str((bool(a) and bool(b)) if op == "&&" else (bool(a) or bool(b))).lower()
    if op in COMPARED:
        pair = (a, b) if signed else (unsigned(a), unsigned(b))
        wide = tuple(fit(value, (8, signed)) for value in pair)
        return str(COMPARED[op](*wide)).lower()
    x, y = unsigned(a), unsigned(b)
    if op in "<<>>":
        result = x << (y & 63) if op == "<<" else x >> (y & 63)
        return str(fit(result, (8, left[1])))
    if op in "/%":
        result = 1 if y == 0 else x // y if op == "/" else x % y
    else:
        result = {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[op]
    return str(fit(result, (8, signed or op == "-")))


def printed(lines: list[str]) -> list[str]:
    status, out, err = run_script("begin { " + " ".join(lines) + " }")
    assert status == 0, err
    return out.splitlines()


def check(rows: list[tuple[str, str]]) -> None:
    """Each row is a piece of program that prints one line, and that line."""
    for chunk in (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)):
        got = printed([text for text, _ in chunk])
        for (text, expected), line in zip(chunk, got, strict=True):
            assert line == expected, text


@pytest.mark.parametrize("op", OPERATORS)
def test_operators_on_variables(op: str) -> None:
    chance = random.Random(op)
    rows = []
    for left, right in itertools.product(TYPES, TYPES):
        pairs = list(itertools.product(edges(left), edges(right)))
        for a, other in chance.sample(pairs, 6):
            b = other & 31 if op in "<<>>" else other
            text = (
                f"{{ $a = ({name(left)}){literal(a)}; $b = ({name(right)}){literal(b)}; print($a {op} $b); }}"
            )
            rows.append((text, model(op, a, left, b, right)))
    check(rows)


def test_casts_between_integers() -> None:
    rows = []
    for left, right in itertools.product(TYPES, TYPES):
        for a in edges(left):
            text = f"{{ $a = ({name(left)}){literal(a)}; print(({name(right)})$a); }}"
            rows.append((text, str(fit(a, right))))
    check(rows)


def join(left: Type, right: Type) -> Type:
    """The promotion of two integer types that are assigned to one place."""
    if left[1] == right[1]:
        return max(left[0], right[0]), left[1]
    signed, other = (left, right) if left[1] else (right, left)
    if signed[0] > other[0]:
        return signed
    return min(8, 2 * other[0]), True


@pytest.mark.parametrize("where", ["variable", "map", "keyed map", "tuple"])
def test_promotion(where: str) -> None:
    rows = []
    for number, (left, right) in enumerate(itertools.product(TYPES, TYPES)):
        kind = join(left, right)
        a, b = f"({name(left)})1", f"({name(right)})1"
        place = {"variable": "$x", "map": f"@x{number}", "keyed map": f"@x{number}[5]", "tuple": "$x"}[where]
        if where == "tuple":
            a, b, shown = f"(1, {a})", f"(1, {b})", f"sizeof({place}.1)"
        else:
            shown = f"sizeof({place})"
        text = f"{{ {place} = {a}; {place} = {b}; print({shown}); }}"
        clear = f" clear(@x{number});" if "map" in where else ""
        rows.append((text.replace(" }", clear + " }"), str(kind[0])))
    check(rows)


@pytest.mark.parametrize("op", ["-", "~", "!"])
def test_unary(op: str) -> None:
    rows = []
    for kind in TYPES:
        for a in edges(kind):
            value = {"-": -a, "~": ~a}.get(op)
            text = f"{{ $a = ({name(kind)}){literal(a)}; print({op}$a); }}"
            rows.append((text, str(not a).lower() if value is None else str(fit(value, (8, kind[1])))))
    check(rows)


def test_steps_wrap_at_64_bits_or_at_the_written_type() -> None:
    rows = []
    for kind in TYPES:
        for a in edges(kind):
            text = f"{{ let $a : {name(kind)} = ({name(kind)}){literal(a)}; $a++; print($a); }}"
            rows.append((text, str(fit(a + 1, kind))))
    check(rows)


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])
def test_compound_assignments_are_the_operator(op: str) -> None:
    rows = []
    for a, b in itertools.product((0, 1, 7, 100, -5), (1, 2, 3, 9)):
        text = f"{{ $a = (int64){literal(a)}; $b = (int64){b}; $c = $a; $c {op}= $b; print($c == ($a {op} $b)); }}"
        rows.append((text, "true"))
    check(rows)


def test_literals_fold_as_they_run() -> None:
    """What the compiler computes is what a program computes, where no sign is lost."""
    rows = []
    chance = random.Random(5)
    for _ in range(300):
        a, b = chance.choice((0, 1, 5, 255, 1 << 31, 1 << 40)), chance.choice((1, 2, 3, 10, 63))
        op = chance.choice(("+", "-", "*", "/", "%", "&", "|", "^", ">>", "<", "==", ">="))
        rows.append(
            (f"{{ $a = (int64){a}; $b = (int64){b}; print(({a} {op} {b}) == ($a {op} $b)); }}", "true")
        )
    check(rows)
