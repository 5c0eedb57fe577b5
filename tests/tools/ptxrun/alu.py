"""Arithmetic as expressions over lanes: `a b c d` are bits of operands, cut to the width of the type.

`M` is the mask of the type, `W` its width, `S(x)` the signed value, `F(x)`/`P(x)` a float's value and bits.
"""

from __future__ import annotations

import math
import re
from functools import cache

from attachers.cuda.ptx.syntax import SIZES
from tests.tools.ptxrun import numbers as n

INTEGER = {
    "add": "(a + b) & M",
    "sub": "(a - b) & M",
    "mul24": "(S24(a) * S24(b)) & M",
    "mad24": "(S24(a) * S24(b) + c) & M",
    "sad": "(abs(X(a) - X(b)) + c) & M",
    "div": "quotient(X(a), X(b), W) & M",
    "rem": "remainder(X(a), X(b)) & M",
    "min": "min(X(a), X(b)) & M",
    "max": "max(X(a), X(b)) & M",
    "abs": "abs(S(a)) & M",
    "neg": "-a & M",
    "and": "a & b",
    "or": "a | b",
    "xor": "a ^ b",
    "not": "~a & M",
    "cnot": "int(not a)",
    "shl": "(a << b) & M if b < W else 0",
    "shr": "(X(a) >> min(b, W)) & M",
    "popc": "a.bit_count()",
    "clz": "W - a.bit_length()",
    "brev": "brev(a, W)",
    "bfind": "bfind(X(a), W)",
    "bfe": "bfe(a, b & 255, c & 255, W, signed_type) & M",
    "bfi": "bfi(a, b, c & 255, d & 255, W) & M",
    "lop3": "lop3(a, b, c, d)",
    "prmt": "prmt(a, b, c, mode)",
    "bmsk": "bmsk(a, b, clamp) & M",
    "szext": "szext(a, b, signed_type) & M",
    "slct": "a if S32(c) >= 0 else b",
    "selp": "a if c else b",
    "shf": "funnel(a, b, c, left, clamp)",
    "dp4a": "dp4a(a, b, c, signed_a, signed_b) & M",
    "testp": "testp(F(a), kind)",
    "copysign": "(b & ~H) | (a & H)",
}
FLOAT = {
    "add": "P(F(a) + F(b))",
    "sub": "P(F(a) - F(b))",
    "mul": "P(F(a) * F(b))",
    "fma": "P(F(a) * F(b) + F(c))",
    "mad": "P(F(a) * F(b) + F(c))",
    "div": "P(divide(F(a), F(b)))",
    "min": "P(least(F(a), F(b)))",
    "max": "P(most(F(a), F(b)))",
    "abs": "a & ~H",
    "neg": "a ^ H",
    "sqrt": "P(root(F(a)))",
    "rsqrt": "P(divide(1.0, root(F(a))))",
    "rcp": "P(divide(1.0, F(a)))",
    "sin": "P(sin(F(a)))",
    "cos": "P(cos(F(a)))",
    "ex2": "P(power_of_two(F(a)))",
    "lg2": "P(logarithm(F(a)))",
    "tanh": "P(tanh(F(a)))",
    "slct": "a if S32(c) >= 0 else b",
    "selp": "a if c else b",
    "copysign": "(b & ~H) | (a & H)",
    "testp": "testp(F(a), kind)",
}
COMPARE = {
    **{"eq": "x == y", "ne": "x != y", "lt": "x < y", "le": "x <= y", "gt": "x > y", "ge": "x >= y"},
    **{"lo": "x < y", "ls": "x <= y", "hi": "x > y", "hs": "x >= y"},
    "num": "x == x and y == y",
    "nan": "x != x or y != y",
}
UNORDERED = {
    f"{name}u": f"({COMPARE[name]}) or x != x or y != y" for name in ("eq", "ne", "lt", "le", "gt", "ge")
}


def brev(a, width):
    return int(f"{a:0{width}b}"[::-1], 2)


def bfind(a, width):
    a = ~a if a < 0 else a
    return a.bit_length() - 1 & 0xFFFFFFFF if a else 0xFFFFFFFF


def bfe(a, pos, length, width, is_signed):
    if not length:
        return 0
    msb = width - 1
    sign = (a >> min(pos + length - 1, msb)) & 1 if is_signed else 0
    value = (a >> pos) & ((1 << length) - 1) if pos < width else 0
    have = max(0, min(length, width - pos))
    return value | (-1 << have if sign else 0)


def bfi(a, b, pos, length, width):
    mask = ((1 << length) - 1) << pos & ((1 << width) - 1)
    return (b & ~mask) | (a << pos & mask)


def lop3(a, b, c, table):
    out = 0
    for index in range(8):
        if table >> index & 1:
            out |= (a if index & 4 else ~a) & (b if index & 2 else ~b) & (c if index & 1 else ~c)
    return out & 0xFFFFFFFF


def prmt(a, b, c, mode):
    data = (b << 32 | a).to_bytes(8, "little")
    if not mode:
        out = []
        for index in range(4):
            pick = c >> 4 * index & 15
            byte = data[pick & 7]
            out.append((0xFF if byte & 0x80 else 0) if pick & 8 else byte)
        return int.from_bytes(bytes(out), "little")
    k = c & 3
    order = {
        "f4e": [k, k + 1, k + 2, k + 3],
        "b4e": [k, (k - 1) & 7, (k - 2) & 7, (k - 3) & 7],
        "rc8": [k] * 4,
        "ecl": [max(k, i) for i in range(4)],
        "ecr": [min(k, i) for i in range(4)],
        "rc16": [0, 1, 0, 1] if not k & 1 else [2, 3, 2, 3],
    }[mode]
    return int.from_bytes(bytes(data[i] for i in order), "little")


def bmsk(a, b, clamp):
    a, b = (min(a, 32), min(b, 32)) if clamp else (a & 31, b & 31)
    return ((1 << b) - 1) << a


def szext(a, b, is_signed):
    if b >= 32:
        return a
    low = a & ((1 << b) - 1)
    return low - (1 << b) if is_signed and b and low >> (b - 1) & 1 else low


def funnel(a, b, c, left, clamp):
    shift = min(c, 32) if clamp else c & 31
    both = b << 32 | a
    return (both << shift >> 32 if left else both >> shift) & 0xFFFFFFFF


def dp4a(a, b, c, signed_a, signed_b):
    def part(value, index, is_signed):
        byte = value >> 8 * index & 255
        return byte - 256 if is_signed and byte & 128 else byte

    return c + sum(part(a, i, signed_a) * part(b, i, signed_b) for i in range(4))


def testp(value, kind):
    return int(
        {
            "finite": math.isfinite(value),
            "infinite": math.isinf(value),
            "number": value == value,
            "notanumber": value != value,
            "normal": math.isfinite(value) and abs(value) >= 2.0**-126,
            "subnormal": 0 < abs(value) < 2.0**-126,
        }[kind]
    )


@cache
def maker(expression, arity):
    """Compile an expression into a function that makes one instruction's loop over lanes."""
    names = "abcd"[:arity]
    fetch = "".join(f"; {name.upper()}_ = R[s[{i}]]" for i, name in enumerate(names))
    code = re.sub(rf"\b([{names}])\b", lambda found: f"{found[1].upper()}_[l]", expression)
    source = (
        "def make(t, s, env):\n"
        " M, H, W, S, X, S32, S24, F, P, signed_type, mode, clamp, left, signed_a, signed_b, kind, imm = env\n"
        " def run(R, L, warp):\n"
        f"  T_ = R[t]{fetch}\n"
        "  for l in L:\n"
        f"   T_[l] = {code}\n"
        " return run\n"
    )
    space = {**vars(n), "brev": brev, "bfind": bfind, "bfe": bfe, "bfi": bfi, "lop3": lop3, "prmt": prmt}
    space |= {"bmsk": bmsk, "szext": szext, "funnel": funnel, "dp4a": dp4a, "testp": testp}
    space |= {"sin": math.sin, "cos": math.cos, "tanh": math.tanh}
    exec(source, space)
    return space["make"]


def environment(type_, modifiers=(), kind=""):
    """Give what an expression of a type may use."""
    width = 1 if type_ == "pred" else SIZES[type_] * 8
    mask = (1 << width) - 1
    is_signed = type_.startswith("s")
    unpack, pack = n.FLOATS.get(type_, (None, None))

    def value(x):
        return n.signed(x, width) if is_signed else x

    def mid(x):
        return n.signed(x, 24) if is_signed else x & 0xFFFFFF

    return (
        *(mask, 1 << (width - 1), width, lambda x: n.signed(x, width), value, lambda x: n.signed(x, 32), mid),
        *(
            unpack,
            pack,
            is_signed,
            next((m for m in modifiers if m in ("f4e", "b4e", "rc8", "ecl", "ecr", "rc16")), ""),
        ),
        *("clamp" in modifiers, "l" in modifiers, is_signed, is_signed, kind, 0),
    )
