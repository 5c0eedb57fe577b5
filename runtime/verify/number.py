"""What is known about a 64-bit number: unsigned and signed bounds and known bits.

A number is a plain tuple `(lo, hi, slo, shi, mask, val)`, for speed. `lo..hi` are unsigned bounds. `slo..shi`
are signed bounds of all 64 bits when `hi >= 2^32`, and of the low 32 bits when the upper half is known to be
zero (there the signed 64-bit bounds would say nothing new, and compiled C tests `int`s that way). A bit set
in `mask` is unknown, the others have the value that they have in `val`; `mask & val == 0`. A number with an
unknown upper half may have a seventh element: what is known about its low half beyond that, as a number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

Number = tuple[int, ...]  # six, at times seven elements, see `with_low`

W32, W64 = 1 << 32, 1 << 64
M32, M64 = W32 - 1, W64 - 1
S31, S63 = 1 << 31, 1 << 63

UNKNOWN: Number = (0, M64, -S63, S63 - 1, M64, 0)
UNKNOWN32: Number = (0, M32, -S31, S31 - 1, M32, 0)
BOOL: Number = (0, 1, 0, 1, 1, 0)


@lru_cache(maxsize=4096)
def const(value: int) -> Number:
    """The number that is exactly `value` (any integer, taken modulo 2^64)."""
    value &= M64
    half = S31 if value < W32 else S63
    signed = value - 2 * half if value >= half else value
    return (value, value, signed, signed, 0, value)


def unsigned(lo: int, hi: int) -> Number:
    """The numbers lo..hi, unsigned."""
    return normal(64, (lo, hi, -S63, S63 - 1, M64, 0)) or UNKNOWN


def signed(lo: int, hi: int) -> Number:
    """The numbers lo..hi, signed 64-bit."""
    return normal(64, (0, M64, lo, hi, M64, 0)) or UNKNOWN


def bits(count: int) -> Number:
    """Any number of `count` bits: 8, 16, 32 or 64."""
    return _OF_BITS[count]


def is_const(number: Number) -> bool:
    """True when only one value is possible."""
    return number[0] == number[1]


def signed64(number: Number) -> tuple[int, int]:
    """Signed bounds of all 64 bits."""
    return (number[0], number[1]) if number[1] < W32 else (number[2], number[3])


def signed32(number: Number) -> tuple[int, int]:
    """Signed bounds of the low 32 bits."""
    if number[1] < W32 or (number[2] >= -S31 and number[3] < S31):
        return number[2], number[3]
    return -S31, S31 - 1


def normal(width: int, raw: Number) -> Number | None:
    """Make bounds and bits agree, with signed bounds of `width` bits (32, 64); None when nothing is left."""
    lo, hi, slo, shi, mask, val = raw[:6]
    half = 1 << width - 1
    lo = max(lo, val)
    hi = min(hi, val | mask)
    if slo >= 0:
        lo, hi = max(lo, slo), min(hi, shi)
    elif shi < 0:
        lo, hi = max(lo, slo + 2 * half), min(hi, shi + 2 * half)
    if hi < half:
        slo, shi = max(slo, lo), min(shi, hi)
    elif lo >= half:
        slo, shi = max(slo, lo - 2 * half), min(shi, hi - 2 * half)
    if lo > hi or slo > shi:
        return None
    unknown = (1 << (lo ^ hi).bit_length()) - 1  # bits above are the same in all of lo..hi
    if (lo ^ val) & ~(mask | unknown) & M64:
        return None
    mask &= unknown
    val = (val | (lo & ~unknown)) & ~mask
    if not mask:
        return const(val)
    if width == 64 and hi < W32:
        slo, shi = _view32(lo, hi)
    return (lo, hi, slo, shi, mask, val)


def _view32(lo: int, hi: int) -> tuple[int, int]:
    if hi < S31:
        return lo, hi
    return (lo - W32, hi - W32) if lo >= S31 else (-S31, S31 - 1)


def low32(number: Number) -> Number:
    """The low 32 bits, zero-extended."""
    lo, hi, _, _, mask, val = number[:6]
    if hi < W32:
        return number
    if len(number) > 6:
        return cast(Number, number[6])
    slo, shi = signed32(number)
    lo, hi = (lo & M32, hi & M32) if lo >> 32 == hi >> 32 else (0, M32)
    return normal(32, (lo, hi, slo, shi, mask & M32, val & M32)) or UNKNOWN32


def with_low(whole: Number, low: Number) -> Number:
    """The same number, whose low half is known to be in `low`."""
    return cast(Number, (*whole[:6], low)) if whole[1] >= W32 else low


def join(a: Number, b: Number) -> Number:
    """The smallest number that holds both."""
    if a == b:
        return a
    out = _join(a, b)
    if len(a) > 6 or len(b) > 6:
        low = _join(low32(a), low32(b))
        return with_low(out, low) if low != low32(out) else out
    return out


def _join(a: Number, b: Number) -> Number:
    mask = a[4] | b[4] | (a[5] ^ b[5])
    lo, hi = min(a[0], b[0]), max(a[1], b[1])
    if hi < W32:
        slo, shi = min(a[2], b[2]), max(a[3], b[3])
    else:
        (alo, ahi), (blo, bhi) = signed64(a), signed64(b)
        slo, shi = min(alo, blo), max(ahi, bhi)
    return (lo, hi, slo, shi, mask, a[5] & ~mask)


def meet(a: Number, b: Number) -> Number | None:
    """What is in both, None when nothing is."""
    if (a[5] ^ b[5]) & ~(a[4] | b[4]):
        return None
    mask = a[4] & b[4]
    val = (a[5] | b[5]) & ~mask
    lo, hi = max(a[0], b[0]), min(a[1], b[1])
    if a[1] < W32 and b[1] < W32:
        return normal(32, (lo, hi, max(a[2], b[2]), min(a[3], b[3]), mask, val))
    (alo, ahi), (blo, bhi) = signed64(a), signed64(b)
    out = normal(64, (lo, hi, max(alo, blo), min(ahi, bhi), mask, val))
    narrow = a if a[1] < W32 else b
    return keep32(out, narrow) if narrow[1] < W32 else out


def keep32(number: Number | None, before: Number) -> Number | None:
    """Add the signed 32-bit bounds that were known `before` a step that only narrowed the number."""
    if number is None or number[1] >= W32 or before[1] >= W32:
        return number
    lo, hi, slo, shi, mask, val = number
    return normal(32, (lo, hi, max(slo, before[2]), min(shi, before[3]), mask, val))


def widen(old: Number, new: Number, steps: tuple[int, ...]) -> Number:
    """Extend `new`, which holds `old`, so that repetition ends: grown bounds move to the next of `steps`.

    `steps` are unsigned, ascending, and end with 2^64 - 1.
    """
    lo, hi, slo, shi, mask, val = new[:6]
    if lo < old[0]:
        lo = 0
    if hi > old[1]:
        hi = next(step for step in steps if step >= hi)
    if mask != old[4]:
        lowest = mask & -mask  # bits below stay known: counters that step by a power of two
        mask = ((1 << max(mask, hi).bit_length()) - 1) & -lowest
        val &= ~mask
    hi = min(hi, val | mask)
    if hi < W32:
        slo, shi = _widen_signed((old[2], old[3]), (slo, shi), S31, steps)
    else:
        slo, shi = _widen_signed(signed64(old), signed64(new), S63, steps)
    return normal(32 if hi < W32 else 64, (lo, hi, slo, shi, mask, val)) or UNKNOWN


def _widen_signed(
    old: tuple[int, int], new: tuple[int, int], half: int, steps: tuple[int, ...]
) -> tuple[int, int]:
    slo, shi = new
    if slo < old[0]:
        slo = -half if slo < -1 else slo
    if shi > old[1]:
        shi = min(half - 1, next(step for step in steps if step >= shi)) if shi >= 0 else half - 1
    return slo, shi


_OF_BITS = {8: unsigned(0, 0xFF), 16: unsigned(0, 0xFFFF), 32: UNKNOWN32, 64: UNKNOWN}
