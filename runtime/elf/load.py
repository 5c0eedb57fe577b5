"""From an ELF file to an `Object`: everything that is done to it, in order.

Only `ObjectProblem` escapes, whatever the bytes are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.btf.context import context_btf
from runtime.btf.types import Btf, Kind
from runtime.ebpf.insn import UNIT
from runtime.ebpf.object import Object, Program
from runtime.elf.attach import role_of
from runtime.elf.externs import Externs
from runtime.elf.lines import Ext, read_ext
from runtime.elf.link import Function, Linked, Linker
from runtime.elf.mapdefs import data_maps, map_specs, variables
from runtime.elf.relocate import relocate
from runtime.elf.sections import SHF_ALLOC, Elf, read
from runtime.errors import ObjectProblem, Span
from runtime.maps.spec import MapSpec

_KNOWN = (".maps", "maps", "license", "version", ".BTF", ".BTF.ext", ".llvm_addrsig", ".eh_frame", ".note")


def load(source: str | Path | bytes, name: str = "", targets: tuple[Btf, ...] = ()) -> Object:
    """Read an object from a path or from bytes; `name` stands for it in messages.

    `targets`: types of the program that will be traced, for CO-RE; the built-in context types come first.

    Raises:
        ObjectProblem: the file cannot be read or is not a proper eBPF object.
    """
    path = name or (str(source) if isinstance(source, str | Path) else "object")
    if isinstance(source, bytes):
        return load_object(source, path, targets)
    try:
        data = Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise ObjectProblem(
            f"cannot be read: {getattr(error, 'strerror', None) or error}", file=path
        ) from None
    return load_object(data, path, targets)


def load_object(data: bytes, path: str = "object", targets: tuple[Btf, ...] = ()) -> Object:
    """Read an object from bytes; see `load`."""
    elf = read(data, path)
    btf = _types(elf)
    ext = read_ext(elf, btf)
    loading = _Loading(elf, btf, ext, (context_btf(), *targets))
    return loading.object()


def _types(elf: Elf) -> Btf | None:
    section = elf.section(".BTF")
    if section is None:
        return None
    btf = Btf(section.data, elf.file)
    for shape in btf.all_types(Kind.DATASEC):
        found = elf.section(shape.name)
        if found is not None:  # the compiler leaves offsets of variables to the linker
            places = {name: symbol.value for name, symbol in variables(elf, found).items()}
            btf.place_variables(shape.id, found.size, places)
    return btf


@dataclass(slots=True)
class _Loading:
    """One file on its way to an object."""

    elf: Elf
    btf: Btf | None
    ext: Ext
    types: tuple[Btf, ...]

    def object(self) -> Object:
        """Do everything."""
        code, notes = self.relocated()
        externs = Externs(self.elf, self.btf)
        linker = Linker(self.elf, code, externs)
        linker.check()
        linker.maps = map_specs(self.elf, self.btf)
        linker.data = data_maps(self.elf, self.btf, self.referenced())
        programs = tuple(self.program(linker, function) for function in entries(linker))
        kconfig = externs.spec()
        maps = (*linker.maps.values(), *linker.data.values(), *((kconfig,) if kconfig else ()))
        license_text = self.elf.section("license")
        text = license_text.data.split(b"\0")[0].decode("utf-8", "replace") if license_text else ""
        if not programs:
            raise ObjectProblem(
                "holds no program", file=self.elf.file, hint='mark functions with SEC("uprobe")'
            )
        _unique(maps, self.elf.file)
        return Object(self.elf.file, "elf", text, programs, maps, self.btf, (*notes, *self.unknown()))

    def relocated(self) -> tuple[dict[int, bytes], list[str]]:
        """Code of each section after CO-RE."""
        code: dict[int, bytes] = {}
        notes: list[str] = []
        for section in self.elf.sections:
            if not section.is_code:
                continue
            if len(section.data) % UNIT:
                raise ObjectProblem(
                    f"has {len(section.data)} bytes of code, which is not a multiple of {UNIT}",
                    file=self.elf.file,
                    section=section.name,
                )
            wanted = self.ext.core.get(section.name, [])
            if wanted and self.btf is not None:
                code[section.index], found = relocate(self.elf.file, section, wanted, self.btf, self.types)
                notes += found
            else:
                code[section.index] = section.data
        return code, list(dict.fromkeys(notes))

    def referenced(self) -> set[int]:
        """Sections that relocations of code refer to."""
        out = set()
        for index, found in self.elf.relocations.items():
            if self.elf.sections[index].is_code:
                for relocation in found:
                    out.add(self.elf.symbol(relocation.symbol, self.elf.sections[index]).section)
        return out

    def program(self, linker: Linker, function: Function) -> Program:
        """Link one entry function and describe it."""
        linked = linker.link(function)
        role = role_of(function.section.name, function.name)
        return Program(
            name=function.name,
            section=function.section.name,
            context=role.context,
            attach=role.attach,
            insns=bytes(linked.code),
            map_refs=linked.map_refs,
            lines=dict(self.lines(linked)),
            subprograms={start: found.name for start, found in linked.places[1:]},
            autoload=role.autoload,
        )

    def lines(self, linked: Linked) -> Iterator[tuple[int, Span]]:
        """Source of each instruction that starts a line, in the linked program."""
        ordered: dict[str, list[int]] = {}
        for start, function in linked.places:
            name = function.section.name
            table = self.ext.lines.get(name)
            if not table:
                continue
            offsets = ordered.setdefault(name, sorted(table))
            first = bisect_left(offsets, function.offset)
            last = bisect_left(offsets, function.offset + function.size)
            for offset in offsets[first:last]:
                yield start + (offset - function.offset) // UNIT, table[offset]

    def unknown(self) -> Iterator[str]:
        """Notes about sections that nothing here reads."""
        for section in self.elf.sections:
            known = section.is_code or section.is_data or section.name.startswith((*_KNOWN, ".debug", ".rel"))
            if section.flags & SHF_ALLOC and section.size and not known:
                yield f"unknown section {section.name}"


def entries(linker: Linker) -> list[Function]:
    """Functions that are programs: the global ones outside of `.text`, else those of `.text`."""
    every = [function for found in linker.functions.values() for function in found if function.is_global]
    outside = [function for function in every if function.section.name != ".text"]
    return outside or every


def _unique(maps: tuple[MapSpec, ...], file: str) -> None:
    seen: set[str] = set()
    for spec in maps:
        if spec.name in seen:
            raise ObjectProblem(f"two maps are named '{spec.name}'", file=file)
        seen.add(spec.name)
