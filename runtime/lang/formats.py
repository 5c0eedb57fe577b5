"""Format strings of printf: parsing, checking against argument types, and formatting values.

Integers are cut to the size of the length modifier first (none: 32 bits), as in C. Padding follows C where
the reference does not (`%05d` of -5 is `-0005`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from runtime.events import Value, text_of
from runtime.lang.types import BOOL, Buffer, Int, Pointer, Type

CONVERSION = re.compile(
    rb"%(?:%|(?P<flags>-?\+? ?\#?0?)(?P<width>\*|[0-9]{1,4})?(?:\.(?:\*|[0-9]{0,4}))?"
    rb"(?P<length>(?:hh|h|ll|l|L|j|z|t)?)(?P<conv>rx|rh|gr|[diuoxXcspr]))"
)
FLOATING = re.compile(rb"%[-+ #0-9.*]*[hlLjzt]*[aAeEfFgG](?!r)")
BITS = {b"": 32, b"hh": 8, b"h": 16}  # by length modifier; all others 64
SIGNED = (b"d", b"i")
INTEGER = (b"d", b"i", b"u", b"o", b"x", b"X", b"c", b"p", b"gr")
BUFFER = (b"r", b"rx", b"rh")


@dataclass(frozen=True, slots=True)
class Conversion:
    """One `%…` of a format; `text` as written."""

    text: bytes
    flags: bytes
    width: int
    bits: int
    conv: bytes

    @property
    def narrows(self) -> bool:
        """Whether it prints less than 64 bits of an integer."""
        return self.bits < 64 and self.conv in (b"d", b"i", b"u", b"x", b"X", b"o")


@dataclass(frozen=True, slots=True)
class Format:
    """Literal texts around the conversions: one more than there are conversions."""

    texts: tuple[bytes, ...]
    conversions: tuple[Conversion, ...]


def parse(text: bytes) -> Format:
    """Split a format string; what is no conversion is literal text."""
    texts, conversions = [b""], []
    at = 0
    for found in CONVERSION.finditer(text):
        texts[-1] += text[at : found.start()]
        at = found.end()
        if found[0] == b"%%":
            texts[-1] += b"%"
            continue
        width = found["width"]
        number = int(width) if width and width != b"*" else 0
        conversions.append(
            Conversion(found[0], found["flags"], number, BITS.get(found["length"], 64), found["conv"])
        )
        texts.append(b"")
    texts[-1] += text[at:]
    return Format(tuple(texts), tuple(conversions))


def unsupported(text: bytes) -> str:
    """Give the first conversion that no value can be formatted for (floating point), or nothing."""
    found = FLOATING.search(text.replace(b"%%", b""))
    return found[0].decode("latin-1") if found else ""


def mismatch(name: str, parsed: Format, kinds: list[Type]) -> str:
    """Say how arguments do not fit a format, or nothing."""
    wanted, given = len(parsed.conversions), len(kinds)
    if wanted != given:
        word = "not enough" if given < wanted else "too many"
        return f"{name}: {word} arguments for format string ({given} supplied, {wanted} expected)"
    for conversion, kind in zip(parsed.conversions, kinds, strict=True):
        conv = conversion.conv
        fits = isinstance(kind, Int | Pointer) or kind == BOOL
        if (conv in INTEGER and not fits) or (conv in BUFFER and not isinstance(kind, Buffer)):
            shown = conversion.text.decode("latin-1")
            return f"{name}: {shown} specifier expects a value of type {_expects(conv)} ({kind} supplied)"
    return ""


def _expects(conv: bytes) -> str:
    return "buffer" if conv in BUFFER else "pointer" if conv == b"p" else "integer"


def formatter(conversion: Conversion) -> Callable[[Value], bytes]:
    """Make the function that formats a value for one conversion."""
    conv, flags, width = conversion.conv, conversion.flags, conversion.width
    left = b"-" in flags
    if conv in (b"d", b"i", b"u"):
        spec = b"%" + flags.replace(b"#", b"") + (b"%d" % width if width else b"") + b"d"
        return _decimal(spec, conversion.bits, conv in SIGNED)
    if conv in (b"x", b"X"):
        return _hexadecimal(b"%" + flags + (b"%d" % width if width else b"") + conv, conversion.bits)
    plain = PLAIN[conv]

    def pad(value: Value) -> bytes:
        text = plain(value)
        return text.ljust(width) if left else text.rjust(width)

    return pad


def _decimal(spec: bytes, bits: int, signed: bool) -> Callable[[Value], bytes]:
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    if signed:
        return lambda value: spec % (((_number(value) & mask) ^ half) - half)
    return lambda value: spec % (_number(value) & mask)


def _hexadecimal(spec: bytes, bits: int) -> Callable[[Value], bytes]:
    mask = (1 << bits) - 1
    zero = spec.replace(b"#", b"")  # "%#x" of 0 is "0"
    return lambda value: (spec if _number(value) & mask else zero) % (_number(value) & mask)


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _octal(value: Value) -> bytes:
    return b"%o" % (_number(value) & (1 << 64) - 1)


def _pointer(value: Value) -> bytes:
    number = _number(value) & (1 << 64) - 1
    return b"0x%x" % number if number else b"0"


def _char(value: Value) -> bytes:
    return bytes([_number(value) & 0xFF])


def _bytes(value: Value) -> bytes:
    return bytes(value) if isinstance(value, bytes) else b""


def _escaped(value: Value) -> bytes:
    return b"".join(b"%c" % byte if 32 <= byte <= 126 else b"\\x%02x" % byte for byte in _bytes(value))


def _all_escaped(value: Value) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in _bytes(value))


def _spaced(value: Value) -> bytes:
    return _bytes(value).hex(" ").encode()


GFP = (  # bit, name without its prefix; linux/gfp_types.h
    (0x01, "DMA"), (0x02, "HIGHMEM"), (0x04, "DMA32"), (0x08, "MOVABLE"), (0x10, "RECLAIMABLE"),
    (0x20, "HIGH"), (0x40, "IO"), (0x80, "FS"), (0x100, "ZERO"), (0x400, "DIRECT_RECLAIM"),
    (0x800, "KSWAPD_RECLAIM"), (0x1000, "WRITE"), (0x2000, "NOWARN"), (0x4000, "RETRY_MAYFAIL"),
    (0x8000, "NOFAIL"), (0x10000, "NORETRY"), (0x20000, "MEMALLOC"), (0x40000, "COMP"),
    (0x80000, "NOMEMALLOC"), (0x100000, "HARDWALL"), (0x200000, "THISNODE"), (0x400000, "ACCOUNT"),
    (0x800000, "ZEROTAGS"),
)  # fmt: skip


def _gfp(value: Value) -> bytes:
    number = _number(value)
    names = ["__GFP_" + name for bit, name in GFP if number & bit]
    return "|".join(names).encode() if names else b"0x0"


PLAIN: dict[bytes, Callable[[Value], bytes]] = {
    b"o": _octal,
    b"c": _char,
    b"p": _pointer,
    b"s": text_of,
    b"r": _escaped,
    b"rx": _all_escaped,
    b"rh": _spaced,
    b"gr": _gfp,
}
