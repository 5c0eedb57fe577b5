"""Variables that the kernel would provide: `.kconfig` values, kernel symbols and kernel functions."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.btf.types import BOOL, CHAR, Btf, Kind, Type
from runtime.elf.mapdefs import READ_ONLY
from runtime.elf.sections import STB_WEAK, Elf, Symbol
from runtime.errors import ObjectProblem
from runtime.maps.spec import MapKind, MapSpec

NAME = ".kconfig"


class Externs:
    """Extern variables and functions of one object, with the values that they have here."""

    def __init__(self, elf: Elf, btf: Btf | None) -> None:
        self.file = elf.file
        self.btf = btf
        self._places: dict[str, int] = {}
        self._data = bytearray()
        self._config = _Config()
        self._kconfig = {variable.name: variable for variable in _variables(btf, ".kconfig")}
        self._ksyms = {variable.name for variable in _variables(btf, ".ksyms")}

    def is_kernel_function(self, symbol: Symbol) -> bool:
        """True for a function that the object declares as a kernel function."""
        return symbol.name in self._ksyms or symbol.binding == STB_WEAK

    def place(self, symbol: Symbol) -> tuple[str, int] | None:
        """Map name and offset of an extern variable; None when it is a missing weak one, which is 0.

        Raises:
            ObjectProblem: no such value here, and the variable is not weak.
        """
        weak = symbol.binding == STB_WEAK
        variable = self._kconfig.get(symbol.name)
        if variable is None:
            if weak:
                return None
            raise ObjectProblem(
                f"undefined symbol '{symbol.name}'",
                file=self.file,
                hint="kernel symbols do not exist in user space; declare it __weak" if self._ksyms else "",
            )
        if symbol.name not in self._places:
            self._add(variable, weak)
        return NAME, self._places[symbol.name]

    def _add(self, variable: Type, weak: bool) -> None:
        assert self.btf is not None
        size = self.btf.size_of(variable.to)
        value = self._value(variable, size)
        if value is None:
            if not weak:
                raise ObjectProblem(
                    f"'{variable.name}' is not set in the kernel configuration",
                    file=self.file,
                    hint="declare it __weak",
                )
            value = bytes(size)
        self._data += bytes(-len(self._data) % 8)
        self._places[variable.name] = len(self._data)
        self._data += value

    def _value(self, variable: Type, size: int) -> bytes | None:
        assert self.btf is not None
        fixed = _FIXED.get(variable.name)
        if fixed is not None:
            return (fixed() & (1 << 8 * size) - 1).to_bytes(size, "little")
        text = self._config.get(variable.name)
        if text is None:
            return None
        kind = self.btf.resolve(variable.to)
        if kind.kind is Kind.ARRAY or text.startswith('"'):
            return text.strip('"').encode()[: max(size - 1, 0)].ljust(size, b"\0")
        if text in ("y", "m", "n"):
            return _tristate(kind, text).to_bytes(size, "little")
        try:
            return (int(text, 0) & (1 << 8 * size) - 1).to_bytes(size, "little")
        except ValueError:
            return None

    def spec(self) -> MapSpec | None:
        """The values as a read-only map, None when none is used."""
        if not self._data:
            return None
        data = bytes(self._data)
        return MapSpec(NAME, MapKind.ARRAY, 4, len(data), 1, flags=READ_ONLY, initial=data)


def _variables(btf: Btf | None, section: str) -> Iterator[Type]:
    found = btf.find(section, Kind.DATASEC) if btf else None
    if btf is not None and found is not None:
        for member in found.members:
            yield btf.type(member.type)


def _tristate(kind: Type, text: str) -> int:
    if kind.kind is Kind.ENUM:  # enum libbpf_tristate
        return {"n": 0, "y": 1, "m": 2}[text]
    if kind.kind is Kind.INT and kind.encoding & CHAR and not kind.encoding & BOOL:
        return ord(text)
    return int(text == "y")


def kernel_version() -> int:
    """The running kernel as KERNEL_VERSION(a, b, c)."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", os.uname().release)
    if found is None:
        return 0
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major << 16 | minor << 8 | min(patch, 255)


# With a syscall wrapper the macros of libbpf would follow the first argument as a pointer to registers; our
# context holds the registers themselves.
_FIXED: dict[str, Callable[[], int]] = {
    "LINUX_KERNEL_VERSION": kernel_version,
    "LINUX_HAS_BPF_COOKIE": lambda: 1,
    "LINUX_HAS_SYSCALL_WRAPPER": lambda: 0,
}


class _Config:
    """The configuration of the running kernel, read when first asked for."""

    def __init__(self) -> None:
        self._values: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        if self._values is None:
            self._values = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", _config_text(), re.MULTILINE))
        return self._values.get(name)


def _config_text() -> str:
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            data = path.read_bytes()
            return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
        except (OSError, EOFError, zlib.error):
            continue
    return ""
