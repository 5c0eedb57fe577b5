"""Names for what programs record as numbers: probes by their cookie, functions by address, users by id."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path

from runtime.errors import Problem
from runtime.symbols.demangle import source_name
from runtime.symbols.functions import name_at
from runtime.symbols.jitted import PerfMap
from runtime.symbols.modules import Module, modules_of
from runtime.types import Location

CGROUPS, UNIFIED = "/sys/fs/cgroup", "unified"
UNLOADED = 64  # modules of a process that are remembered after they were unloaded


class Names:
    """Answers decoders; keeps each process's modules, so that names outlive the process."""

    def __init__(self) -> None:
        self.demangles = True
        self.shows_lines = True
        self.probes: list[str] = []
        self.kernels: dict[int, str] = {}  # names of CUDA kernels by their number in the session
        self.on_probe: Callable[[int, str], object] = lambda _cookie, _name: None
        self._cookies: dict[str, int] = {}
        self._modules: dict[int, list[Module]] = {}
        self._perf_maps: dict[int, PerfMap] = {}

    def add_probe(self, name: str) -> int:
        """Return the cookie for a probe's name: the same for all sites that bear it."""
        if name not in self._cookies:
            self._cookies[name] = len(self.probes)
            self.probes.append(name)
            self.on_probe(self._cookies[name], name)
        return self._cookies[name]

    def add_row(self, names: list[str]) -> int:
        """Return the first cookie of a row of names, each one more than the one before."""
        key = "\n".join(names)
        if key not in self._cookies:
            self._cookies[key] = len(self.probes)
            self.probes += names
        return self._cookies[key]

    def remember(self, pid: int, modules: list[Module]) -> None:
        """Keep the modules of a process for later; those that were unloaded meanwhile, behind the others."""
        now = {(m.path, m.start) for m in modules}
        gone = [m for m in self._modules.get(pid, ()) if (m.path, m.start) not in now]
        self._modules[pid] = [*modules, *gone[-UNLOADED:]]

    def probe_name(self, cookie: int) -> str:
        """Return the name of the probe with an attach cookie."""
        return self.probes[cookie] if cookie < len(self.probes) else str(cookie)

    def cuda_kernel(self, number: int) -> str:
        """Return the name of a CUDA kernel; whoever numbers them fills `kernels`."""
        return self.kernels.get(number, f"kernel {number}")

    def symbol(self, pid: int, address: int) -> str:
        """Return the function at an address, `0x…` if unknown."""
        found = self.locate(pid, address)
        if found is None or not found.name:
            return f"{address:#x}"
        return f"{found.name}+{found.offset}" if found.offset else found.name

    def locate(self, pid: int, address: int) -> Location | None:
        """Return what lies at an address, None where nothing is known of it.

        A child that has become another program meanwhile sent from where its parent's modules lie.
        """
        module = self._module(pid, address)
        if module is None:
            return self._compiled(pid).at(address)
        name, offset = name_at(module.elf, address - module.bias)
        name = source_name(name) if self.demangles else name
        place = module.elf.to_offset(address - module.bias)
        return Location(name, offset, module.path, module.elf.build_id, place)

    def source(self, pid: int, address: int) -> str:
        """Return `FILE:LINE` of an address where the module has debug info, unless lines are not wanted."""
        module = self._module(pid, address) if self.shows_lines else None
        if module is None:
            return ""
        from runtime.dwarf.places import source_at  # lazy: only where lines are shown

        try:
            found = source_at(module.readable, address - module.bias)
        except (Problem, OSError):
            return ""  # damaged debug info is no reason to lose the stack
        return f"{found[0]}:{found[1]}" if found else ""

    def _module(self, pid: int, address: int) -> Module | None:
        """Return the module at an address; of a child that became another program, its parent's."""
        modules = itertools.chain(self._known(pid), *(m for p, m in self._modules.items() if p != pid))
        return next((m for m in modules if m.contains(address)), None)

    def _compiled(self, pid: int) -> PerfMap:
        """Return the functions that a process has compiled at run time, read anew when the file has grown."""
        known = self._perf_maps.get(pid)
        if known is None or known.is_stale():
            self._perf_maps[pid] = known = PerfMap(pid)
        return known

    def _known(self, pid: int) -> list[Module]:
        if pid not in self._modules:
            try:
                self._modules[pid] = modules_of(pid)
            except Problem:
                self._modules[pid] = next(iter(self._modules.values()), [])
        return self._modules[pid]

    @staticmethod
    @lru_cache
    def username(uid: int) -> str:
        """Return the name of a user, the number if unknown."""
        import pwd  # lazy: rarely asked

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    @staticmethod
    @lru_cache
    def cgroup_path(group: int, pattern: str) -> str:
        """Return the path of a control group of the unified hierarchy, empty if unknown."""
        if not fnmatchcase(UNIFIED, pattern):
            return ""
        for folder, _, _ in os.walk(CGROUPS):
            if os.stat(folder).st_ino == group:
                return f"{UNIFIED}:{folder.removeprefix(CGROUPS) or '/'}"
        return ""

    @staticmethod
    @lru_cache
    def kernel_symbol(address: int) -> str:
        """Return the kernel's function at an address, `0x…` if unknown or not to be read."""
        names = kernel_symbols()
        index = bisect_right(names, (address, "\x7f")) - 1
        if index < 0 or not names[index][0]:
            return f"{address:#x}"
        start, name = names[index]
        return f"{name}+{address - start}" if address > start else name


@cache
def kernel_symbols() -> list[tuple[int, str]]:
    """Read the kernel's functions by address; where they may not be read, all addresses are 0."""
    found: list[tuple[int, str]] = []
    with suppress(OSError), Path("/proc/kallsyms").open(encoding="latin-1") as lines:
        for line in lines:
            address, kind, name, *_ = line.split()
            if kind in "tTwW":
                found.append((int(address, 16), name))
    return sorted(found)
