"""Read a device's ring in the host's memory: payloads in order. Nothing in it is trusted."""

from __future__ import annotations

import re
import struct

from runtime.nvptx.layout import RING_DATA
from runtime.nvptx.ring import DISCARDED, PADDING, PRINTK, PUTS, RECORD_HEAD

LENGTH = PADDING - 1
WORD = struct.Struct("<I")
CONVERSION = re.compile(rb"%(?:%|[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z)?[diuxXpc])")
TEXT_EVENT = 0xFF10  # runtime/agent/format.c: a line of trace_printk


class DeviceRing:
    """Reader of one ring: `memory` is all that it takes in the host's memory."""

    def __init__(self, memory: memoryview) -> None:
        self.tail, self.data = memory[:8], memory[RING_DATA:]
        self.position = 0

    def payloads(self) -> list[bytes]:
        """Take the records that are complete, in order; texts become lines of trace_printk."""
        found = []
        size = len(self.data)
        while True:
            offset = self.position % size
            if WORD.unpack_from(self.data, offset + 4)[0] != (self.position // 8 + 1) & 0xFFFFFFFF:
                break
            low = WORD.unpack_from(self.data, offset)[0]  # both halves came at once, so it is there too
            length = low & LENGTH
            whole = RECORD_HEAD + (length + 7 & ~7)
            if whole > size - offset:
                break  # written over by the target
            if not low & (DISCARDED | PADDING):
                start = offset + RECORD_HEAD
                found.append(_line(bytes(self.data[start : start + length])))
            self.data[offset : offset + whole] = bytes(whole)
            self.position += whole
            struct.pack_into("<Q", self.tail, 0, self.position)
        return found


def _line(payload: bytes) -> bytes:
    """Turn a text with its numbers into the record of a line; other records stay as they are."""
    if len(payload) < 8:
        return payload
    word = struct.unpack_from("<Q", payload)[0]
    event, size = word & 0xFFFF, word >> 16
    if event == PUTS:
        text = payload[8 : 8 + size]
    elif event == PRINTK and len(payload) >= 32:
        numbers = struct.unpack_from("<3Q", payload, 8)
        text = _formatted(payload[32 : 32 + size].split(b"\0")[0], list(numbers))
    else:
        return payload
    return struct.pack("<HHI", TEXT_EVENT, 0, len(text)) + text


def _formatted(text: bytes, numbers: list[int]) -> bytes:
    def replace(found: re.Match[bytes]) -> bytes:
        spec = found[0]
        if spec == b"%%":
            return b"%"
        number = numbers.pop(0) if numbers else 0
        bits = 64 if b"l" in spec or spec[-1:] in b"pz" else 32
        number &= (1 << bits) - 1
        kind = spec[-1:]
        if kind in b"di" and number >> (bits - 1):
            number -= 1 << bits
        plain = re.sub(rb"hh|h|ll|l|z", b"", spec[:-1])
        if kind == b"p":
            return b"0x%x" % number
        kind = {b"u": b"d", b"i": b"d"}.get(kind, kind)
        return (plain + kind) % (number & 255 if kind == b"c" else number)

    return CONVERSION.sub(replace, text)
