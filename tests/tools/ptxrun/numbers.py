"""Bits and what they mean: integers of some width, IEEE floats of 16, 32 and 64 bits."""

from __future__ import annotations

import math
import struct

_I32, _F32 = struct.Struct("<I"), struct.Struct("<f")
_I64, _F64 = struct.Struct("<Q"), struct.Struct("<d")
_I16, _F16 = struct.Struct("<H"), struct.Struct("<e")
NAN32, NAN64, NAN16 = 0x7FFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x7FFF


def f32(bits):
    return _F32.unpack(_I32.pack(bits))[0]


def p32(value):
    try:
        return _I32.unpack(_F32.pack(value))[0] if value == value else NAN32
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000


def f64(bits):
    return _F64.unpack(_I64.pack(bits))[0]


def p64(value):
    return _I64.unpack(_F64.pack(value))[0] if value == value else NAN64


def f16(bits):
    return _F16.unpack(_I16.pack(bits & 0xFFFF))[0]


def p16(value):
    try:
        return _I16.unpack(_F16.pack(value))[0] if value == value else NAN16
    except OverflowError:
        return 0x7C00 if value > 0 else 0xFC00


def bf16(bits):
    return f32((bits & 0xFFFF) << 16)


def pbf16(value):
    if value != value:
        return NAN16
    bits = p32(value)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) & 0xFFFF


FLOATS = {"f16": (f16, p16), "bf16": (bf16, pbf16), "f32": (f32, p32), "tf32": (f32, p32), "f64": (f64, p64)}


def signed(value, bits):
    sign = 1 << (bits - 1)
    return ((value & ((1 << bits) - 1)) ^ sign) - sign


def divide(a, b):
    if b:
        try:
            return a / b
        except OverflowError:
            return math.inf
    if a != a or a == 0 or b != b:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def quotient(a, b, bits):
    """Integer division as PTX has it: towards zero, all ones for a zero divisor."""
    if not b:
        return (1 << bits) - 1
    sign = -1 if (a < 0) != (b < 0) else 1
    return sign * (abs(a) // abs(b))


def remainder(a, b):
    return a if not b else (abs(a) % abs(b)) * (-1 if a < 0 else 1)


def root(value):
    return math.sqrt(value) if value >= 0 else math.nan


def power_of_two(value):
    try:
        return 2.0**value
    except OverflowError:
        return math.inf


def logarithm(value):
    if value > 0:
        return math.log2(value) if value != math.inf else value
    return -math.inf if value == 0 else math.nan


def least(a, b):
    if a != a or b != b:
        return b if a != a else a
    return min(a, b) if a != b else (a if math.copysign(1, a) < 0 else b)


def most(a, b):
    if a != a or b != b:
        return b if a != a else a
    return max(a, b) if a != b else (b if math.copysign(1, a) < 0 else a)


def rounded(value, mode):
    """Round a float to an integer value: `rni`, `rzi`, `rmi`, `rpi`."""
    if value != value or math.isinf(value):
        return value
    how = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}[mode]
    return math.copysign(float(how(value)), value)


def to_integer(value, mode, bits, is_signed):
    """Convert a float as `cvt` does: saturated, NaN is 0."""
    if value != value:
        return 0
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
    if math.isinf(value):
        return high if value > 0 else low
    return max(low, min(high, int(rounded(value, mode))))
