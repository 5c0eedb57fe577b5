"""The images of a file: PTX, a fatbin, a cubin, or a program or library with fatbins inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from attachers.cuda import fatbin
from attachers.cuda.assemble.cubin import ELF_MAGIC, arch_of, usage_of
from attachers.cuda.assemble.result import Usage
from attachers.cuda.ptx import memory, reader
from attachers.cuda.ptx.scopes import outermost, walk
from attachers.cuda.ptx.syntax import Function, Instruction, Module, PtxProblem
from runtime.errors import Problem

CUDA_MACHINE = 190  # e_machine of cubins


@dataclass(frozen=True, slots=True)
class Row:
    """A kernel of an image, or why a part of it cannot be read.

    `image`: number in the file. `ptx`: architectures it has PTX for; `code`: those it has machine code for,
    with what it takes there. `sites`: memory instructions of its PTX that probes see, -1 without PTX.
    """

    image: int
    name: str
    ptx: tuple[str, ...] = ()
    code: tuple[tuple[str, Usage], ...] = ()
    sites: int = -1
    problem: str = ""


def images_in(data: bytes) -> list[bytes]:
    """Give the images of a file, each as the driver is handed it; none where there is no CUDA code."""
    if data[:4] == ELF_MAGIC and int.from_bytes(data[18:20], "little") == CUDA_MACHINE:
        return [data]
    if data[:4] in (ELF_MAGIC, fatbin.MAGIC_BYTES):
        return [data[at : at + found.size] for at, found in fatbin.containers(data)]
    return [data] if b".version" in data[:65536] else []


def kernels_in(index: int, image: bytes) -> list[Row]:
    """Give the kernels of image number `index`; what cannot be read is a row with the reason."""
    rows: dict[str, Row] = {}
    problems: list[Row] = []
    try:
        entries = list(_parts(image))
    except Problem as problem:
        return [Row(index, "", problem=str(problem))]
    for entry in entries:
        try:
            for row in _rows(index, entry):
                rows[row.name] = _joined(rows.get(row.name), row)
        except Problem as problem:
            problems.append(Row(index, "", problem=f"entry {entry.index} for {entry.target}: {problem}"))
    return [*rows.values(), *problems]


def _parts(image: bytes) -> Iterator[fatbin.Entry]:
    if image[:4] == fatbin.MAGIC_BYTES:
        yield from fatbin.parse(image).entries
        return
    is_elf = image[:4] == ELF_MAGIC
    arch = arch_of(image) if is_elf else 0
    kind = fatbin.ELF if is_elf else fatbin.PTX
    yield fatbin.Entry(0, kind, arch, (0, 0), 0, "", "", image, len(image))


def _rows(index: int, entry: fatbin.Entry) -> Iterator[Row]:
    if entry.kind == fatbin.ELF:
        for name, usage in usage_of(entry.image()).items():
            yield Row(index, name, code=((entry.target, usage),))
    elif entry.kind == fatbin.PTX:
        module = reader.parse(entry.image().decode("latin-1"))
        for kernel in module.kernels:
            yield Row(index, kernel.name, ptx=(module.targets[0],), sites=_sites(module, kernel))
    elif entry.kind == fatbin.LTO:
        raise PtxProblem("link-time IR, which holds no PTX")


def _sites(module: Module, kernel: Function) -> int:
    steps = walk(reader.body_of(module, kernel), outermost(kernel))
    return sum(len(memory.accesses_of(item)) for item, _, _ in steps if isinstance(item, Instruction))


def _joined(old: Row | None, new: Row) -> Row:
    if old is None:
        return new
    return replace(old, ptx=old.ptx + new.ptx, code=old.code + new.code, sites=max(old.sites, new.sites))
