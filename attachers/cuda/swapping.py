"""From an image to the one that is loaded instead: the driver's side of `images.py`."""

from __future__ import annotations

from collections.abc import Sequence

from attachers.cuda.driver import Device, Swapped
from attachers.cuda.ptx.probe import KernelProbe
from attachers.cuda.ptx.reader import parse
from attachers.cuda.ptx.weave import weave
from runtime.errors import Problem


def swap(image: bytes, device: Device, probes: Sequence[KernelProbe], assembler: str) -> Swapped:
    """Return what is to be loaded instead of an image; never raises for what the image holds."""
    del assembler
    try:
        module = parse(image.rstrip(b"\0").decode("latin-1"))
        seen = frozenset(f.name for f in module.functions if f.is_entry)
        woven = weave(module, probes, device.arch)
    except Problem as problem:
        return Swapped(None, str(problem))
    if not woven.kernels:
        return Swapped(None, seen=seen)
    kernels = {one.name: one.number for one in woven.kernels}
    return Swapped(woven.text.encode("latin-1") + b"\0", "", kernels, woven.warnings, seen)
