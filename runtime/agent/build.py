"""How the agent is compiled: the compiler that is there, the flags, a hash of the sources inside.

Used by the package build (`hatch_build.py`, which imports this file alone), by `bpftime doctor` and by an
editable tree, which rebuilds when its C sources have changed. Imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import struct
import sys
import time
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIBRARY = "libbpftime-agent.so"
FLAGS = (
    "-std=gnu11 -O2 -fPIC -shared -mgeneral-regs-only -mcrc32 -fvisibility=hidden -ffreestanding "
    "-fno-builtin -fno-tree-loop-distribute-patterns -fno-stack-protector "
    "-fno-asynchronous-unwind-tables -fno-strict-aliasing -fcf-protection=none -nostdlib "
    "-Wl,-Bsymbolic,-z,noexecstack,-z,relro,-z,now,-z,max-page-size=4096,--hash-style=gnu"
).split()
# For whoever changes the C; an installation must not fail because a newer compiler knows more warnings.
WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -Wno-sign-conversion -Werror".split()
GCC_ONLY = {"-fno-tree-loop-distribute-patterns"}  # clang needs no such switch: -fno-builtin says it all
SHT_SYMTAB, SHT_NOTE = 2, 7
MISSING = "no C compiler for the agent: install gcc (Debian, Ubuntu: apt install gcc) or clang, or set CC"


class NoCompiler(Exception):
    """There is neither a C compiler nor the ziglang wheel."""


def find_compiler(*, zig: bool = True) -> list[str]:
    """Return the compiler's command words, or an empty list: $CC, cc, gcc, clang, the ziglang wheel."""
    chosen = os.environ.get("CC", "").split()
    if chosen and shutil.which(chosen[0]):
        return chosen
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if zig and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return []


def sources(folder: Path = FOLDER) -> list[Path]:
    """Return the C files and headers in a fixed order."""
    return sorted([*folder.glob("*.c"), *folder.glob("*.h")])


@cache
def source_hash(folder: Path = FOLDER) -> str:
    """Return the first 19 hex digits of the sources' sha1: what the library and its state carry.

    An installed package has no sources: there it is read from the library's build-id note.
    """
    return (_sources_sha1(folder) if (folder / "agent.c").exists() else build_id(folder / LIBRARY))[:19]


def _sources_sha1(folder: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(" ".join(FLAGS).encode())
    for path in sources(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def command(folder: Path, out: Path, *, strict: bool = False) -> list[str]:
    """Return the words that compile the agent in `folder` to `out`; `strict` makes every warning an error.

    Raises:
        NoCompiler: there is nothing to compile with.
    """
    compiler = find_compiler()
    if not compiler:
        raise NoCompiler(MISSING)
    sha1 = _sources_sha1(folder)
    flags = [flag for flag in FLAGS if flag not in GCC_ONLY or not _is_clang(compiler)]
    files = [str(path) for path in sources(folder) if path.suffix == ".c"]
    named = [f"-Wl,--build-id=0x{sha1}", f'-DAGENT_HASH="{sha1[:19]}"']
    return [*compiler, *flags, *(WARNINGS if strict else ()), *named, "-o", str(out), *files]


def _is_clang(compiler: list[str]) -> bool:
    """Ask the compiler itself: on some systems `cc` is clang."""
    import subprocess  # lazy: the agent is built once

    asked = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return "clang" in asked.stdout


def compile_agent(folder: Path, out: Path) -> None:
    """Compile the agent in `folder` to `out`, atomically.

    Raises:
        NoCompiler: there is nothing to compile with.
        subprocess.CalledProcessError: the compiler refused; its words are in `stderr`.
    """
    import subprocess  # lazy: as above
    import tempfile

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        made = Path(scratch) / out.name
        read = time.time_ns()
        subprocess.run(command(folder, made), check=True, capture_output=True, text=True)
        os.utime(made, ns=(read, read))  # what changes while the compiler runs is newer
        made.replace(out)


@cache
def library() -> Path:
    """Return the agent's file, rebuilt first when this is a source tree whose C files have changed.

    Raises:
        NoCompiler: it must be built and there is no compiler.
    """
    path = FOLDER / LIBRARY
    if not (FOLDER / "agent.c").exists():
        return path
    if not path.exists() or _is_stale(path):
        compile_agent(FOLDER, path)
    return path


def _is_stale(path: Path) -> bool:
    """Compare times first (cheap), then the hash inside the library."""
    built = path.stat().st_mtime_ns
    if all(p.stat().st_mtime_ns <= built for p in (*sources(), Path(__file__))):
        return False
    if _sources_sha1(FOLDER) == build_id(path):
        path.touch()
        return False
    return True


def symbols(path: Path | None = None) -> dict[str, int]:
    """Return every function and object of the library by name: offset from its base, in bytes."""
    return _symbols(path or library())


@cache
def _symbols(path: Path) -> dict[str, int]:
    """Read a library's symbols (ELF-64 object file format: section headers, symbol table)."""
    data = path.read_bytes()
    sections = _sections(data)
    table = next(s for s in sections if s[1] == SHT_SYMTAB)
    names = sections[table[6]]
    found: dict[str, int] = {}
    for at in range(table[4], table[4] + table[5], 24):
        name, info, _, shndx, value, _ = struct.unpack_from("<IBBHQQ", data, at)
        if info & 15 in (1, 2) and shndx:
            start = names[4] + name
            found[data[start : data.index(b"\0", start)].decode()] = value
    return found


def build_id(path: Path) -> str:
    """Return the build id of a library in hex, empty where it has none."""
    data = path.read_bytes()
    for section in _sections(data):
        header = data[section[4] : section[4] + 12]
        # a name of 4 bytes (GNU) and NT_GNU_BUILD_ID
        if section[1] == SHT_NOTE and struct.unpack("<III", header)[::2] == (4, 3):
            size = struct.unpack_from("<I", header, 4)[0]
            return data[section[4] + 16 : section[4] + 16 + size].hex()
    return ""


def _sections(data: bytes) -> list[tuple[int, ...]]:
    offset, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    return [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]


def platform_tag() -> str:
    """Return the wheel's platform, `$BPFTIME_WHEEL_PLATFORM` for releases."""
    return os.environ.get("BPFTIME_WHEEL_PLATFORM") or f"linux_{os.uname().machine}"
