"""From the text of a function probe to places in one process: which module, which functions, which bytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from attachers.inject.frames import Request
from attachers.lines import MARK, points_of_line
from attachers.target import Target
from runtime.agent.protocol import Op
from runtime.errors import AttachProblem, ObjectProblem, alternatives
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import FunctionPoint, find, name_at
from runtime.symbols.modules import Module
from runtime.symbols.paths import exists, is_file
from runtime.symbols.ranges import ranges_of


class NotMapped(AttachProblem):
    """The process has mapped no file of that name (yet)."""


def find_modules(target: Target, binary: str) -> list[Module]:
    """Return the mapped modules that the binary part of a probe names: a path, a file name, `libc`, `*`.

    Raises:
        NotMapped: the process has none of that name.
    """
    # Not the agent itself: its code runs inside every probe.
    agent = target.constant("agent_base")
    modules = [m for m in target.modules if not m.start <= agent < m.end]
    if binary == "*":
        return modules
    found = [m for m in modules if _is_named(m, binary)]
    if not found:
        import difflib  # lazy: only for the message

        names = sorted({m.path.rpartition("/")[2] for m in modules})
        near = difflib.get_close_matches(binary.rpartition("/")[2], names, 3, 0.5)
        raise NotMapped(
            f"no '{binary}' among the {len(names)} files mapped by {target.pid}",
            errno=2,
            hint=f"did you mean {alternatives(near)}?" if near else f"mapped: {', '.join(names[:8])}",
        )
    return found


def _is_named(module: Module, binary: str) -> bool:
    name = module.path.rpartition("/")[2]
    if "*" in binary:
        import fnmatch  # lazy: patterns are rare

        return fnmatch.fnmatchcase(module.path if "/" in binary else name, binary)
    if "/" in binary:
        return module.path == binary or _same_file(module, binary)
    if name == binary or name.startswith((f"{binary}.so", f"{binary}-")) or _is_version_of(name, binary):
        return True
    return _same_file(module, _found_in_path(binary))


def _is_version_of(name: str, wanted: str) -> bool:
    """Return whether a file is what a library's SONAME leads to: `libz.so.1` is `libz.so.1.2.13`."""
    return ".so" in wanted and name.startswith(f"{wanted}.")


def _found_in_path(name: str) -> str:
    for folder in os.environ.get("PATH", "").split(":"):
        path = Path(folder or ".") / name
        if is_file(path) and os.access(path, os.X_OK):
            return str(path)
    return ""


def _same_file(module: Module, path: str) -> bool:
    try:
        status = os.stat(path)  # a path of the user, checked by inode only
    except (OSError, ValueError):
        return False
    return (
        status.st_ino == module.inode
        and f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}" == module.device
    )


def find_points(target: Target, module: Module, pattern: str) -> list[FunctionPoint]:
    """Return the places in one module that a function pattern means; IFUNCs become what they resolve to.

    The resolver of an IFUNC runs in the process, so one of a library that is not relocated yet has to wait.

    Raises:
        AttachProblem: nothing matches.
    """
    if pattern.startswith(MARK):
        return points_of_line(module.elf, pattern)
    points = find(module.elf, pattern)
    indirect = [p for p in points if p.indirect]
    if module.start in target.unrelocated:
        if indirect:
            target.postponed.add(module.start)
        return [p for p in points if not p.indirect]
    chosen = _implementations(target, module, indirect)
    wanted = indirect if module.start in target.late else points
    found = [chosen.get(p.address) if p.indirect else p for p in wanted]
    return [p for p in found if p is not None]


def _implementations(target: Target, module: Module, points: list[FunctionPoint]) -> dict[int, FunctionPoint]:
    """Ask the process which functions IFUNCs stand for: a resolver takes no argument on x86-64."""
    requests = [Request(Op.CALL, struct.pack("<QQ", module.bias + p.address, 0)) for p in points]
    replies = target.ask(requests) if requests else []
    found = {}
    for point, reply in zip(points, replies, strict=True):
        chosen = _function_at(module, point, int.from_bytes(reply.payload, "little") - module.bias)
        if chosen is not None:
            found[point.address] = chosen
    return found


def _function_at(module: Module, point: FunctionPoint, address: int) -> FunctionPoint | None:
    covering = ranges_of(module.elf).containing(address)
    if covering and covering[0] == address:
        return FunctionPoint(point.name, address, covering[1] - address, point.offset)
    name, offset = name_at(module.elf, address)
    if not name or offset:
        return None
    size = next(s.size for s in module.elf.functions if s.value == address)
    return FunctionPoint(point.name, address, size, point.offset)


def find_file(binary: str) -> str:
    """Return the file that a probe's binary part means without a process: a path, a library, a command.

    Raises:
        AttachProblem: there is none.
    """
    candidates = [binary] if "/" in binary else [binary, *_library_paths(binary), _found_in_path(binary)]
    for path in candidates:
        if path and is_file(path):
            try:
                ElfFile(path)
            except ObjectProblem:
                continue
            return str(Path(path).resolve())
    raise AttachProblem(
        f"uprobe target file '{binary}' does not exist or is not executable",
        errno=2,
        hint="give a path, a library's name such as libc.so.6, or a command in PATH",
    )


def _library_paths(name: str) -> list[str]:
    """Return files of the loader's folders that a library name means (ld.so(8), default paths)."""
    folders = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
        "/usr/local/lib",
    ]
    if not name.startswith("lib"):
        return []
    found = []
    for folder in folders:
        exact = Path(folder) / name
        if is_file(exact):
            found.append(str(exact))
        elif exists(folder):
            found += sorted(str(p) for p in Path(folder).glob(f"{name}.so*"))
    return found
