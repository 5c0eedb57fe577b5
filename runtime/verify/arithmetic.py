"""Arithmetic on numbers of which only bounds and bits are known. Semantics of operations: RFC 9669.

Each function takes the width (32 or 64) and operands that are already reduced to that width, and returns a
number that holds every possible result; 32-bit results are zero-extended.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.ebpf.insn import ADD, AND, ARSH, DIV, LSH, MOD, MUL, OR, RSH, SUB, XOR
from runtime.verify.number import (
    M64,
    UNKNOWN,
    UNKNOWN32,
    Number,
    bits,
    const,
    is_const,
    low32,
    normal,
    signed32,
    signed64,
)

Operation = Callable[[int, Number, Number], Number]


def alu(op: int, width: int, a: Number, b: Number) -> Number:
    """Result of `a op b` for the operations ADD to ARSH except NEG, MOV and END; unsigned DIV and MOD."""
    if width == 32:
        a, b = low32(a), low32(b)
    if is_const(a) and is_const(b):
        return const(concrete(op, width, a[0], b[0]))
    return _OPERATIONS[op](width, a, b)


def concrete(op: int, width: int, a: int, b: int) -> int:
    """The exact result for two unsigned numbers of `width` bits."""
    limit = (1 << width) - 1
    if op in (LSH, RSH, ARSH):
        b &= width - 1
    if op == ARSH:
        return (to_signed(a, width) >> b) & limit
    if op == DIV:
        return a // b if b else 0
    if op == MOD:
        return a % b if b else a
    return _EXACT[op](a, b) & limit


def concrete_signed(op: int, width: int, a: int, b: int) -> int:
    """The exact result of signed division or remainder, truncating towards zero."""
    limit = (1 << width) - 1
    x, y = to_signed(a, width), to_signed(b, width)
    if not y:
        return 0 if op == DIV else a
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    return (quotient if op == DIV else x - quotient * y) & limit


def to_signed(value: int, width: int) -> int:
    """Reinterpret an unsigned number of `width` bits as signed."""
    return value - (1 << width) if value >> (width - 1) & 1 else value


def alu_signed(op: int, width: int, a: Number, b: Number) -> Number:
    """Signed DIV or MOD."""
    if width == 32:
        a, b = low32(a), low32(b)
    if is_const(a) and is_const(b):
        return const(concrete_signed(op, width, a[0], b[0]))
    lo, hi = _signed(width, a)
    divisor = to_signed(b[0], width) if is_const(b) else 0
    if divisor <= 1:
        return _any(width)
    if op == DIV:
        return _ranged(width, _towards_zero(lo, divisor), _towards_zero(hi, divisor))
    return _ranged(width, max(lo, 1 - divisor) if lo < 0 else 0, min(hi, divisor - 1) if hi > 0 else 0)


def negate(width: int, a: Number) -> Number:
    """Two's complement of `a`."""
    return alu(SUB, width, const(0), a)


def sign_extend(from_bits: int, width: int, a: Number) -> Number:
    """Sign-extend the low `from_bits` (8, 16, 32) to `width` bits; zero-extended beyond."""
    if is_const(a):
        low = a[0] & ((1 << from_bits) - 1)
        return const(to_signed(low, from_bits) & ((1 << width) - 1))
    half = 1 << (from_bits - 1)
    if from_bits == 32:
        lo, hi = signed32(a)
    elif a[1] < half:
        lo, hi = a[0], a[1]
    else:
        lo, hi = -half, half - 1
    mask, val = a[4] & (2 * half - 1), a[5] & (2 * half - 1)
    above = (1 << width) - 2 * half
    if mask & half:
        mask |= above
    elif val & half:
        val |= above
    return normal(width, (0, (1 << width) - 1, lo, hi, mask, val)) or _any(width)


def byte_swap(count: int, swap: bool, a: Number) -> Number:
    """Reverse the bytes of the low `count` bits (or keep their order) and zero the rest."""
    if is_const(a):
        low = a[0] & ((1 << count) - 1)
        return const(int.from_bytes(low.to_bytes(count // 8, "little"), "big" if swap else "little"))
    if count == 64 and not swap:
        return a
    if not swap:
        return alu(AND, 64, a, const((1 << count) - 1))
    return bits(count)


def _signed(width: int, a: Number) -> tuple[int, int]:
    return signed64(a) if width == 64 else signed32(a)


def _any(width: int) -> Number:
    return UNKNOWN if width == 64 else UNKNOWN32


def _ranged(width: int, slo: int, shi: int) -> Number:
    limit = (1 << width) - 1
    return normal(width, (0, limit, slo, shi, limit, 0)) or _any(width)


def _made(width: int, unsigned: tuple[int, int], signed: tuple[int, int], mask: int, val: int) -> Number:
    """Bounds as computed without wrapping; those that do not fit are dropped."""
    limit, half = (1 << width) - 1, 1 << width - 1
    lo, hi = unsigned
    if lo >> width == hi >> width:
        lo, hi = lo & limit, hi & limit
    else:
        lo, hi = 0, limit
    slo, shi = signed
    if slo < -half or shi >= half:
        slo, shi = -half, half - 1
    return normal(width, (lo, hi, slo, shi, mask & limit, val & limit & ~mask)) or _any(width)


def _add(width: int, a: Number, b: Number) -> Number:
    (alo, ahi), (blo, bhi) = _signed(width, a), _signed(width, b)
    base = a[5] + b[5]
    mask = (base ^ (base + a[4] + b[4])) | a[4] | b[4]
    return _made(width, (a[0] + b[0], a[1] + b[1]), (alo + blo, ahi + bhi), mask & M64, base & M64)


def _sub(width: int, a: Number, b: Number) -> Number:
    (alo, ahi), (blo, bhi) = _signed(width, a), _signed(width, b)
    base = a[5] - b[5]
    mask = ((base + a[4]) ^ (base - b[4])) | a[4] | b[4]
    return _made(width, (a[0] - b[1], a[1] - b[0]), (alo - bhi, ahi - blo), mask & M64, base & M64)


def _mul(width: int, a: Number, b: Number) -> Number:
    (alo, ahi), (blo, bhi) = _signed(width, a), _signed(width, b)
    products = (alo * blo, alo * bhi, ahi * blo, ahi * bhi)
    zeros = min(_low_zeros(a) + _low_zeros(b), 64)
    mask = M64 ^ ((1 << zeros) - 1)
    return _made(width, (a[0] * b[0], a[1] * b[1]), (min(products), max(products)), mask, 0)


def _low_zeros(a: Number) -> int:
    set_bits = a[4] | a[5]
    return (set_bits & -set_bits).bit_length() - 1 if set_bits else 64


def _and(width: int, a: Number, b: Number) -> Number:
    known_one = a[5] & b[5]
    mask = (a[4] | a[5]) & (b[4] | b[5]) & ~known_one
    return _from_bits(width, 0, min(a[1], b[1]), mask, known_one)


def _or(width: int, a: Number, b: Number) -> Number:
    known_one = a[5] | b[5]
    mask = (a[4] | b[4]) & ~known_one
    return _from_bits(width, max(a[0], b[0]), _full(a[1] | b[1]), mask, known_one)


def _xor(width: int, a: Number, b: Number) -> Number:
    mask = a[4] | b[4]
    return _from_bits(width, 0, _full(a[1] | b[1]), mask, (a[5] ^ b[5]) & ~mask)


def _full(value: int) -> int:
    return (1 << value.bit_length()) - 1


def _from_bits(width: int, lo: int, hi: int, mask: int, val: int) -> Number:
    half = 1 << width - 1
    return normal(width, (lo, hi, -half, half - 1, mask, val)) or _any(width)


def _lsh(width: int, a: Number, b: Number) -> Number:
    if not is_const(b):
        if b[1] < width:
            return _from_bits(width, 0, _limit(width, a[1] << b[1]), (1 << width) - 1, 0)
        return _any(width)
    by = b[0] & (width - 1)
    slo, shi = _signed(width, a)
    if by >= 32:  # only the low half is left, whose signed bounds may be tighter
        slo, shi = signed32(a)
    limit = (1 << width) - 1
    return _made(
        width, (a[0] << by, a[1] << by), (slo << by, shi << by), a[4] << by & limit, a[5] << by & limit
    )


def _limit(width: int, value: int) -> int:
    return min(value, (1 << width) - 1)


def _rsh(width: int, a: Number, b: Number) -> Number:
    if not is_const(b):
        least = b[0] if b[1] < width else 0
        most = b[1] if b[1] < width else width - 1
        return _from_bits(width, a[0] >> most, a[1] >> least, (1 << width) - 1, 0)
    by = b[0] & (width - 1)
    return _from_bits(width, a[0] >> by, a[1] >> by, a[4] >> by, a[5] >> by)


def _arsh(width: int, a: Number, b: Number) -> Number:
    slo, shi = _signed(width, a)
    if not is_const(b):
        return _ranged(width, min(slo, 0), max(shi, 0) if shi >= 0 else -1)
    by = b[0] & (width - 1)
    limit, half = (1 << width) - 1, 1 << width - 1
    mask = (to_signed(a[4], width) >> by) & limit
    val = (to_signed(a[5], width) >> by) & limit & ~mask
    if not a[4] & half and not a[5] & half:
        mask, val = a[4] >> by, a[5] >> by
    return normal(width, (0, limit, slo >> by, shi >> by, mask, val)) or _any(width)


def _div(width: int, a: Number, b: Number) -> Number:
    lo = a[0] // b[1] if b[0] else 0
    hi = a[1] // b[0] if b[0] else a[1]
    return _from_bits(width, lo, hi, (1 << width) - 1, 0)


def _mod(width: int, a: Number, b: Number) -> Number:
    if b[0] and a[1] < b[0]:
        return a
    hi = min(a[1], b[1] - 1) if b[0] else a[1]
    return _from_bits(width, 0, hi, (1 << width) - 1, 0)


def _towards_zero(value: int, divisor: int) -> int:
    return value // divisor if value >= 0 else -(-value // divisor)


_EXACT: dict[int, Callable[[int, int], int]] = {
    ADD: lambda a, b: a + b,
    SUB: lambda a, b: a - b,
    MUL: lambda a, b: a * b,
    OR: lambda a, b: a | b,
    AND: lambda a, b: a & b,
    XOR: lambda a, b: a ^ b,
    LSH: lambda a, b: a << b,
    RSH: lambda a, b: a >> b,
}
_OPERATIONS: dict[int, Operation] = {
    ADD: _add,
    SUB: _sub,
    MUL: _mul,
    DIV: _div,
    OR: _or,
    AND: _and,
    LSH: _lsh,
    RSH: _rsh,
    MOD: _mod,
    XOR: _xor,
    ARSH: _arsh,
}
