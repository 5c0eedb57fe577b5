"""The debug info of the programs that a script names: of processes where there are some, else by name."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bpftime_cli.pipeline.patterns import files_of, is_named
from runtime.ebpf.context import ARGUMENT_REGISTERS, FUNCTION_ARGUMENTS, REGISTERS
from runtime.errors import AttachProblem, ObjectProblem, Problem, UsageProblem
from runtime.lang.c.types import Enum
from runtime.lang.debug import Parts
from runtime.lang.fields import ContextField
from runtime.lang.providers import CPP
from runtime.lang.types import Type
from runtime.symbols.elf import ElfFile
from runtime.symbols.functions import FunctionPoint, data_symbol, find
from runtime.symbols.gotable import is_go
from runtime.symbols.needed import libraries_of

if TYPE_CHECKING:
    from runtime.dwarf.types import DwarfTypes

Found = tuple[Parts, dict[str, ContextField]]
Named = tuple[str, ElfFile]  # a file by the name that the user sees
HINT = "compile it with -g, give its debug info a place that gdb looks at, or use arg0, arg1, …"


@dataclass(slots=True)
class ScriptDebug:
    """Debug info for one trace of some processes, or of one that is launched (`command`)."""

    pids: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
    _sources: dict[str, FileTypes] = field(default_factory=dict)

    def types(self, parts: Parts) -> FileTypes:
        """The types of the file that an attach point names; nothing is read before one is asked for."""
        binary = _binary(parts)
        if binary not in self._sources:
            self._sources[binary] = FileTypes(partial(self._files, binary))
        return self._sources[binary]

    def functions(self, parts: Parts) -> list[Found]:
        """The functions that an attach point names, each with its parameters; equal ones together.

        Raises:
            Problem: the file has no debug info, or none of the functions is in it.
        """
        binary, text = _binary(parts), _function(parts)
        if text.startswith("@"):
            raise Problem(
                "args are known only where a function begins", hint="name the function instead of the line"
            )
        files = self._files(binary)
        found = [one for path, elf in files for one in _in_file(path, elf, text)]
        if not found:
            shown = files[0][0] if len(files) == 1 else binary
            has_info = any(_types_of(elf.path) is not None for _, elf in files)
            raise Problem(f"no debuginfo found for {shown}" + (f":{text}" if has_info else ""), hint=HINT)
        fields = found[0][1]
        return [(parts, fields)] if all(other == fields for _, other in found) else found

    def data(self, parts: Parts, name: str) -> int:
        """Bytes of the data of this name in the file that an attach point names.

        Raises:
            Problem: there is no such data, or no such file.
        """
        files = self._files(_binary(parts))
        found = [data_symbol(elf, name) for _, elf in files]
        size = next((symbol.size for symbol in found if symbol is not None), None)
        if size is None:
            raise Problem(f"Could not resolve symbol: {files[0][0]}:{name}")
        return size

    def _files(self, binary: str) -> list[Named]:
        """The files that the binary part of a probe means.

        Raises:
            AttachProblem: there is none.
            UsageProblem: a wildcard without a process.
        """
        found = [elf for elf in self._launched() if binary == "*" or is_named(elf.path, binary)]
        return [(elf.path, elf) for elf in found] or files_of(binary, self.pids)

    def _launched(self) -> list[ElfFile]:
        """The program that is launched, and the libraries that it begins with."""
        path = shutil.which(self.command[0]) if self.command and not self.pids else None
        if path is None:
            return []
        try:
            program = ElfFile(path)
        except ObjectProblem:  # a script of another language, which the kernel starts
            return []
        return [program, *libraries_of(program)]


def _binary(parts: Parts) -> str:
    return parts[0] if len(parts) > 1 else "*"


def _function(parts: Parts) -> str:
    return f"{CPP}:{parts[-1]}" if parts[1:-1] == (CPP,) else parts[-1]


def _types_of(path: str) -> DwarfTypes | None:
    from runtime.dwarf.types import types_of  # lazy: only for scripts that ask for debug information

    return types_of(path)


def _in_file(path: str, elf: ElfFile, text: str) -> list[Found]:
    types = _types_of(elf.path)
    if types is None:
        return []
    try:
        points = find(elf, text)
    except AttachProblem:
        if "*" in text:
            return []
        raise
    names = Counter(point.name for point in points)
    found = [(_parts(path, point, names), _fields(types, elf, point)) for point in points]
    return [(parts, fields) for parts, fields in found if fields is not None]


def _parts(path: str, point: FunctionPoint, names: Counter[str]) -> Parts:
    if names[point.name] > 1:
        return (path, f"{point.address + point.offset:#x}")
    return (path, f"{point.name}+{point.offset}" if point.offset else point.name)


def _fields(types: DwarfTypes, elf: ElfFile, point: FunctionPoint) -> dict[str, ContextField] | None:
    from runtime.dwarf.parameters import parameters_of  # lazy: as above

    function = types.info.function_at(point.address)
    if function is None:
        return None
    fields: dict[str, ContextField] = {}
    for parameter in parameters_of(types, function):
        if parameter.name:
            offset = _offset(parameter.register, is_go(elf))
            fields[parameter.name] = ContextField(offset, parameter.type, parameter.why)
    return fields


def _offset(register: str, go: bool) -> int:
    """Where a register is in the context of a function probe, -1 for none; arguments cost nothing there."""
    if register in ARGUMENT_REGISTERS and not go:
        return FUNCTION_ARGUMENTS[ARGUMENT_REGISTERS.index(register)]
    return 8 * REGISTERS.index(register) if register else -1


@dataclass(slots=True)
class FileTypes:
    """The types of the files that the binary part of a probe means, read when the first is asked for."""

    files: Callable[[], list[Named]]
    _types: list[DwarfTypes] | None = None

    def tagged(self, tag: str, name: str) -> Type | None:
        """A struct, union or enum."""
        return next(filter(None, (types.tagged(tag, name) for types in self._read())), None)

    def typedef(self, name: str) -> Type | None:
        """What a name of a type stands for."""
        return next(filter(None, (types.typedef(name) for types in self._read())), None)

    def constant(self, name: str) -> tuple[int, Enum] | None:
        """An enumerator."""
        return next(filter(None, (types.constant(name) for types in self._read())), None)

    def _read(self) -> list[DwarfTypes]:
        if self._types is None:
            try:
                found = [_types_of(elf.path) for _, elf in self.files()]
            except (AttachProblem, UsageProblem, ObjectProblem):  # attaching says what is wrong with the name
                found = []
            self._types = [types for types in found if types is not None]
        return self._types
