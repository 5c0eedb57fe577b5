"""What a comparison tells about the two numbers that it compares."""

from __future__ import annotations

from runtime.ebpf.insn import JEQ, JGE, JGT, JLE, JLT, JNE, JSET, JSGE, JSGT, JSLE, JSLT
from runtime.verify.number import (
    M64,
    S31,
    Number,
    is_const,
    keep32,
    low32,
    meet,
    normal,
    signed32,
    signed64,
    with_low,
)

Pair = tuple[Number, Number]

OPPOSITE = {
    JEQ: JNE,
    JNE: JEQ,
    JGT: JLE,
    JLE: JGT,
    JGE: JLT,
    JLT: JGE,
    JSGT: JSLE,
    JSLE: JSGT,
    JSGE: JSLT,
    JSLT: JSGE,
    JSET: -JSET,  # all tested bits are zero
}
_SWAPPED = {JGT: JLT, JGE: JLE, JSGT: JSLT, JSGE: JSLE}
_NOT_SET = -JSET


def refine(op: int, width: int, a: Number, b: Number) -> Pair | None:
    """Both numbers where `a op b` holds in `width` bits (32: of the low halves); None where it cannot."""
    if width == 64:
        return _refine(op, 64, a, b)
    low = _refine(op, 32, low32(a), low32(b))
    if low is None:
        return None
    return _lift(a, low[0]), _lift(b, low[1])


def _lift(whole: Number, low: Number) -> Number:
    """What is known about the whole number when its low half is in `low`."""
    if whole[1] < 1 << 32:
        return low
    slo, shi = signed64(whole)
    if slo >= -S31 and shi < S31:  # a sign-extended int: its low half tells everything
        llo, lhi = signed32(low)
        if low[1] < S31:
            llo, lhi = low[0], low[1]
        return normal(64, (*whole[:2], max(slo, llo), min(shi, lhi), *whole[4:6])) or whole
    return with_low(whole, low) if low != low32(whole) else whole


def _refine(op: int, width: int, a: Number, b: Number) -> Pair | None:
    if op in _SWAPPED:
        pair = _refine(_SWAPPED[op], width, b, a)
        return (pair[1], pair[0]) if pair else None
    if op == JEQ:
        both = meet(a, b)
        return (both, both) if both else None
    if op == JNE:
        return _different(width, a, b)
    if op in (JSET, _NOT_SET):
        return _bits(op, width, a, b)
    if op in (JLT, JLE):
        return _below(width, a, b, 1 if op == JLT else 0)
    return _below_signed(width, a, b, 1 if op == JSLT else 0)


def _narrow(width: int, before: Number, raw: Number) -> Number | None:
    out = normal(width, raw)
    return keep32(out, before) if width == 64 else out


def _view(width: int, a: Number) -> Number:
    """The number with signed bounds of `width` bits."""
    slo, shi = signed64(a) if width == 64 else signed32(a)
    return (a[0], a[1], slo, shi, a[4], a[5])


def _below(width: int, a: Number, b: Number, gap: int) -> Pair | None:
    x, y = _view(width, a), _view(width, b)
    left = _narrow(width, a, (x[0], min(x[1], y[1] - gap), *x[2:]))
    right = _narrow(width, b, (max(y[0], x[0] + gap), *y[1:]))
    return None if left is None or right is None else (left, right)


def _below_signed(width: int, a: Number, b: Number, gap: int) -> Pair | None:
    x, y = _view(width, a), _view(width, b)
    left = _narrow(width, a, (*x[:3], min(x[3], y[3] - gap), *x[4:]))
    right = _narrow(width, b, (*y[:2], max(y[2], x[2] + gap), *y[3:]))
    return None if left is None or right is None else (left, right)


def _different(width: int, a: Number, b: Number) -> Pair | None:
    left, right = _without(width, a, b), _without(width, b, a)
    return None if left is None or right is None else (left, right)


def _without(width: int, a: Number, b: Number) -> Number | None:
    """`a` without the constant `b`, where that is at an end of its bounds."""
    if not is_const(b):
        return a
    if is_const(a):
        return None if a[0] == b[0] else a
    lo, hi, slo, shi, mask, val = _view(width, a)
    value = b[0]
    signed = _view(width, b)[2]
    lo, hi = lo + (lo == value), hi - (hi == value)
    slo, shi = slo + (slo == signed), shi - (shi == signed)
    return _narrow(width, a, (lo, hi, slo, shi, mask, val))


def _bits(op: int, width: int, a: Number, b: Number) -> Pair | None:
    """`a & b != 0`, or for `_NOT_SET` `a & b == 0`."""
    maybe = (a[4] | a[5]) & (b[4] | b[5])
    if op == JSET:
        if not maybe:
            return None
        if is_const(b) and b[0] & (b[0] - 1) == 0:
            x = _view(width, a)
            left = _narrow(width, a, (*x[:4], x[4] & ~b[0], x[5] | b[0]))
            return (left, b) if left else None
        return a, b
    if a[5] & b[5]:
        return None
    if is_const(b):
        x = _view(width, a)
        left = _narrow(width, a, (*x[:4], x[4] & ~b[0] & M64, x[5]))
        return (left, b) if left else None
    return a, b
