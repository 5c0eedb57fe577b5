"""Images as a process hands them to the driver: how long one is that comes as a mere pointer.

Source of the layouts: what nvcc makes (fatbinary_section.h); ELF-64 object file format.
"""

from __future__ import annotations

import struct
from pathlib import Path

from runtime.errors import Problem
from runtime.symbols.maps import Memory, folder_of, read_maps

ELF, FATBIN, WRAPPER = 0x464C457F, 0xBA55ED50, 0x466243B1
MOST = 1 << 30  # bytes of one image
TEXT_STEP = 1 << 16
FATBIN_HEAD = struct.Struct("<IHHQ")
WRAPPER_HEAD = struct.Struct("<IiQQ")
CONTEXT_SYMBOL = b"__bpftime_ctx"


def read_image(memory: Memory, address: int) -> bytes:
    """Return the image at an address of the process, empty where there is none that we can follow.

    A wrapper stands for the container that it leads to; PTX text comes with the NUL that ends it.
    """
    head = memory.read(address, 4)
    if len(head) < 4:
        return b""
    magic = int.from_bytes(head, "little")
    if magic == WRAPPER:
        raw = memory.read(address, WRAPPER_HEAD.size)
        inner = WRAPPER_HEAD.unpack(raw)[2] if len(raw) == WRAPPER_HEAD.size else 0
        is_nested = memory.read(inner, 4) == head if inner else True
        return b"" if is_nested else read_image(memory, inner)
    if magic == FATBIN:
        return _sized(memory, address, _fatbin_size(memory.read(address, FATBIN_HEAD.size)))
    if magic == ELF:
        return _sized(memory, address, _elf_size(memory.read(address, 64)))
    return _text(memory, address)


def _sized(memory: Memory, address: int, size: int) -> bytes:
    if not 0 < size <= MOST:
        return b""
    found = memory.read(address, size)
    return found if len(found) == size else b""


def _fatbin_size(head: bytes) -> int:
    if len(head) < FATBIN_HEAD.size:
        return 0
    _, _, header, payload = FATBIN_HEAD.unpack(head)
    return int(header + payload)


def _elf_size(head: bytes) -> int:
    if len(head) < 64:
        return 0
    programs, sections = struct.unpack_from("<QQ", head, 32)
    program_size, program_count, section_size, section_count = struct.unpack_from("<HHHH", head, 54)
    return int(max(programs + program_size * program_count, sections + section_size * section_count))


def _text(memory: Memory, address: int) -> bytes:
    """Return text up to and with its NUL, read by steps that end where pages do."""
    found = b""
    while len(found) < MOST:
        at = address + len(found)
        more = memory.read(at, TEXT_STEP - at % TEXT_STEP)
        end = more.find(b"\0")
        if end >= 0:
            return found + more[: end + 1]
        if not more or (not found and not _is_text(more[:64])):
            return b""
        found += more
    return b""


def _is_text(head: bytes) -> bool:
    return all(9 <= byte <= 13 or 32 <= byte < 127 for byte in head)


def read_file(pid: int, path: str) -> bytes:
    """Return a file as a process sees it, empty where it cannot be read."""
    folder = folder_of(pid)
    base = f"{folder}/root" if path.startswith("/") else f"{folder}/cwd/"
    try:
        if Path(base + path).stat().st_size > MOST:
            return b""
        return Path(base + path).read_bytes()
    except (OSError, ValueError):
        return b""


def owner_of(pid: int, address: int) -> str:
    """Return the file that is mapped at an address of a process, empty for none."""
    try:
        found = next((m for m in read_maps(pid) if m.start <= address < m.end), None)
    except Problem:
        return ""
    return found.path if found is not None and found.path.startswith("/") else ""


def is_ours(image: bytes) -> bool:
    """Return whether an image holds our context constant: it was linked of what we have woven."""
    return CONTEXT_SYMBOL in image
