"""Files that save work: `BPFC`, u32 format, sha256 of the payload, payload (u32 length, JSON, raw bytes).

A file is written beside its place and renamed, and believed only if it belongs to this user, nobody else may
write it and its sum is right; otherwise it is as if absent. Nothing here raises: a cache may be missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.jit.image import Image, Relocation
from runtime.types import ContextKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.jit.unit import Build
    from runtime.maps.spec import MapSpec
    from runtime.verify.result import Verified

MAGIC, FORMAT = b"BPFC", 1
HEAD = struct.Struct("<4sI32sI")
LIMIT = 64 << 20  # bytes in one folder
TRIM_EVERY = 64  # a folder is measured at one write in so many
SOURCES = ("jit", "verify", "maps", "helpers", "ebpf")


def folder(kind: str) -> Path | None:
    """Give the folder for one kind of file (`image`, `plan` …), None where there can be none."""
    base = os.environ.get("BPFTIME_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("HOME", "") + "/.cache")
        base = home + "/bpftime"
    path = Path(base) / kind
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError:
        return None
    return path if found.st_uid == os.geteuid() and path.is_absolute() else None


def read(kind: str, key: str) -> tuple[dict[str, Any], bytes] | None:
    """Give the head and the raw bytes of a file, None where there is none that can be trusted."""
    place = folder(kind)
    if place is None:
        return None
    try:
        fd = os.open(place / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            about = os.fstat(fd)
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            data = file.read(LIMIT)
        magic, version, digest, size = HEAD.unpack_from(data)
        payload = data[HEAD.size - 4 :]
        if (magic, version) != (MAGIC, FORMAT) or hashlib.sha256(payload).digest() != digest:
            return None
        head = json.loads(payload[4 : 4 + size])
    except (OSError, ValueError, struct.error):
        return None
    return head, payload[4 + size :]


def write(kind: str, key: str, head: Mapping[str, Any], raw: bytes) -> None:
    """Keep a file; does nothing where that is impossible."""
    place = folder(kind)
    if place is None:
        return
    text = json.dumps(head, separators=(",", ":")).encode()
    payload = struct.pack("<I", len(text)) + text + raw
    data = struct.pack("<4sI", MAGIC, FORMAT) + hashlib.sha256(payload).digest() + payload
    scratch = place / f"{key}.{os.getpid()}"
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
        scratch.rename(place / key)
        if data[-1] % TRIM_EVERY == 0:
            _trim(place)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink()


def _trim(place: Path) -> None:
    """Remove the files that were written first until the folder is small enough."""
    files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(place))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= LIMIT:
            return
        Path(path).unlink(missing_ok=True)
        total -= size


@cache
def compiler_version() -> str:
    """Name the compiler that makes images: its sources and the version of LLVM."""
    from runtime.jit import llvm  # lazy: only the version is asked, LLVM stays unloaded

    return sources_digest(f"{llvm.version()}{llvm.FEATURES}", (f"{name}/*.py" for name in SOURCES))


def sources_digest(also: str, patterns: Iterable[str]) -> str:
    """Name a state of the runtime's sources, by patterns of their paths in it, and of a text."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(also.encode("utf-8", "surrogateescape"))
    for pattern in patterns:
        for file in sorted(root.glob(pattern)):
            about = file.stat()
            digest.update(f"{file.relative_to(root)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def image_key(
    verified: Verified, maps: Mapping[str, MapSpec], build: Build, options: tuple[object, ...]
) -> str:
    """Name an image by all that it is made from: bytecode, shapes of maps, context, build and compiler."""
    program = verified.program
    used = sorted({*program.map_refs.values(), *(call.map for call in verified.calls.values())} & set(maps))
    shapes = [
        (
            *(spec.name, spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags),
            *(spec.added_only, spec.thread_keyed, spec.initial),
        )
        for spec in (maps[name] for name in used)
    ]
    parts = (
        *(program.name, program.context.value, program.map_refs, sorted(program.subprograms), shapes),
        *(build, options, ".events" in maps, compiler_version()),
    )
    return hashlib.sha256(program.insns + repr(parts).encode()).hexdigest()


def load_image(key: str) -> Image | None:
    """Give a kept image."""
    found = read("image", key)
    if found is None:
        return None
    head, code = found
    try:
        relocations = tuple(Relocation(*row) for row in head.pop("relocations"))
        words, maps = tuple(head.pop("words")), tuple(head.pop("maps"))
        context = ContextKind(head.pop("context"))
        return Image(code=code, relocations=relocations, words=words, maps=maps, context=context, **head)
    except (KeyError, TypeError, ValueError):
        return None


def save_image(key: str, image: Image) -> None:
    """Keep an image."""
    head = {
        "sha256": image.sha256,
        "name": image.name,
        "context": image.context.value,
        "relocations": [(r.offset, r.kind, r.symbol, r.addend) for r in image.relocations],
        "words": image.words,
        "returns": image.returns,
        "frame": image.frame,
        "stack": image.stack,
        "uses_process": image.uses_process,
        "uses_faults": image.uses_faults,
        "align": image.align,
        "maps": image.maps,
    }
    write("image", key, head, image.code)
