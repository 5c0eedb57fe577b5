"""Making BTF: a writer for the few kinds that built-in types and scripts need."""

from __future__ import annotations

import struct

from runtime.btf.types import MAGIC, Kind

Field = tuple[str, int, int]  # name, type id, offset in bytes


class Builder:
    """Collects types; every method returns the id of the new type."""

    def __init__(self) -> None:
        self._types = bytearray()
        self._text = bytearray(b"\0")
        self._count = 0

    def name(self, text: str) -> int:
        """Offset of a string, added when it is new."""
        if not text:
            return 0
        wanted = text.encode() + b"\0"
        at = self._text.find(b"\0" + wanted)
        if at >= 0:
            return at + 1
        self._text += wanted
        return len(self._text) - len(wanted)

    def _add(self, name: str, info: int, third: int, tail: bytes = b"") -> int:
        self._types += struct.pack("<III", self.name(name), info, third) + tail
        self._count += 1
        return self._count

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        """An integer of `size` bytes; encoding 1 signed, 2 char, 4 bool."""
        return self._add(name, Kind.INT << 24, size, struct.pack("<I", encoding << 24 | 8 * size))

    def pointer(self, to: int) -> int:
        """A pointer to a type, 0 is void."""
        return self._add("", Kind.PTR << 24, to)

    def array(self, of: int, index: int, count: int) -> int:
        """An array; `index` is an integer type."""
        return self._add("", Kind.ARRAY << 24, 0, struct.pack("<III", of, index, count))

    def composite(self, kind: Kind, name: str, size: int, fields: list[Field]) -> int:
        """A struct or union without bit fields."""
        tail = b"".join(struct.pack("<III", self.name(field), to, 8 * at) for field, to, at in fields)
        return self._add(name, kind << 24 | len(fields), size, tail)

    def finish(self) -> bytes:
        """The BTF file."""
        head = struct.pack(
            "<HBBIIIII", MAGIC, 1, 0, 24, 0, len(self._types), len(self._types), len(self._text)
        )
        return head + bytes(self._types) + bytes(self._text)
