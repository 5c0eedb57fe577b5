"""Fat binaries: containers of images for several architectures, as nvcc puts them into programs.

A container is a head and entries until its payload is used up; an entry has a head, options, a name, and its
image raw or compressed. Text in them ends with a NUL. Layout: found by looking at what `fatbinary` of CUDA 12
and 13 writes, for no document of it is public; read with every size checked, since processes hand these over.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attachers.cuda.extra import needed
from runtime.errors import Problem

MAGIC = 0xBA55ED50
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
HEAD = struct.Struct("<IHHQ")  # magic, version, bytes of the head, bytes of the payload
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")  # 64 bytes, see `Entry`
PTX, ELF, LTO = 1, 2, 8
LZ4, ZSTD = 0x2000, 0x8000  # flags
ARCH_ONLY, FAMILY = 0x100000, 0x200000  # flags: for exactly this architecture, for its family
PLAIN = 0x11  # flags of what is written here: 64 bits, Linux
LARGEST = 256 << 20  # bytes of one image
MOST_ENTRIES = 4096


class ImageProblem(Problem):
    """An image cannot be read. The process gets the one it had."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image. `version`: of PTX (ISA) or ELF; `stored` as in the container, `size` what it unpacks to."""

    index: int
    kind: int
    arch: int
    version: tuple[int, int]
    flags: int
    name: str
    options: str
    stored: bytes
    size: int

    @property
    def target(self) -> str:
        """Name of the architecture, `sm_90a` where only that one runs it."""
        return f"sm_{self.arch}{'a' * bool(self.flags & ARCH_ONLY)}{'f' * bool(self.flags & FAMILY)}"

    @property
    def compression(self) -> str:
        """`zstd`, `lz4` or nothing."""
        return "zstd" if self.flags & ZSTD else "lz4" if self.flags & LZ4 else ""

    def image(self) -> bytes:
        """Give the image itself; PTX without the NULs behind it.

        Raises:
            ImageProblem: the data are damaged.
            MissingExtra: what unpacks it is not installed.
        """
        data = _unpacked(self) if self.compression else self.stored
        return data.rstrip(b"\0") if self.kind == PTX else data


@dataclass(frozen=True, slots=True)
class Container:
    """A container's entries; `size` is what it takes, head included."""

    entries: tuple[Entry, ...]
    size: int


def parse(data: bytes, at: int = 0) -> Container:
    """Read the container at an offset.

    Raises:
        ImageProblem: it is damaged.
    """
    if len(data) < at + HEAD.size:
        raise ImageProblem("a fatbin's head is cut off")
    magic, _, header, payload = HEAD.unpack_from(data, at)
    if magic != MAGIC or header < HEAD.size:
        raise ImageProblem("not a fatbin")
    if at + header + payload > len(data):
        raise ImageProblem(f"a fatbin of {header + payload} bytes, of which {len(data) - at} are there")
    place, end = at + header, at + header + payload
    entries: list[Entry] = []
    while place + ENTRY.size <= end and len(entries) < MOST_ENTRIES:
        entry, place = _entry(data, place, end, len(entries))
        entries.append(entry)
    return Container(tuple(entries), header + payload)


def containers(data: bytes) -> Iterator[tuple[int, Container]]:
    """Yield offset and content of each container of a section; what is damaged is left out."""
    at = data.find(MAGIC_BYTES)
    while at >= 0:
        step = 8
        if at % 8 == 0:
            try:
                found = parse(data, at)
            except ImageProblem:
                found = None
            if found:
                yield at, found
                step = found.size
        at = data.find(MAGIC_BYTES, at + step)


def _entry(data: bytes, at: int, end: int, index: int) -> tuple[Entry, int]:
    fields = ENTRY.unpack_from(data, at)
    kind, _, header, padded, compressed, options_at, minor, major, arch, name_at, name_len = fields[:11]
    flags, _, unpacked = fields[11:]
    start = at + header
    if header < ENTRY.size or start + padded > end:
        raise ImageProblem(f"entry {index}: {header + padded} bytes are more than are left")
    if compressed > padded:
        raise ImageProblem(f"entry {index}: {compressed} compressed bytes in {padded}")
    stored = data[start : start + (compressed or padded)]
    head = data[at:start]
    name = head[name_at : name_at + name_len].rstrip(b"\0").decode("latin-1") if name_at else ""
    size = unpacked if flags & (LZ4 | ZSTD) else len(stored)
    options = _options(head, options_at) if kind in (PTX, ELF) else ""
    entry = Entry(index, kind, arch, (major, minor), flags, name, options, stored, size)
    return entry, start + padded


def _options(head: bytes, at: int) -> str:
    """Give the assembler's options of the build; "" where there are none or a binary record."""
    if not at or at + 8 > len(head):
        return ""
    offset, length = struct.unpack_from("<II", head, at)
    raw = head[offset : offset + length].split(b"\0")[0]
    text = raw.decode("latin-1")
    return text.strip() if text.isprintable() else ""


def _unpacked(entry: Entry) -> bytes:
    if not 0 < entry.size <= LARGEST:
        raise ImageProblem(f"entry {entry.index}: {entry.size} bytes unpacked")
    if entry.flags & ZSTD:
        return _zstd(entry)
    block = needed("lz4.block", "lz4")
    try:
        found: bytes = block.decompress(entry.stored, uncompressed_size=entry.size)
    except (block.LZ4BlockError, ValueError, MemoryError, OverflowError):
        raise ImageProblem(f"entry {entry.index}: damaged lz4 data") from None
    return found


def _zstd(entry: Entry) -> bytes:
    zstandard = needed("zstandard", "zstandard")
    # A frame may claim any size for itself: read no more than the entry says.
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(entry.stored))
    try:
        found: bytes = reader.read(entry.size + 1)
    except (zstandard.ZstdError, MemoryError):
        raise ImageProblem(f"entry {entry.index}: damaged zstd data") from None
    if len(found) != entry.size:
        raise ImageProblem(f"entry {entry.index}: damaged zstd data")
    return found


def pack(images: Sequence[tuple[int, int, tuple[int, int], bytes]]) -> bytes:
    """Make a container of images that are not compressed: (kind, architecture, version, data) each.

    PTX gets its NUL here. Its head has 80 bytes: NVIDIA's own linker fails on one of 64.
    """
    entries = b"".join(_packed(*image) for image in images)
    return HEAD.pack(MAGIC, 1, HEAD.size, len(entries)) + entries


def _packed(kind: int, arch: int, version: tuple[int, int], data: bytes) -> bytes:
    is_text = kind == PTX
    data = data.rstrip(b"\0") + b"\0" if is_text else data
    padded = -(-len(data) // 8) * 8
    header = 80 if is_text else 64
    options = struct.pack("<IIQ", 72, 0, 0) if is_text else b""
    major, minor = version
    head = ENTRY.pack(
        *(kind, 0x0101, header, padded, 0, 64 if is_text else 0, minor, major, arch, 0, 0, PLAIN, 0, 0)
    )
    return head + options + data.ljust(padded, b"\0")
