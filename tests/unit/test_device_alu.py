"""Arithmetic and jumps of eBPF in a GPU kernel, executed: every operation on numbers at the edges (RFC 9669)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import product

import pytest

from runtime.maps.spec import MapSpec
from tests.tools.bodies import program
from tests.tools.devicerun import KEEP_AND_END, DeviceRun

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
EDGES = (
    0,
    1,
    2,
    31,
    63,
    64,
    0x7F,
    0x8001,
    0x7FFFFFFF,
    1 << 31,
    M32,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    M64,
    -7 & M64,
)
PAIRS = list(product(EDGES, EDGES))
IN = MapSpec("in", 1503, 4, 16, len(PAIRS))
OUT = MapSpec("out", 1503, 4, 8, len(PAIRS))
HEAD = """
call linear_thread
*(u32 *)(r10 - 4) = r0
r1 = map[in] ll
r2 = r10
r2 += -4
call map_lookup_elem
if r0 == 0 goto end
r6 = *(u64 *)(r0 + 0)
r7 = *(u64 *)(r0 + 8)
"""
TAIL = KEEP_AND_END.format(register="r6")


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def quotient(a: int, b: int, bits: int) -> int:
    if not b:
        return 0
    a, b = signed(a, bits), signed(b, bits)
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int, bits: int) -> int:
    if not b:
        return a
    x, y = signed(a, bits), signed(b, bits)
    return abs(x) % abs(y) * (-1 if x < 0 else 1)


BINARY: dict[str, Callable[[int, int, int], int]] = {
    "+=": lambda a, b, _: a + b,
    "-=": lambda a, b, _: a - b,
    "*=": lambda a, b, _: a * b,
    "/=": lambda a, b, _: a // b if b else 0,
    "%=": lambda a, b, _: a % b if b else a,
    "s/=": quotient,
    "s%=": remainder,
    "|=": lambda a, b, _: a | b,
    "&=": lambda a, b, _: a & b,
    "^=": lambda a, b, _: a ^ b,
    "<<=": lambda a, b, bits: a << (b & bits - 1),
    ">>=": lambda a, b, bits: a >> (b & bits - 1),
    "s>>=": lambda a, b, bits: signed(a, bits) >> (b & bits - 1),
    "=": lambda _a, b, _: b,
}


def swapped(value: int, size: int) -> int:
    return int.from_bytes((value & (1 << 8 * size) - 1).to_bytes(size, "little"), "big")


UNARY: dict[str, Callable[[int], int]] = {
    "r6 = -r6": lambda a: -a & M64,
    "w6 = -w6": lambda a: -a & M32,
    **{f"r6 = be{8 * n} r6": (lambda a, n=n: swapped(a, n)) for n in (2, 4, 8)},
    **{f"r6 = le{8 * n} r6": (lambda a, n=n: a & (1 << 8 * n) - 1) for n in (2, 4, 8)},
    **{f"r6 = bswap{8 * n} r6": (lambda a, n=n: swapped(a, n)) for n in (2, 4, 8)},
    **{f"r6 = (s{8 * n}) r6": (lambda a, n=n: signed(a, 8 * n) & M64) for n in (1, 2, 4)},
    **{f"w6 = (s{8 * n}) w6": (lambda a, n=n: signed(a, 8 * n) & M32) for n in (1, 2)},
}
JUMPS: dict[str, Callable[[int, int, int], bool]] = {
    "==": lambda a, b, _: a == b,
    "!=": lambda a, b, _: a != b,
    ">": lambda a, b, _: a > b,
    ">=": lambda a, b, _: a >= b,
    "<": lambda a, b, _: a < b,
    "<=": lambda a, b, _: a <= b,
    "s>": lambda a, b, bits: signed(a, bits) > signed(b, bits),
    "s>=": lambda a, b, bits: signed(a, bits) >= signed(b, bits),
    "s<": lambda a, b, bits: signed(a, bits) < signed(b, bits),
    "s<=": lambda a, b, bits: signed(a, bits) <= signed(b, bits),
    "&": lambda a, b, _: bool(a & b),
}


def results(text: str) -> list[int]:
    """Run an operation on all pairs, one thread each: r6 and r7 go in, r6 comes out."""
    run = DeviceRun([program(f"{HEAD}{text}{TAIL}")], [IN, OUT])
    view = run.memories[0][1]
    for number, pair in enumerate(PAIRS):
        struct.pack_into("<2Q", view, 128 + 16 * number, *pair)
    run.launch(0, 2, 128)
    return [run.number("out", number) for number in range(len(PAIRS))]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("sign", BINARY)
def test_two_registers_give_what_the_standard_says(sign: str, bits: int) -> None:
    letter, mask = ("r", M64) if bits == 64 else ("w", M32)
    want = [BINARY[sign](a & mask, b & mask, bits) & mask for a, b in PAIRS]
    assert results(f"{letter}6 {sign} {letter}7\n") == want


@pytest.mark.parametrize("text", UNARY)
def test_one_register_gives_what_the_standard_says(text: str) -> None:
    assert results(f"{text}\n") == [UNARY[text](a) for a, _ in PAIRS]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("sign", JUMPS)
def test_jumps_go_where_the_standard_says(sign: str, bits: int) -> None:
    letter, mask = ("r", M64) if bits == 64 else ("w", M32)
    want = [int(JUMPS[sign](a & mask, b & mask, bits)) for a, b in PAIRS]
    code = f"r8 = 1\nif {letter}6 {sign} {letter}7 goto yes\nr8 = 0\nyes:\nr6 = r8\n"
    assert results(code) == want
