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
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIBRARY = "libbpftime-agent.so"
FLAGS = (
    "-std=gnu11 -O2 -fPIC -shared -mgeneral-regs-only -mcrc32 -fvisibility=hidden -ffreestanding -fno-builtin "
    "-fno-tree-loop-distribute-patterns -fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing "
    "-fcf-protection=none -nostdlib "
    "-Wall -Wextra -Wconversion -Wshadow -Wno-sign-conversion -Werror "
    "-Wl,-Bsymbolic,-z,noexecstack,-z,relro,-z,now,-z,max-page-size=4096,--build-id=sha1,--hash-style=gnu"
).split()
MISSING = "no C compiler found to build the agent: install gcc (Debian, Ubuntu: apt install gcc) or clang, or set CC"


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


def source_hash(folder: Path = FOLDER) -> str:
    """Return the first 19 hex digits of the sources' sha1: what the library and its state carry."""
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(" ".join(FLAGS).encode())
    for path in sources(folder):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:19]


def compile_agent(folder: Path, out: Path) -> None:
    """Compile the agent in `folder` to `out`, atomically.

    Raises:
        NoCompiler: there is nothing to compile with.
        subprocess.CalledProcessError: the compiler refused; its words are in `stderr`.
    """
    compiler = find_compiler()
    if not compiler:
        raise NoCompiler(MISSING)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        made = Path(scratch) / out.name
        files = [str(p) for p in sources(folder) if p.suffix == ".c"]
        command = [*compiler, *FLAGS, f'-DAGENT_HASH="{source_hash(folder)}"', "-o", str(made), *files]
        subprocess.run(command, check=True, capture_output=True, text=True)
        made.replace(out)


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
    if source_hash().encode() in path.read_bytes():
        path.touch()
        return False
    return True


def symbols(path: Path | None = None) -> dict[str, int]:
    """Return every function and object of the library by name: offset from its base, in bytes.

    Source: ELF-64 object file format (section headers, symbol table).
    """
    data = (path or library()).read_bytes()
    sections = _sections(data)
    table = next(s for s in sections if s[1] == 2)  # SHT_SYMTAB
    names = sections[table[6]]
    found: dict[str, int] = {}
    for at in range(table[4], table[4] + table[5], 24):
        name, info, _, shndx, value, _ = struct.unpack_from("<IBBHQQ", data, at)
        if info & 15 in (1, 2) and shndx:
            start = names[4] + name
            found[data[start : data.index(b"\0", start)].decode()] = value
    return found


def _sections(data: bytes) -> list[tuple[int, ...]]:
    offset, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    return [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]


def platform_tag() -> str:
    """Return the wheel's platform, `$BPFTIME_WHEEL_PLATFORM` for releases."""
    return os.environ.get("BPFTIME_WHEEL_PLATFORM") or f"linux_{os.uname().machine}"
