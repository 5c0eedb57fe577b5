"""From an image to the one that is loaded instead: what `images.swap` says, as the driver's side needs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from attachers.cuda import fatbin
from attachers.cuda.choosing import best_ptx
from attachers.cuda.images import swap as swap_image
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.swapped import Action, Report, Swap
from attachers.cuda.types import Device, Form, Swapped
from runtime.errors import Problem

_KERNEL = re.compile(rb"\.entry\s+([\w$%]+)")


def swap(
    image: bytes,
    form: Form,
    device: Device,
    probes: Sequence[KernelProbe],
    how: tuple[str, str] = ("auto", ""),
    parts: Callable[[], Sequence[bytes]] = tuple,
) -> Swapped:
    """Return what is to be loaded instead of an image; never raises for what the image holds.

    `how`: the assembler, and a folder where images are kept, empty for none. `parts`: gives the images of
    the program, of which an image without PTX may have been linked.
    """
    assembler, folder = how
    if form is Form.TEXT or not device.is_only_kind:
        assembler = "driver"  # other devices, or the driver's linker, make code of it
    made = swap_image(image, device, probes, assembler, container=form is Form.CONTAINER, parts=parts)
    if folder and (made.woven or made.action is not Action.PASS):
        _keep(Path(folder), image, made)
    seen = frozenset(kernels_of(image, device.arch))
    if made.action is Action.PASS:
        return Swapped(None, made.reason, seen=seen)
    notes = made.report.warnings if made.report else ()
    details = described(made.report) if made.report else ()
    return Swapped(made.image, "", made.kernels, notes, seen, details)


def kernels_of(image: bytes, arch: int) -> list[str]:
    """Return the kernels whose PTX an image holds; none where it cannot be followed."""
    if image[:4] == fatbin.MAGIC_BYTES:
        try:
            best = best_ptx(fatbin.parse(image).entries, arch)
            image = best.image() if best else b""
        except Problem:
            return []
    return [name.decode() for name in _KERNEL.findall(image)]


def described(report: Report) -> tuple[str, ...]:
    """Say what weaving did, and what each kernel takes before and after."""
    names = len(report.kernels)
    took = f"{report.seconds * 1000:.0f} ms" if report.seconds else "kept from before"
    lines = [f"wove {names} kernel{'s' * (names != 1)} by {report.assembler} ({took})"]
    for kernel in report.kernels:
        old, new = report.before.get(kernel.name), report.after.get(kernel.name)
        if old and new:
            text = f"registers {old.registers} -> {new.registers}, stack {old.stack} -> {new.stack}"
            spilled = f", spilled {new.spilled} bytes" if new.spilled else ""
            lines.append(f"  {kernel.name}: {text}{spilled}")
        lines += [f"  {kernel.name}: {n} {what} not watched" for what, n in kernel.uncovered.items()]
    return tuple(lines)


def _keep(folder: Path, image: bytes, made: Swap) -> None:
    """Write what was loaded, what became of it, and the text between; a full disk is no reason to fail."""
    number = len(list(folder.glob("*.original"))) if folder.is_dir() else 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.original").write_bytes(image)
        (folder / f"{number}.original.ptx").write_bytes(made.original.encode("latin-1"))
        (folder / f"{number}.woven.ptx").write_bytes(made.woven.encode("latin-1"))
        if made.image:
            (folder / f"{number}.woven").write_bytes(made.image)
    except OSError:
        return
