"""Bucket bounds and labels of hist and lhist, from bucket numbers (`language.md` on hist)."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.events import Bucket, Histogram

UNITS = "KMGTPE"


def hist(counts: Sequence[int], bits: int) -> Histogram:
    """Histogram of powers of two with `bits` of sub-buckets, from all its counters."""

    def bucket(index: int) -> Bucket:
        if index == 0:
            return Bucket(None, -1, "(..., 0)", counts[0])
        low, high = bound(index, bits), bound(index + 1, bits)
        label = f"[{low}]" if high == low + 1 else f"[{label_of(index, bits)}, {label_of(index + 1, bits)})"
        return Bucket(low, high - 1, label, counts[index])

    return Histogram(tuple(bucket(index) for index in _filled(counts)))


def lhist(counts: Sequence[int], low: int, high: int, step: int) -> Histogram:
    """Linear histogram from all its counters."""
    last = (high - low) // step + 1

    def bucket(index: int) -> Bucket:
        if index == 0:
            return Bucket(None, low - 1, f"(..., {_step_label(low, step)})", counts[0])
        start = low + (index - 1) * step
        if index == last:
            return Bucket(start, None, f"[{_step_label(start, step)}, ...)", counts[index])
        label = f"[{_step_label(start, step)}, {_step_label(start + step, step)})"
        return Bucket(start, start + step - 1, label, counts[index])

    return Histogram(tuple(bucket(index) for index in _filled(counts)))


def _filled(counts: Sequence[int]) -> range:
    filled = [index for index, count in enumerate(counts) if count]
    return range(filled[0], filled[-1] + 1) if filled else range(0)


def bound(index: int, bits: int) -> int:
    """Lower bound of a bucket of hist."""
    if index <= 2 << bits:
        return index - 1
    j = index - 1
    return (1 << ((j >> bits) - 1)) * ((1 << bits) + (j & (1 << bits) - 1))


def label_of(index: int, bits: int) -> str:
    """Lower bound of a bucket of hist as text, with a unit from 2^10 times the bucket's width up."""
    value = bound(index, bits)
    exponent = value.bit_length() - 1 - bits
    if value == 0 or exponent < 10:
        return str(value)
    unit = min(exponent // 10, len(UNITS))
    return f"{value >> (10 * unit)}{UNITS[unit - 1]}"


def _step_label(value: int, step: int) -> str:
    if step % 1024 == 0:
        if value and value % (1 << 20) == 0:
            return f"{value >> 20}M"
        if value and value % 1024 == 0:
            return f"{value >> 10}K"
    return str(value)
