"""Which PTX of an image the probes go into, or why none of it can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from attachers.cuda.assemble.cubin import ELF_MAGIC, arch_of, usage_of
from attachers.cuda.assemble.options import is_relocatable
from attachers.cuda.fatbin import ELF, LTO, MAGIC_BYTES, PTX, Entry, ImageProblem, parse
from attachers.cuda.names import any_matches, short_name
from attachers.cuda.ptx.probe import KernelProbe

_KERNEL = re.compile(r"\.entry\s+([\w$%]+)")


class Unlinked(ImageProblem):
    """An image has wanted kernels as machine code only, or is a part of a program: its file may have PTX."""


@dataclass(frozen=True, slots=True)
class Text:
    """PTX chosen from an image, with the build's options and the machine code that came with it."""

    ptx: bytes
    options: str = ""
    cubin: bytes = b""
    notes: tuple[str, ...] = ()


def chosen_text(image: bytes, arch: int, probes: Sequence[KernelProbe]) -> Text | None:
    """Give the PTX of an image that has kernels we want; None where there are none.

    Raises:
        Problem: it has them, but no PTX for this device; it is damaged; or a package is missing.
    """
    if image[:4] == MAGIC_BYTES:
        return _from_fatbin(image, arch, probes)
    if image[:4] == ELF_MAGIC:
        _refuse_cubins([image], probes)
        return None
    return Text(image.rstrip(b"\0")) if wanted(image, probes) else None


def wanted(ptx: bytes, probes: Sequence[KernelProbe]) -> list[str]:
    """Give the kernels of a text that some probe means, without reading the text."""
    patterns = {pattern for probe in probes for pattern in probe.kernels}
    names = dict.fromkeys(_KERNEL.findall(ptx.decode("latin-1")))
    return [name for name in names if any_matches(patterns, name)]


def _from_fatbin(image: bytes, arch: int, probes: Sequence[KernelProbe]) -> Text | None:
    entries = parse(image).entries
    best = best_ptx(entries, arch)
    if best is None:
        _refuse_entries(entries, arch, probes)
        return None
    ptx = best.image()
    if not wanted(ptx, probes):
        return None
    if is_relocatable(best.options):
        raise Unlinked(
            "this code is linked with other code before it runs",
            hint="build without -rdc=true, or probe the host side: cudalaunch",
        )
    native = _native(entries, arch)
    notes: tuple[str, ...] = ()
    if native and native.arch > best.arch:
        notes = (
            f"code for {native.target} replaced by PTX for {best.target}: "
            "paths that depend on __CUDA_ARCH__ may differ",
        )
    cubin = native.image() if native and native.arch == arch and native.kind == ELF else b""
    return Text(ptx, best.options, cubin, notes)


def best_ptx(entries: Sequence[Entry], arch: int) -> Entry | None:
    """Choose as the driver does: the highest architecture up to the device's; special ones on theirs only."""
    return max(
        (entry for entry in entries if entry.kind == PTX and _runs_on(entry, arch)),
        key=lambda entry: (entry.arch, "a" in entry.target, "f" in entry.target),
        default=None,
    )


def _runs_on(entry: Entry, arch: int) -> bool:
    if entry.target.endswith("a"):
        return entry.arch == arch
    if entry.target.endswith("f"):
        return entry.arch // 10 == arch // 10 and entry.arch <= arch
    return entry.arch <= arch


def _native(entries: Sequence[Entry], arch: int) -> Entry | None:
    """Give the machine code that the driver would have run: of the same major architecture."""
    return max(
        (e for e in entries if e.kind == ELF and _runs_on(e, arch) and e.arch // 10 == arch // 10),
        key=lambda entry: entry.arch,
        default=None,
    )


def _refuse_entries(entries: Sequence[Entry], arch: int, probes: Sequence[KernelProbe]) -> None:
    """Say why a fatbin without usable PTX cannot be probed, if it has kernels that are wanted.

    Raises:
        ImageProblem: it has.
    """
    if any(entry.kind == LTO for entry in entries) and not any(entry.kind == ELF for entry in entries):
        raise ImageProblem("link-time IR only", hint="build without -code=lto_…")
    others = [entry for entry in entries if entry.kind == PTX]
    for entry in others:
        kernels = wanted(entry.image(), probes)
        if kernels:
            raise ImageProblem(
                f"kernel {short_name(kernels[0])} has PTX for {entry.target}, which sm_{arch} cannot run"
            )
    _refuse_cubins([entry.image() for entry in entries if entry.kind == ELF], probes)


def _refuse_cubins(cubins: Sequence[bytes], probes: Sequence[KernelProbe]) -> None:
    patterns = {pattern for probe in probes for pattern in probe.kernels}
    for cubin in cubins:
        kernels = [name for name in usage_of(cubin) if any_matches(patterns, name)]
        if not kernels:
            continue
        archs = ", ".join(dict.fromkeys(f"sm_{arch_of(c)}" for c in cubins))
        more = f" and {len(kernels) - 1} more" if len(kernels) > 1 else ""
        raise Unlinked(
            f"kernel {short_name(kernels[0])}{more}: machine code for {archs} and no PTX",
            hint="build with -gencode arch=compute_90,code=compute_90; cudalaunch probes work without",
        )
