"""The abstract numbers hold every concrete result: random sets of values against exact arithmetic."""

from __future__ import annotations

import operator
import random

import pytest

from runtime.ebpf.insn import ADD, AND, ARSH, DIV, LSH, MOD, MUL, OR, RSH, SUB, XOR
from runtime.verify import arithmetic as ar
from runtime.verify import branches as br
from runtime.verify import number as nu

EDGES = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**32]
EDGES += [2**63 - 1, 2**63, 2**64 - 1, 2**64 - 2, 2**64 - 4095, 2**64 - 2**31, 2**64 - 2**31 - 1]
STEPS = (0, 1, 15, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
OPS = [ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR, ARSH]
COMPARE = {
    br.JEQ: operator.eq,
    br.JNE: operator.ne,
    br.JGT: operator.gt,
    br.JGE: operator.ge,
    br.JLT: operator.lt,
    br.JLE: operator.le,
    br.JSGT: operator.gt,
    br.JSGE: operator.ge,
    br.JSLT: operator.lt,
    br.JSLE: operator.le,
    br.JSET: lambda a, b: a & b != 0,
    -br.JSET: lambda a, b: a & b == 0,
}
SIGNED = (br.JSGT, br.JSGE, br.JSLT, br.JSLE)


def holds(number, value):
    lo, hi, slo, shi, mask, val = number[:6]
    if len(number) > 6 and not holds(number[6], value & nu.M32):
        return False
    width = 32 if hi < 2**32 else 64
    signed = ar.to_signed(value & (2**width - 1), width)
    return lo <= value <= hi and slo <= signed <= shi and value & ~mask & nu.M64 == val


def value(rng):
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(EDGES)
    if kind < 0.7:
        return rng.randrange(0, 300)
    if kind < 0.8:
        return (rng.choice(EDGES) + rng.randrange(-3, 4)) % 2**64
    return rng.getrandbits(rng.choice([8, 16, 32, 40, 64]))


def sample(rng):
    """A number and some values that it must hold."""
    values = [value(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
    number = nu.const(values[0])
    for item in values[1:]:
        old, number = number, nu.join(number, nu.const(item))
        if rng.random() < 0.3:
            number = nu.widen(old, number, STEPS)
    if rng.random() < 0.4:
        op, width, other = rng.choice(list(COMPARE)), rng.choice([32, 64]), nu.const(value(rng))
        kept = [v for v in values if outcome(op, width, v, other[0])]
        pair = br.refine(op, width, number, other)
        if kept:
            assert pair is not None, (op, width, number, other, kept)
            number, values = pair[0], kept
    return number, values


def outcome(op, width, a, b):
    a, b = a & (2**width - 1), b & (2**width - 1)
    if op in SIGNED:
        a, b = ar.to_signed(a, width), ar.to_signed(b, width)
    return COMPARE[op](a, b)


@pytest.mark.parametrize("seed", range(20))
def test_results_are_held(seed):
    rng = random.Random(seed)
    for _ in range(1500):
        a, avalues = sample(rng)
        b, bvalues = sample(rng)
        for v in avalues:
            assert holds(a, v), (a, v)
        op, width = rng.choice(OPS), rng.choice([32, 64])
        check_operation(op, width, (a, avalues), (b, bvalues))
        check_compare(rng.choice(list(COMPARE)), width, (a, avalues), (b, bvalues))
        check_unary(rng, a, avalues)
        both = nu.join(a, b)
        assert all(holds(both, v) for v in avalues + bvalues), (a, b, both)
        assert nu.join(both, a) == both
        assert all(holds(nu.widen(a, both, STEPS), v) for v in avalues + bvalues)
        assert holds(nu.low32(a), avalues[0] & nu.M32)


def check_operation(op, width, a, b):
    limit = 2**width - 1
    result = ar.alu(op, width, a[0], b[0])
    for x in a[1]:
        for y in b[1]:
            exact = ar.concrete(op, width, x & limit, y & limit)
            assert holds(result, exact), (op, width, a, b, x, y, exact, result)
            if op in (DIV, MOD):
                signed = ar.alu_signed(op, width, a[0], b[0])
                exact = ar.concrete_signed(op, width, x & limit, y & limit)
                assert holds(signed, exact), (op, width, a, b, x, y, exact, signed)


def check_compare(op, width, a, b):
    pair = br.refine(op, width, a[0], b[0])
    for x in a[1]:
        for y in b[1]:
            if outcome(op, width, x, y):
                assert pair is not None, (op, width, a, b)
                assert holds(pair[0], x), (op, width, a, b, pair)
                assert holds(pair[1], y), (op, width, a, b, pair)


def check_unary(rng, a, values):
    width = rng.choice([32, 64])
    source = rng.choice([8, 16, 32]) if width == 64 else rng.choice([8, 16])
    extended, swapped = ar.sign_extend(source, width, a), ar.byte_swap(source, True, a)
    for v in values:
        low = v & (2**source - 1)
        assert holds(extended, ar.to_signed(low, source) & (2**width - 1)), (source, width, a, v, extended)
        assert holds(swapped, int.from_bytes(low.to_bytes(source // 8, "little"), "big"))


def test_idioms_of_compiled_c_stay_exact():
    x = nu.UNKNOWN
    assert ar.alu(AND, 64, x, nu.const(63))[1] == 63
    length = nu.signed(-4095, 256)
    pair = ar.alu(ARSH, 64, ar.alu(LSH, 64, length, nu.const(32)), nu.const(32))
    assert nu.signed64(pair) == (-4095, 256)
    low = nu.low32(length)
    assert br.refine(br.JSGT, 32, low, nu.const(0))[0][:2] == (1, 256)
