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
UNSIGNED = (b"u", b"o", b"x", b"X")
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
        """Whether it prints less than 64 bits of an integer without saying so."""
        return self.bits == 32 and self.conv in (b"d", b"i", b"u", b"x", b"X", b"o")


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
    conv, width = conversion.conv, conversion.width
    if conv in UNSIGNED or conv in SIGNED:
        return _integer(conversion)
    plain, left = PLAIN[conv], b"-" in conversion.flags

    def pad(value: Value) -> bytes:
        text = plain(value)
        return text.ljust(width) if left else text.rjust(width)

    return pad


def integer_spec(conversion: Conversion) -> bytes:
    """Give the `%` of Python that formats an integer of its size as C does; empty: there is none."""
    conv, signed = conversion.conv, conversion.conv in SIGNED
    if (not signed and conv not in UNSIGNED) or (b"#" in conversion.flags and conv != b"u" and not signed):
        return b""
    dropped = b" #" if signed else b" +#"
    flags = bytes(flag for flag in conversion.flags if flag not in dropped)
    width = b"%d" % conversion.width if conversion.width else b""
    return b"%" + flags + width + (conv if conv in (b"x", b"X", b"o") else b"d")


def _integer(conversion: Conversion) -> Callable[[Value], bytes]:
    """Format an integer as C does: cut to its size, `#` for octal and hexadecimal."""
    spec, mask = integer_spec(conversion), (1 << conversion.bits) - 1
    half = (mask >> 1) + 1
    if conversion.conv in SIGNED:
        return lambda value: spec % (((_number(value) & mask) ^ half) - half)
    if spec:
        return lambda value: spec % (_number(value) & mask)
    flags = conversion.flags.replace(b"+", b"").replace(b" ", b"")
    if conversion.conv == b"o":
        return _alternate_octal(flags, conversion.width, mask)
    width = b"%d" % conversion.width if conversion.width else b""
    alternate = b"%" + flags + width + conversion.conv
    zero = alternate.replace(b"#", b"")  # "%#x" of 0 is "0"
    return lambda value: (alternate if _number(value) & mask else zero) % (_number(value) & mask)


def _alternate_octal(flags: bytes, width: int, mask: int) -> Callable[[Value], bytes]:
    """Format `%#o`: one leading zero."""
    left, fill = b"-" in flags, b"0" if b"0" in flags else b" "

    def form(value: Value) -> bytes:
        number = _number(value) & mask
        text = b"0%o" % number if number else b"0"
        return text.ljust(width) if left else text.rjust(width, fill)

    return form


def _number(value: Value) -> int:
    return value if isinstance(value, int) else 0


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


GFP_SETS = (  # bits, name; larger sets first
    (0x100CCA, "GFP_HIGHUSER_MOVABLE"), (0x100CC2, "GFP_HIGHUSER"), (0x100CC0, "GFP_USER"),
    (0x400CC0, "GFP_KERNEL_ACCOUNT"), (0xCC0, "GFP_KERNEL"), (0xC40, "GFP_NOFS"), (0xC00, "GFP_NOIO"),
    (0x820, "GFP_ATOMIC"), (0x2800, "GFP_NOWAIT"), (0x01, "GFP_DMA"), (0x04, "GFP_DMA32"),
)  # fmt: skip


def _gfp(value: Value) -> bytes:
    number, names = _number(value), []
    for bits, name in GFP_SETS:
        if number & bits == bits:
            names.append(name)
            number &= ~bits
    names += ["__GFP_" + name for bit, name in GFP if number & bit]
    return "|".join(names).encode() if names else b"0x0"


PLAIN: dict[bytes, Callable[[Value], bytes]] = {
    b"c": _char,
    b"p": _pointer,
    b"s": text_of,
    b"r": _escaped,
    b"rx": _all_escaped,
    b"rh": _spaced,
    b"gr": _gfp,
}
